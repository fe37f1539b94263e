# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
name: properties
short_description: A dictionary as a sorted properties file
description:
  - Renders C(key=value) lines, sorted by key, as java.util.Properties reads them back (Java 17, class Properties, method load).
  - Booleans become V(true) and V(false), lists are joined with commas, numbers are written plainly. A key whose value is null is left out,
    so that a user can take away what a role sets.
options:
  _input:
    description: Keys and values.
    type: dict
    required: true
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = """
- ansible.builtin.copy:
    content: "{{ __kafka_settings | combine(kafka_settings) | webtrends.optimize.properties }}"
    dest: /etc/kafka/server.properties
"""

RETURN = """
_value:
  description: The file's lines, each with its line feed.
  type: str
"""

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}


def _text(text, special):
    escaped = []
    for position, character in enumerate(text):
        if character in _ESCAPES:
            escaped.append(_ESCAPES[character])
        elif character in special or (character == " " and (position == 0 or " " in special)):
            escaped.append("\\" + character)
        elif " " <= character <= "~":
            escaped.append(character)
        else:
            # The format is ISO 8859-1 with UTF-16 code units as escapes.
            units = character.encode("utf-16-be", "surrogatepass")
            escaped += [f"\\u{units[index]:02x}{units[index + 1]:02x}" for index in range(0, len(units), 2)]
    return "".join(escaped)


def _value(key, value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, (list, tuple)) and not any(isinstance(one, (list, tuple, Mapping)) for one in value):
        return ",".join(_value(key, one) for one in value)
    raise AnsibleFilterError(f"properties: {key} is {type(value).__name__}, expected a text, a number, a boolean, null, or a list of these")


def properties(settings):
    """Keys and values as the text of a properties file."""
    if not isinstance(settings, Mapping):
        raise AnsibleFilterError(f"properties: expected a dictionary, found {type(settings).__name__}")
    lines = []
    for key in sorted(settings, key=str):
        if settings[key] is not None:
            lines.append(f"{_text(str(key), ' :=#!')}={_text(_value(key, settings[key]), '')}\n")
    return "".join(lines)


class FilterModule:
    def filters(self):
        return {"properties": properties}
