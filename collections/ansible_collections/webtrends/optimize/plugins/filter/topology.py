# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import TopologyError, host_number


def _host_number(name: Any) -> int:
    if not isinstance(name, str):
        raise AnsibleFilterError(f"host_number takes a host's name, not {type(name).__name__}")
    try:
        return host_number(name)
    except TopologyError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What a host's name says."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"host_number": _host_number}
