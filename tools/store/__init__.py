"""The artifact store: filled once from the package registries by their own clients, verified, then handed to the hosts."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# The catalogue's reader is part of the collection, which is no installed package.
if str(ROOT / "collections") not in sys.path:
    sys.path.insert(0, str(ROOT / "collections"))
