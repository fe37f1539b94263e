# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fleet file says: pools of hosts with their names, groups and addresses.

Read by the inventory plugin and by the program that makes the hosts, so that the two cannot differ. Pure: no Ansible, no
network, no container; the only file that is read besides the fleet file is the state's record of the regions.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLUGIN = "webtrends.optimize.fleet"
CORE = "core"
RELEASES = ("bookworm", "trixie")
ZONES = ("1", "2", "3")  # Azure's availability zones, dealt in turn where a pool names none
MEMORY_MB = 40  # a bare systemd host that idles takes about 20 MB (docs/fleet.md); the rest is page cache of its own files
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

_TOP = {
    "plugin": str,
    "fleet": str,
    "network": str,
    "fleets": dict,
    "release": str,
    "regions": dict,
    "default_regions": list,
    "pools": dict,
    "variables": dict,
}
_VARIANT = {"network": str, "state": str}
_POOL = {"hosts": int, "first": int, "zones": list, "shared": int, "release": str, "memory": int, "bare": bool}
_TYPES = {str: "a text", dict: "a mapping", list: "a list", int: "a number", bool: "true or false"}


class FleetError(Exception):
    """A fleet file that cannot be used; the text names the file, the key, what was found and the mend."""


@dataclass(frozen=True)
class Host:
    """One host; `memory` is the estimate in MB of what it takes once converged."""

    name: str
    region: str
    pool: str
    address: str
    zone: str
    release: str
    memory: int
    bare: bool = False
    virtual_name: str | None = None
    virtual_address: str | None = None

    @property
    def groups(self) -> tuple[str, str, str]:
        """Region, pool, and the region x pool group, which is the leaf."""
        return self.region, self.pool, f"{self.region}_{self.pool}"


@dataclass(frozen=True)
class Fleet:
    """The hosts of one fleet, its network and the directory that holds its keys and secrets."""

    name: str
    root: Path
    state: Path
    network: ipaddress.IPv4Network
    regions: tuple[str, ...]  # without the core
    known_regions: tuple[str, ...]
    hosts: tuple[Host, ...] = field(default=())
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        """Private SSH key of the account `ansible` on every host."""
        return self.state / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Public host keys of the fleet: written when the hosts are made."""
        return self.state / "known_hosts"

    @property
    def secrets(self) -> Path:
        """Generated secrets, a mapping of variable name to value (mode 0600)."""
        return self.state / "secrets.yml"


def project_root(path: Path) -> Path:
    """The checkout that a fleet file belongs to: the nearest directory above it with an ansible.cfg."""
    for parent in path.absolute().parents:
        if (parent / "ansible.cfg").is_file():
            return parent
    raise FleetError(f"{path}: no directory above it holds an ansible.cfg; keep the fleet file inside the project")


def _check(where: str, data: Any, keys: Mapping[str, type], required: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise FleetError(f"{where}: found {data!r}, expected a mapping with {', '.join(keys)}")
    for key, value in data.items():
        if key not in keys:
            raise FleetError(f"{where}: unknown key '{key}'; known are {', '.join(keys)}")
        if not isinstance(value, keys[key]) or (isinstance(value, bool) and keys[key] is not bool):
            raise FleetError(f"{where}: '{key}' is {value!r}, expected {_TYPES[keys[key]]}")
    for key in required:
        if key not in data:
            raise FleetError(f"{where}: key '{key}' is missing; add it")
    return dict(data)


def _network(where: str, text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise FleetError(f"{where}: 'network' is {text!r} ({error}); write it as 10.90.0.0/16") from None


def _name(where: str, what: str, text: Any) -> str:
    if not isinstance(text, str) or not NAME.fullmatch(text):
        raise FleetError(f"{where}: {what} {text!r} is not a name; use lower-case letters, digits and single underscores")
    return text


def _release(where: str, text: str) -> str:
    if text not in RELEASES:
        raise FleetError(f"{where}: 'release' is {text!r}; known are {', '.join(RELEASES)}")
    return text


def _which(path: str, top: dict[str, Any], root: Path, variant: str | None) -> tuple[str, str, Path]:
    """Name, network and state directory of the fleet: the scenario's own, or the one of `fleets` that was chosen."""
    if "fleets" in top:
        for key in ("fleet", "network"):
            if key in top:
                raise FleetError(f"{path}: '{key}' and 'fleets' exclude each other; keep one of them")
        fleets = top["fleets"]
        name = variant or next(iter(fleets), "")
        if name not in fleets:
            raise FleetError(f"{path}: OPTIMIZE_FLEET is {name!r}; known are {', '.join(fleets) or 'none'}")
        entry = _check(f"{path}: fleets: {name}", fleets[name], _VARIANT, ("network", "state"))
        return _name(f"{path}: fleets", "fleet", name), entry["network"], root / entry["state"]
    for key in ("fleet", "network"):
        if key not in top:
            raise FleetError(f"{path}: key '{key}' is missing; a fleet has a name and a network of its own, as 10.92.1.0/24")
    name = _name(path, "fleet", top["fleet"])
    return name, top["network"], root / ".cache" / "molecule" / name


