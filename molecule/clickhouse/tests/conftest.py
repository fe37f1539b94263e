"""Fixtures of both test files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cluster import clients, hosts, verb  # noqa: F401  fixtures are found by their names here
