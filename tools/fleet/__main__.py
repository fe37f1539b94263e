"""`python -m tools.fleet up|down|status|image`: test hosts from an inventory (docs/fleet.md)."""
from __future__ import annotations

import os
from pathlib import Path

import click
import yaml

from tools.fleet import ROOT, image, machine
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
    "-i", "--inventory", type=click.Path(path_type=Path), default=DEFAULT, show_default="inventories/local", help="Fleet file, or its directory."
)


@click.group()
def main() -> None:
    """Systemd hosts in containers, as an inventory describes them. OPTIMIZE_FLEET=test chooses the tests' fleet of inventories/local."""


@main.command()
@inventory_option
@click.option("--regions", help="Regions besides the core, as 'euw ue2'; kept for later runs.")
@click.option("--ignore-memory", is_flag=True, help="Start although the estimate exceeds the memory that is available.")
def up(inventory: Path, regions: str | None, ignore_memory: bool) -> None:
    """Make the hosts, or repair what is missing, stopped or outdated."""
    fleet_hosts.up(load(inventory, regions), check_memory=not ignore_memory)


@main.command()
@inventory_option
@click.option("--all", "everything", is_flag=True, help="Also remove secrets, images and caches.")
def down(inventory: Path, everything: bool) -> None:
    """Remove the hosts and everything that was changed on the machine for them."""
    fleet_hosts.down(load(inventory), everything)


@main.command("image")
@inventory_option
def build_image(inventory: Path) -> None:
    """Build the images that the inventory's hosts need, unless they are there."""
    machine.require(0, 0)
    fleet = load(inventory)
    machine.enter(fleet.state)
    for release in sorted({host.release for host in fleet.hosts}):
        click.echo(image.ensure(release))


if __name__ == "__main__":
    main()
