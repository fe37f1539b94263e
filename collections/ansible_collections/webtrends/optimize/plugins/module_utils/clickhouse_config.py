# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ClickHouse's XML from data."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*$")


class ConfigError(ValueError):
    """Data that no configuration can be made of; the message has the path of the key."""


def xml(settings: dict[str, Any], root: str, comment: str) -> str:
    """A configuration file, sorted by tag.

    Args:
        settings: tag -> value. A mapping nests, a list repeats the tag, a boolean is 1 or 0, None leaves the tag out (so that a setting of
            the role can be taken away), a key "@name" is an attribute.
        root: name of the root element ("yandex" until 20.x, "clickhouse" since 21.10; ClickHouse changelog).
        comment: stands first in the file.

    Raises:
        ConfigError: a key that is no tag, or a value that is none of the above.
    """
    top = ElementTree.Element(root)
    _fill(top, settings, root)
    ElementTree.indent(top, "    ")
    text = ElementTree.tostring(top, encoding="unicode", short_empty_elements=True)
    return f'<?xml version="1.0"?>\n<!-- {comment.replace("--", "- -")} -->\n{text}\n'


def _fill(element: ElementTree.Element, settings: dict[str, Any], path: str) -> None:
    # A profile takes over another one where it names it: what it says itself comes after, and wins.
    for key in sorted(settings, key=lambda key: (key != "profile", str(key))):
        value = settings[key]
        if value is None:
            continue
        name = str(key)
        if name.startswith("@"):
            element.set(name[1:], _text(value, f"{path}/{name}"))
            continue
        if not TAG.match(name):
            raise ConfigError(f"{path}: '{name}' is no XML tag")
        for one in value if isinstance(value, (list, tuple)) else [value]:
            child = ElementTree.SubElement(element, name)
            if isinstance(one, dict):
                _fill(child, one, f"{path}/{name}")
            else:
                child.text = _text(one, f"{path}/{name}")


def _text(value: Any, path: str) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ConfigError(f"{path}: {type(value).__name__} is no value; give text, a number, true or false, a mapping, or a list of these")


def nodes(endpoints: list[str]) -> list[dict[str, Any]]:
    """["host:port", ...] as elements of <zookeeper><node>.

    Raises:
        ConfigError: an endpoint that is no host:port.
    """
    result = []
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(f"'{endpoint}' is no endpoint; give host:port")
        result.append({"host": host, "port": int(port)})
    return result


def shards(members: dict[str, int], port: int, user: str, password: str) -> list[dict[str, Any]]:
    """The elements of <remote_servers><cluster>: shards in order of their number, replicas in order of their name.

    Args:
        members: host name -> shard.

    Raises:
        ConfigError: shard numbers with a gap; events would be sent to another shard once the gap is filled.
    """
    numbers = sorted({int(shard) for shard in members.values()})
    if numbers != list(range(1, len(numbers) + 1)):
        raise ConfigError(f"shards are {numbers}, expected 1 to {len(numbers)} without a gap: an event's shard follows from their number")
    result = []
    for number in numbers:
        hosts = sorted(host for host, shard in members.items() if int(shard) == number)
        replicas = [{"host": host, "port": port, "user": user, "password": password} for host in hosts]
        # The table replicates; the Distributed table writes to one replica only.
        result.append({"internal_replication": True, "replica": replicas})
    return result


def users(passwords: dict[str, str], networks: dict[str, dict[str, list[str]]], databases: dict[str, list[str]]) -> dict[str, Any]:
    """The elements of <users>, each with the profile of its name. Only the hash of a password is in it.

    Args:
        networks: user -> {"host": names, "ip": addresses or networks} from where it may connect, besides its own host.
        databases: user -> what it may use; all where it has no entry.

    Raises:
        ConfigError: networks or databases of a user without a password.
    """
    for what, given in (("networks", networks), ("databases", databases)):
        if unknown := sorted(set(given) - set(passwords)):
            raise ConfigError(f"{what} of {', '.join(unknown)}: found no password; users are {', '.join(sorted(passwords))}")
    result: dict[str, Any] = {}
    for name, password in passwords.items():
        given = networks.get(name, {})
        user: dict[str, Any] = {
            "password_sha256_hex": hashlib.sha256(password.encode()).hexdigest(),
            "networks": {"host": sorted(given.get("host", [])), "ip": ["127.0.0.1", "::1", *sorted(given.get("ip", []))]},
            "profile": name,
            "quota": "default",
        }
        if name in databases:
            user["allow_databases"] = {"database": sorted(databases[name])}
        result[name] = user
    return result
