"""What `make test` and its parts run: `python -m tools.check all|lint|unit|e2e|inventories|lock`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tools.stages import ROOT, StageFailed, Stages, fail

BIN = Path(sys.executable).parent
LOGS = ROOT / ".cache" / "logs"
COLLECTION = "collections/ansible_collections/webtrends/optimize"
#: Debian 13 hosts have a Python of their own.
DISTRIBUTIONS = ["--distribution", "bookworm", "--distribution", "trixie"]
PYTHON_SOURCES = [COLLECTION, "tools", "tests", "molecule", "services", "bench"]


def lint(stages: Stages) -> None:
    """Every linter over everything."""
    sources = [path for path in PYTHON_SOURCES if (ROOT / path).exists()]
    stages.command("ruff", [str(BIN / "ruff"), "check", *sources])
    stages.command("ruff format", [str(BIN / "ruff"), "format", "--check", *sources])
    stages.command("mypy", [str(BIN / "mypy"), "tools", COLLECTION + "/plugins"])
    stages.together(
        lambda: stages.command("yamllint", [str(BIN / "yamllint"), "--strict", "."]),
        # Its syntax check reads no inventory, which ansible.cfg otherwise treats as the mistake it would be in a run.
        lambda: stages.command("ansible-lint", [str(BIN / "ansible-lint")], os.environ | {"ANSIBLE_INVENTORY_UNPARSED_FAILED": "False"}),
    )


def inventories(stages: Stages) -> None:
    """The inventory rules over both inventories, without a vault and without touching a host."""
    for name in ("production", "local"):
        stages.command(
            f"inventory {name}",
            [
                str(BIN / "ansible-playbook"),
                "-i",
                f"inventories/{name}",
                "playbooks/check-inventory.yml",
                "-e",
                "check_inventory_secrets=false",
            ],
        )


def unit(stages: Stages) -> None:
    """Unit tests of plugins and tools, the conventions, and the services' own tests in their own environment."""
    stages.command("unit and conventions", [sys.executable, "-m", "pytest", "tests/unit", "tests/conventions"])
    stages.command("services environment", [sys.executable, "-m", "tools.release", "environment"])
    stages.command("services", [str(ROOT / ".venv-services/bin/python"), "-m", "pytest", "-q", "services/tests"])


def e2e(stages: Stages) -> None:
    """The end-to-end test on a fleet of its own."""
    test = os.environ | {"OPTIMIZE_FLEET": "test"}
    stages.command("platform of the test", [sys.executable, "-m", "tools.platform", "up", "--regions", "euw"], env=test)
    try:
        stages.command("end to end", [sys.executable, "-m", "pytest", "-v", "-s", "tests/e2e"], env=test)
    finally:
        stages.command("destroy the test fleet", [sys.executable, "-m", "tools.fleet", "down"], env=test)


def hosts(stages: Stages) -> None:
    """Every scenario; beside them the batch against plain tasks, which mostly waits, from every supported ansible-core."""
    stages.together(
        lambda: stages.command("artifacts", [sys.executable, "-m", "tools.store", "fill"]),
        lambda: stages.command("services release", [sys.executable, "-m", "tools.release", "build", *DISTRIBUTIONS]),
        # Its hosts' images, so that the stages below do not both make them.
        lambda: stages.command("host images", [sys.executable, "-m", "tools.fleet", "image", "-i", "tests/batch/fleet.yml"]),
    )
    stages.together(
        lambda: stages.command("scenarios", [sys.executable, "-m", "tools.scenarios"]),
        lambda: stages.command("batch on every core", [sys.executable, "-m", "pytest", "tests/batch", "--durations=5"]),
    )


PARTS = {"lint": (lint, 5), "unit": (unit, 3), "inventories": (inventories, 2), "hosts": (hosts, 5), "e2e": (e2e, 3)}


@click.command()
@click.argument("what", type=click.Choice(["all", *PARTS]))
def main(what: str) -> None:
    """Run the checks named."""
    parts = list(PARTS) if what == "all" else [what]
    stages = Stages(f"check {what}", sum(PARTS[part][1] for part in parts), LOGS)
    try:
        for part in parts:
            PARTS[part][0](stages)
    except StageFailed as failure:
        fail(f"{failure}\n\nstages so far:\n{stages.summary()}")
    print(f"\n{stages.summary()}\n{len(stages.seconds)} passed, 0 failed")


if __name__ == "__main__":
    main()
