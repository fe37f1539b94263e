"""`make platform`: from a bare machine to visitors' events read back from ClickHouse."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import click
import yaml

from tools.hosts import state_directory
from tools.stages import ROOT, StageFailed, Stages, fail
from tools.traffic import Comparison, Edge, Reader, Visitors, load_edges, make_requests

BIN = Path(sys.executable).parent
INVENTORY = "inventories/local"
#: Events that `make platform` sends through each region's edge; the end-to-end test sends far more.
EVENTS_PER_REGION = 1_000


def playbook(name: str, *arguments: str) -> list[str]:
    """The command line of a playbook on the local fleet."""
    return [str(BIN / "ansible-playbook"), "-i", INVENTORY, f"playbooks/{name}.yml", *arguments]


def restart_where_needed(stages: Stages, report: Path) -> None:
    """Roll the stateful members whose process has not loaded what is on the disk (a fleet that was repaired or changed)."""
    needed = json.loads(report.read_text(encoding="utf-8"))
    if not needed:
        stages.say("      no member needs a restart")
    for component, hosts in needed.items():
        stages.say(f"      {component}: {', '.join(hosts)} run with what is no longer on the disk; restarting one by one")
        stages.command(
            f"rolling restart {component}", playbook("rolling-restart", "-e", f"component={component}", "-e", "regions_confirmed=all")
        )


def reader_of(state: Path, hostvars: dict[str, dict]) -> Reader:
    """The readers' port of the ClickHouse load balancer."""
    address = next(found["virtual_address"] for host, found in sorted(hostvars.items()) if host.startswith("core-lb-clickhouse-"))
    passwords = yaml.safe_load((state / "secrets.yml").read_text(encoding="utf-8"))["secret_clickhouse_passwords"]
    return Reader(f"http://{address}:8124/", "reader", passwords["reader"])


def send_and_read_back(edges: list[Edge], state: Path, reader: Reader) -> tuple[int, Comparison]:
    """Send events through every edge, resend some, and compare with what a reader finds."""
    seed = random.SystemRandom().randrange(2**32)
    rng, site = random.Random(seed), f"platform-{seed:08x}"
    visitors = Visitors(edges, state / "ca.pem")

    async def run() -> Comparison:
        await visitors.send(make_requests(rng, site, EVENTS_PER_REGION * len(edges)), rng)
        return await reader.settled(visitors.ledger, site)

    comparison = asyncio.run(run())
    return len(visitors.ledger.sent), comparison


def fleet_inventory() -> dict:
    """The running fleet as `ansible-inventory` sees it."""
    done = subprocess.run(
        [str(BIN / "ansible-inventory"), "-i", INVENTORY, "--list"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise StageFailed(f"the inventory of the fleet cannot be read: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


@click.group()
def main() -> None:
    """The whole platform on this machine."""


@main.command()
@click.option("--regions", default="euw", help="Regions beside the core, separated by spaces.")
def up(regions: str) -> None:
    """From nothing, or from whatever is there, to a platform that stores visitors' events."""
    state = state_directory()
    stages = Stages("make platform", 9, state / "logs")
    report = state / "restart-needed.json"
    python = sys.executable
    outcome: dict[str, object] = {}
    try:
        stages.together(
            lambda: stages.command("host image", [python, "-m", "tools.fleet", "image"]),
            lambda: stages.command("artifacts", [python, "-m", "tools.store", "fill"]),
            lambda: stages.command("services release", [python, "-m", "tools.release", "build"]),
        )
        stages.command("hosts", [python, "-m", "tools.fleet", "up", "--regions", regions])
        report.unlink(missing_ok=True)
        stages.command("converge", playbook("site", "-e", f"restart_needed_report={report}"), os.environ | {"ANSIBLE_FORKS": "16"})
        stages.command("keep packages for the next fleet", [python, "-m", "tools.fleet", "harvest"])
        stages.call("restart where needed", lambda: restart_where_needed(stages, report))
        stages.command("health", playbook("health"))

        def events() -> None:
            reader = reader_of(state, fleet_inventory()["_meta"]["hostvars"])
            outcome["sent"], comparison = send_and_read_back(load_edges(state), state, reader)
            outcome["stored"] = comparison.stored
            if not comparison.exact:
                raise StageFailed(f"the events stored are not the events sent: {comparison}")

        stages.call("events through the edge, read back", events)
    except StageFailed as failure:
        mend = "Run the same command again: it repairs what is there. `make destroy` removes it."
        fail(f"{failure}\n\nstages so far:\n{stages.summary()}\n{mend}")
    summarise(stages, state, outcome)


def summarise(stages: Stages, state: Path, outcome: dict[str, object]) -> None:
    """The end of `make platform`: what there is now, and where to look."""
    hostvars = fleet_inventory()["_meta"]["hostvars"]
    summary = {"hosts": len(hostvars), "seconds": stages.seconds, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **outcome}
    (state / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    edges = "\n".join(f"  https://{edge.name}/   {edge.address}   (verify with {state.name}/ca.pem)" for edge in load_edges(state))
    print(
        f"\nThe platform is up: {len(hostvars)} hosts;"
        f" {outcome['sent']} events sent through the edge = {outcome['stored']} events stored.\n"
        f"{stages.summary()}\n\nthe edge:\n{edges}\n\n"
        f"a host:      ssh -F {state.name}/ssh_config euw-kafka-1\n"
        f"all hosts:   .venv/bin/ansible -i {INVENTORY} all -m ansible.builtin.ping\n"
        f"converge:    .venv/bin/ansible-playbook -i {INVENTORY} playbooks/site.yml -l euw\n"
        "remove it:   make destroy"
    )


if __name__ == "__main__":
    main()
