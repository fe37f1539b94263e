"""Makes and removes the fleets: systemd containers that behave like the VMs of an inventory (docs/fleet.md)."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The inventory plugin and this program read fleet files with the same code, which lives in the collection.
sys.path.insert(0, str(ROOT / "collections"))
