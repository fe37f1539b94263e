"""Which release this process runs."""

from __future__ import annotations

from pathlib import Path

import optimize


def release() -> str:
    """The release's name, as in /opt/optimize/<name>; the package's version where it was not installed from a release."""
    # A release is <name>/{VERSION,bin,lib/optimize/…}.
    marker = Path(optimize.__file__).resolve().parents[2] / "VERSION"
    try:
        return marker.read_text(encoding="utf-8").strip()
    except OSError:
        return optimize.__version__
