# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def lacking_packages(wanted: str | list[str], installed: Mapping[str, str]) -> list[str]:
    """Those of `wanted` (a name, or `name=version`) that are not installed, in that version."""
    lacking = []
    for one in [wanted] if isinstance(wanted, str) else wanted:
        name, _, version = one.partition("=")
        if name not in installed or (version and installed[name] != version):
            lacking.append(one)
    return lacking


class FilterModule:
    """What a host would have to install."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lacking_packages": lacking_packages}