def recorded_regions(state: Path) -> list[str] | None:
    """The regions that the running fleet was made for, or None where nothing is recorded."""
    try:
        return list(json.loads((state / "fleet.json").read_text(encoding="utf-8"))["regions"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise FleetError(f"{state / 'fleet.json'}: cannot be read ({error}); remove it and run `python -m tools.fleet up` again") from None


def _pool_hosts(where: str, data: Any, pool: str, region: str, base: ipaddress.IPv4Address, release: str) -> list[Host]:
    entry = _check(where, data, _POOL, ("hosts", "first"))
    for key in ("hosts", "first", "shared", "memory"):
        if key in entry and entry[key] < 1:
            raise FleetError(f"{where}: '{key}' is {entry[key]}, expected 1 or more")
    zones = [str(zone) for zone in entry.get("zones", ZONES)]
    if not zones:
        raise FleetError(f"{where}: 'zones' is empty; name one or leave the key out")
    stem = f"{region}-{pool.replace('_', '-')}"
    virtual: dict[str, str] = {}
    if "shared" in entry:
        virtual = {"virtual_name": stem, "virtual_address": str(base + entry["shared"])}
    return [
        Host(
            name=f"{stem}-{index + 1}",
            region=region,
            pool=pool,
            address=str(base + entry["first"] + index),
            zone=zones[index % len(zones)],
            release=_release(where, entry.get("release", release)),
            memory=entry.get("memory", MEMORY_MB),
            bare=entry.get("bare", False),
            **virtual,
        )
        for index in range(entry["hosts"])
    ]


def _refuse_clashes(path: str, network: ipaddress.IPv4Network, hosts: list[Host]) -> None:
    taken: dict[str, str] = {str(network[1]): "the network's gateway"}
    for host in hosts:
        owners = [(host.address, host.name)]
        if host.virtual_address is not None and host.virtual_name is not None:
            owners.append((host.virtual_address, f"shared address {host.virtual_name}"))
        for address, owner in owners:
            if ipaddress.IPv4Address(address) not in network or address == str(network.broadcast_address):
                raise FleetError(
                    f"{path}: {owner} would have {address}, outside {network}; lower 'first' of its pool or its region's offset"
                )
            if taken.setdefault(address, owner) != owner:
                raise FleetError(f"{path}: {owner} and {taken[address]} would both have {address}; give one pool another 'first'")


def fleet_from_data(data: Any, path: Path, *, variant: str | None = None, regions: list[str] | None = None) -> Fleet:
    """The fleet that the parsed file describes.

    `variant` chooses one of `fleets` (environment OPTIMIZE_FLEET; the first by default). `regions` overrides what the state
    directory records; where neither says anything, `default_regions` counts, or else every region of the file.
    """
    where = str(path)
    top = _check(where, data, _TOP, ("plugin", "pools", "regions"))
    if top["plugin"] != PLUGIN:
        raise FleetError(f"{where}: 'plugin' is {top['plugin']!r}, expected {PLUGIN}")
    root = project_root(path)
    name, network_text, state = _which(where, top, root, variant)
    network = _network(where, network_text)
    release = _release(where, top.get("release", RELEASES[0]))
    offsets = _check(f"{where}: regions", top["regions"], dict.fromkeys(top["regions"], int))
    pools = _check(f"{where}: pools", top["pools"], {CORE: dict, "regional": dict})
    known = tuple(region for region in offsets if region != CORE)
    for region in offsets:
        _name(f"{where}: regions", "region", region)
    if pools.get(CORE) and CORE not in offsets:
        raise FleetError(f"{where}: regions: 'core' is missing, but pools has core's; add its offset")
    chosen = regions or recorded_regions(state) or top.get("default_regions") or list(known)
    for region in chosen:
        if region not in known:
            raise FleetError(f"{where}: region {region!r} is not in 'regions'; known are {', '.join(known)}")
    chosen = [region for region in known if region in chosen]
    hosts: list[Host] = []
    for region in ([CORE] if pools.get(CORE) else []) + chosen:
        for pool, entry in pools.get(CORE if region == CORE else "regional", {}).items():
            key = f"{where}: pools: {CORE if region == CORE else 'regional'}: {pool}"
            hosts += _pool_hosts(key, entry, _name(key, "pool", pool), region, network[0] + offsets[region], release)
    if not hosts:
        raise FleetError(f"{where}: no pool has a host; fill 'pools'")
    _refuse_clashes(where, network, hosts)
    return Fleet(
        name=name,
        root=root,
        state=state,
        network=network,
        regions=tuple(chosen),
        known_regions=known,
        hosts=tuple(hosts),
        variables=dict(top.get("variables", {})),
    )


def host_variables(host: Host) -> dict[str, Any]:
    """What the inventory says of one host. A bare one does not run what its pool's wiring expects."""
    variables: dict[str, Any] = {"region": host.region, "zone": host.zone, "ansible_host": host.address, "debian_release": host.release}
    if host.virtual_name is not None and host.virtual_address is not None:
        variables |= {"virtual_name": host.virtual_name, "virtual_address": host.virtual_address}
    if host.bare:
        variables |= {"expect_units": [], "expect_ports": []}
    return variables


def connection_variables(fleet: Fleet) -> dict[str, str]:
    """How the hosts are reached: the same for all of them. Host keys are known, so their check stays on."""
    return {
        "ansible_user": "ansible",
        "ansible_ssh_private_key_file": str(fleet.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={fleet.known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes",
    }
