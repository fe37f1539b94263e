# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: haproxy_section
short_description: A dictionary as the lines of one section of haproxy.cfg
description:
  - A key is a keyword of HAProxy's manual, its value a string or number (C(keyword value)), a list (a line for each, in that order),
    a dictionary (C(keyword name value) for each), V(true) (the keyword alone), or V(false) or V(null) (no line; it takes away what a
    role's default put there).
  - Keywords come out sorted, but in the order that HAProxy asks for, rules after the C(acl) that they name, C(default-server) before
    C(server), so that HAProxy gives no warning. Members of a dictionary are sorted with their numbers as numbers.
  - A line break in a value is refused, since it would be a directive that nobody wrote.
positional: _input
options:
  _input:
    description: The section.
    type: dict
    required: true
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
# {"mode": "http", "timeout": {"client": "30s"}, "server": {"euw-pat-2": "10.0.0.2:8080"}}
# -> ["mode http", "timeout client 30s", "server euw-pat-2 10.0.0.2:8080"]
- ansible.builtin.debug:
    msg: "{{ haproxy_backends['pat'] | webtrends.optimize.haproxy_section }}"
"""

RETURN = r"""
_value: {description: The lines, without indentation., type: list, elements: str}
"""

import re
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

# The order of evaluation in HAProxy's manual (2.6, chapter 4: a rule set after a later one draws a warning); 10 is everything else.
ORDER = {
    "mode": 0,
    "acl": 20,
    "tcp-request": 30,
    "http-request": 31,
    "tcp-response": 32,
    "http-response": 33,
    "http-after-response": 34,
    "redirect": 35,
    "use_backend": 40,
    "default_backend": 41,
    "default-server": 50,
    "server-template": 51,
    "server": 52,
}


def natural(text: str) -> list:
    """``kafka-10`` after ``kafka-9``."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", text)]


def position(keyword: str) -> tuple[int, list]:
    return ORDER.get(keyword.split(" ", 1)[0], 10), natural(keyword)


def line(where: str, words: str, value) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [words]
    if not isinstance(value, (str, int, float)):
        raise AnsibleFilterError(f"haproxy_section: {where} is a {type(value).__name__}; expected a string, a number, true or false")
    text = f"{words} {value}".rstrip()
    if "\n" in text or "\r" in text:
        raise AnsibleFilterError(f"haproxy_section: {where} has a line break; write a list for several lines")
    return [text]


def haproxy_section(section) -> list[str]:
    if not isinstance(section, Mapping):
        raise AnsibleFilterError(f"haproxy_section: expected a dictionary of keywords, found a {type(section).__name__}")
    lines: list[str] = []
    for keyword in sorted(section, key=position):
        value = section[keyword]
        if isinstance(value, Mapping):
            for name in sorted(value, key=natural):
                lines += line(f"{keyword}.{name}", f"{keyword} {name}", value[name])
        elif isinstance(value, (list, tuple)):
            for number, one in enumerate(value):
                lines += line(f"{keyword}[{number}]", keyword, one)
        else:
            lines += line(keyword, keyword, value)
    return lines


class FilterModule:
    def filters(self):
        return {"haproxy_section": haproxy_section}
