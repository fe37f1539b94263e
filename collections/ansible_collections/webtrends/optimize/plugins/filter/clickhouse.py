# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.webtrends.optimize.plugins.module_utils import clickhouse_config


def _checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def filtered(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (clickhouse_config.ConfigError, AttributeError, TypeError) as error:
            raise AnsibleFilterError(f"{name}: {error}") from error

    return filtered


class FilterModule:
    """ClickHouse's configuration from data."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "clickhouse_xml": _checked("clickhouse_xml", clickhouse_config.xml),
            "clickhouse_nodes": _checked("clickhouse_nodes", clickhouse_config.nodes),
            "clickhouse_shards": _checked("clickhouse_shards", clickhouse_config.shards),
            "clickhouse_users": _checked("clickhouse_users", clickhouse_config.users),
        }
