# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decisions of the modules packaged_unit, kernel_settings and trust_store: what differs, and what may be changed here."""

from __future__ import annotations

import re

# Kernel settings that each container has of its own (network and IPC namespaces); all others are the whole machine's.
# sysctl(7) and namespaces(7); net.core.* is mostly the machine's: only these are per namespace since Linux 4.3 and 5.x.
NAMESPACED = re.compile(r"^(net\.(ipv4|ipv6)\.|net\.core\.(somaxconn|xfrm_|optmem_max$)|kernel\.(shm|msg|sem)|fs\.mqueue\.)")
# ... and of net.ipv4 these are not.
SHARED = re.compile(r"^net\.ipv4\.(tcp_mem|udp_mem|tcp_max_orphans|tcp_available_congestion_control|tcp_allowed_congestion_control)$")


def settable(name: str, in_container: bool) -> bool:
    """May this host set the kernel setting without changing another host?"""
    return not in_container or bool(NAMESPACED.match(name) and not SHARED.match(name))


def same_value(wanted: str, found: str) -> bool:
    """The kernel writes the numbers of a setting with tabs between them."""
    return wanted.split() == found.split()


def sysctl_path(name: str) -> str:
    """Where the setting is under /proc/sys. A name with a slash is taken as sysctl(8) does: slashes separate, dots stay."""
    if not re.fullmatch(r"[A-Za-z0-9_.*/-]+", name) or ".." in name:
        raise ValueError(f"{name!r} is not the name of a kernel setting")
    return "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))


def sysctl_file(settings: dict[str, str], heading: str, comments: dict[str, str]) -> str:
    """The text of a sysctl.d file, sorted, each setting below its reason."""
    lines = [f"# {heading}"]
    for name in sorted(settings):
        if comments.get(name):
            lines.append(f"# {comments[name]}")
        lines.append(f"{name} = {settings[name]}")
    return "\n".join(lines) + "\n"


def unit_actions(shown: dict[str, str], wanted_running: bool, stale: bool, reaction: str) -> list[str]:
    """What a packaged unit needs, in order. ``stale``: a file that it reads is newer than its last start or reload."""
    running = shown.get("ActiveState") in ("active", "activating", "reloading", "refreshing")
    actions = ["daemon-reload"] if shown.get("NeedDaemonReload") == "yes" else []
    if not wanted_running:
        actions += ["disable"] if shown.get("UnitFileState") == "enabled" else []
        return actions + (["stop"] if running else [])
    # static, indirect, generated and alias units can't be enabled and need not be.
    actions += ["enable"] if shown.get("UnitFileState") == "disabled" else []
    if not running:
        return actions + ["start"]
    return actions + ([reaction] if stale else [])


def newer_than(changed_ago: list[float], state_ago: float) -> bool:
    """Was a file changed after the unit last changed its state? Ages in seconds."""
    return any(age < state_ago for age in changed_ago)


def certificates_in(pem: str) -> list[str]:
    """The certificates of a PEM text, without what stands around them; line ends and indentation do not matter."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", pem, re.DOTALL)
    return ["".join(body.split()) for body in found]
