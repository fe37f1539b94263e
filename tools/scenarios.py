"""Runs molecule scenarios: `python -m tools.scenarios [NAME...]`, all of them by default, two side by side.

Each scenario is one molecule process with hosts and a network of its own. Its output goes to .cache/molecule/<name>/log, and when
it fails, its hosts' journals to .cache/molecule/<name>/journals/.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from tools.fleet import ROOT

# isort: split
from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import Fleet, FleetError, fleet_from_data

SCENARIOS = ROOT / "molecule"
STATE = ROOT / ".cache" / "molecule"
DURATIONS = STATE / "durations.json"
SIDE_BY_SIDE = 2  # on two cores: 1.8 times quicker than one after the other; a third gains nothing
TAIL_LINES = 60
UNKNOWN_S = 1e6  # a scenario that never ran comes first: it may be the longest


@dataclass(frozen=True)
class Outcome:
    """How one scenario ended."""

    name: str
    seconds: float
    status: int

    @property
    def word(self) -> str:
        return "passed" if self.status == 0 else "failed"


def all_scenarios(directory: Path = SCENARIOS) -> list[str]:
    """Names of the directories with a molecule.yml."""
    return sorted(path.parent.name for path in directory.glob("*/molecule.yml"))


def fleet_of(name: str) -> Fleet:
    """The hosts that a scenario wants."""
    path = SCENARIOS / name / "inventory.yml"
    try:
        return fleet_from_data(yaml.safe_load(path.read_text(encoding="utf-8")), path)
    except (OSError, yaml.YAMLError, FleetError) as error:
        raise click.ClickException(str(error)) from error


def refuse_overlaps(fleets: dict[str, Fleet]) -> None:
    """Two scenarios with a common name or network could not run side by side: refused before any of them starts."""
    for (one, left), (other, right) in itertools.combinations(fleets.items(), 2):
        if left.name == right.name:
            raise click.ClickException(f"scenarios {one} and {other} both call their fleet '{left.name}'; call each as its directory")
        if left.network.overlaps(right.network):
            raise click.ClickException(
                f"scenarios {one} ({left.network}) and {other} ({right.network}) overlap; give one another network in its inventory.yml"
            )


def longest_first(names: list[str], durations: dict[str, float]) -> list[str]:
    """The order in which they start: what takes longest must not be what is waited for at the end."""
    return sorted(names, key=lambda name: (-durations.get(name, UNKNOWN_S), name))


def _durations() -> dict[str, float]:
    return json.loads(DURATIONS.read_text(encoding="utf-8")) if DURATIONS.exists() else {}


def run(name: str, command: str, arguments: tuple[str, ...]) -> Outcome:
    """One molecule process; what it writes goes to the scenario's log."""
    directory = STATE / name
    directory.mkdir(parents=True, exist_ok=True)
    bin_directory = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
        # Molecule's own choice is named after the checkout's directory, which two checkouts can share.
        "MOLECULE_EPHEMERAL_DIRECTORY": str(directory / "ephemeral"),
        "MOLECULE_COMMAND_BORDERS": "0",
        "NO_COLOR": "1",
        "PY_COLORS": "0",
        "ANSIBLE_NOCOLOR": "1",
    }
    started = time.monotonic()
    with (directory / "log").open("w", encoding="utf-8") as log:
        ended = subprocess.run(
            [str(bin_directory / "molecule"), command, "--scenario-name", name, *arguments],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    return Outcome(name, time.monotonic() - started, ended.returncode)


def report(outcome: Outcome) -> None:
    """Say how a scenario ended, with the end of its log when it failed."""
    click.echo(f"{outcome.word:<7} {outcome.name:<24} {outcome.seconds:6.0f} s")
    if outcome.status != 0:
        log = STATE / outcome.name / "log"
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        click.echo("\n".join(f"    {line}" for line in tail))
        journals = STATE / outcome.name / "journals"
        click.echo(f"    whole log: {log}" + (f"; journals: {journals}" if journals.exists() else ""))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--command", default="test", show_default=True, help="Molecule's command: test, converge, verify, destroy ...")
@click.option("--side-by-side", default=SIDE_BY_SIDE, show_default=True, type=click.IntRange(1), help="How many at a time.")
@click.option("--keep", is_flag=True, help="With test: leave the hosts of a failed scenario running.")
def main(names: tuple[str, ...], command: str, side_by_side: int, keep: bool) -> None:
    """Run the scenarios NAMES (all by default) and say which passed."""
    known = all_scenarios()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise click.ClickException(f"no scenario {', '.join(unknown)} in molecule/; known are {', '.join(known) or 'none'}")
    durations = _durations()
    order = longest_first(list(names or known), durations)
    refuse_overlaps({name: fleet_of(name) for name in order})
    arguments = ("--destroy=never",) if keep and command == "test" else ()
    started = time.monotonic()
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(max_workers=side_by_side) as pool:

        def ended(future: Future[Outcome]) -> None:
            outcomes.append(future.result())
            report(outcomes[-1])

        for name in order:
            pool.submit(run, name, command, arguments).add_done_callback(ended)
    if command == "test":
        durations |= {outcome.name: round(outcome.seconds, 1) for outcome in outcomes if outcome.status == 0}
        STATE.mkdir(parents=True, exist_ok=True)
        DURATIONS.write_text(json.dumps(durations, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    click.echo(f"\n{'scenario':<24} {'seconds':>7}  result")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.name):
        click.echo(f"{outcome.name:<24} {outcome.seconds:7.0f}  {outcome.word}")
    failed = sum(outcome.status != 0 for outcome in outcomes)
    click.echo(f"all in {time.monotonic() - started:.0f} s\n{len(outcomes) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
