"""`python -m tools.fleet up|down|status|image`: test hosts from an inventory (docs/fleet.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import yaml

from tools.fleet import ROOT, credentials, image, machine, state
from tools.fleet import hosts as fleet_hosts

# isort: split
from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import Fleet, FleetError, fleet_from_data

from tools.fleet.shell import FleetProblem

DEFAULT = ROOT / "inventories" / "local" / "fleet.yml"


def load(inventory: Path, regions: str | None = None) -> Fleet:
    """The fleet of an inventory file, or of the fleet.yml of an inventory directory."""
    path = inventory / "fleet.yml" if inventory.is_dir() else inventory
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return fleet_from_data(data, path, variant=os.environ.get("OPTIMIZE_FLEET"), regions=(regions or "").split() or None)
    except (OSError, yaml.YAMLError, FleetError) as error:
        raise FleetProblem(str(error)) from error


inventory_option = click.option(
    "-i",
    "--inventory",
    type=click.Path(path_type=Path),
    default=DEFAULT,
    show_default="inventories/local",
    help="Fleet file, or its directory.",
)


@click.group()
def main() -> None:
    """Systemd hosts in containers, as an inventory describes them. OPTIMIZE_FLEET=test chooses the tests' fleet of inventories/local."""


@main.command()
@inventory_option
@click.option("--regions", help="Regions besides the core, as 'euw ue2'; kept for later runs.")
@click.option("--ignore-memory", is_flag=True, help="Start although the estimate exceeds the memory that is available.")
@click.option("--fresh", is_flag=True, help="Make every host anew.")
def up(inventory: Path, regions: str | None, ignore_memory: bool, fresh: bool) -> None:
    """Make the hosts, or repair what is missing, stopped or outdated."""
    machine.require(0, 0)
    fleet = load(inventory, regions)
    with state.exclusive(fleet):
        fleet_hosts.up(fleet, check_memory=not ignore_memory, fresh=fresh)


@main.command()
@inventory_option
@click.option("--all", "everything", is_flag=True, help="Also remove its secrets, and after the last fleet images and caches.")
def down(inventory: Path, everything: bool) -> None:
    """Remove the hosts and everything that was changed on the machine for them."""
    machine.require(0, 0)
    fleet = load(inventory)
    with state.exclusive(fleet):
        fleet_hosts.down(fleet, everything)


@main.command()
@inventory_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(inventory: Path, as_json: bool) -> None:
    """Show each host, its address and whether it answers; exit status 1 unless all do."""
    machine.require(0, 0)
    found = fleet_hosts.status(load(inventory))
    if as_json:
        click.echo(
            json.dumps({host.name: {"address": host.address, "release": host.release, "state": word} for host, word in found}, indent=2)
        )
    else:
        for host, word in found:
            click.echo(f"{host.name:<28} {host.address:<15} {host.release:<9} {word}")
    if any(word != "running" for _, word in found):
        raise SystemExit(1)


@main.command()
@inventory_option
def journals(inventory: Path) -> None:
    """Write every host's journal to a file in the state directory."""
    machine.require(0, 0)
    click.echo(f"journals: {fleet_hosts.journals(load(inventory))}")


@main.command()
@inventory_option
def harvest(inventory: Path) -> None:
    """Keep the packages that the hosts downloaded for the hosts to come (`down` does it too)."""
    machine.require(0, 0)
    click.echo(f"package cache: {fleet_hosts.harvest(load(inventory))} new files")


@main.command()
@inventory_option
def secrets(inventory: Path) -> None:
    """Make the local secrets, the authority and the edge's certificates, unless they are there; prints none of them."""
    fleet = load(inventory)
    credentials.ensure(fleet)
    click.echo(f"secrets: {fleet.secrets}")


@main.command("image")
@inventory_option
def build_image(inventory: Path) -> None:
    """Build the images that the inventory's hosts need, unless they are there."""
    machine.require(0, 0)
    fleet = load(inventory)
    machine.enter(fleet.state)
    for name in image.ensure_all({host.release for host in fleet.hosts}).values():
        click.echo(f"image: {name}")


if __name__ == "__main__":
    main()
