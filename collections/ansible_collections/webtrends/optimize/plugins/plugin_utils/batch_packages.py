# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which `apt` items may be answered from dpkg's own records, without opening apt's index of all packages there are.

Opening the index is most of what such an item costs a host: half a second of CPU where a distribution's whole list is known. What is
asked for by its plain name, and is installed by wish, needs no look at what could be installed. Everything else does.
"""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

#: Debian Policy 5.6.7: what a package's name is made of. Versions, patterns and architectures add other characters.
_PLAIN = re.compile(r"[a-z0-9][a-z0-9+.-]+")
#: Options that say how to install, and nothing where all is installed; and the type that each must have, or the module refuses it.
_HOW = {"install_recommends": bool, "policy_rc_d": int, "lock_timeout": int}
_NAMES = ("name", "pkg", "package")


class Wanted(t.TypedDict):
    """What must be so for the answer "nothing to do": names installed by wish, and lists not older than so many seconds."""

    names: list[str]
    lists_age: int | None


def wanted(args: dict) -> Wanted | None:
    """What an `apt` item with these arguments asks for; none where the module itself must look."""
    rest = dict(args)
    given = [rest.pop(key) for key in _NAMES if key in rest]
    if len(given) != 1 or rest.pop("state", "present") != "present" or boolean(rest.pop("update_cache", False), strict=False):
        return None
    age = rest.pop("cache_valid_time", None)
    names = [given[0]] if isinstance(given[0], str) else given[0]
    plain = isinstance(names, list) and bool(names) and all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in names)
    known = all(key in _HOW and _is(value, _HOW[key]) for key, value in rest.items())
    if not (plain and known and (age is None or _is(age, int))):
        return None
    return {"names": names, "lists_age": age or None}


def _is(value: t.Any, kind: type) -> bool:
    """True also for a subclass, as Ansible's tagged values are; but a truth value is no number."""
    return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
