"""`python -m tools.diagram [--check]`: docs/platform.svg and docs/connections.md, from inventories/. See docs/inventory.md."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tools.diagram.data import ROOT, Platform
from tools.diagram.page import page
from tools.diagram.picture import Picture, undrawn


def files(platform: Platform) -> dict[Path, str]:
    """What is generated, and its text."""
    return {ROOT / "docs" / "platform.svg": Picture(platform).render(), ROOT / "docs" / "connections.md": page(platform)}


@click.command(help="Draw the platform and write the connection page, from the inventories.")
@click.option("--check", is_flag=True, help="Write nothing; fail where a file is not what the data say.")
def main(check: bool) -> None:
    platform = Platform.load()
    if missing := undrawn(platform):
        sys.exit(f"No way is laid out for {', '.join(missing)}: add one to tools/diagram/layout.py.")
    old = []
    for path, content in files(platform).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            old.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(content, encoding="utf-8")
    if check and old:
        sys.exit(f"{' and '.join(old)} differ from inventories/: run `make diagram` and commit.")
    click.echo(f"{'Wrote' if old else 'Nothing to change in'} {', '.join(old) if old else 'docs/platform.svg, docs/connections.md'}.")


if __name__ == "__main__":
    main()
