# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: haproxy_files
short_description: A dictionary of names and texts as copy items of a batch
description:
  - Each item writes one text. The name has to be a plain file name; anything that could leave the directory is refused.
positional: _input
options:
  _input:
    description: Name to text.
    type: dict
    required: true
  dest:
    description: Where a text goes; C({}) stands for its name.
    type: str
    required: true
  mode:
    description: The files' mode.
    type: str
    default: "0644"
  no_log:
    description: Whether the texts are secrets.
    type: bool
    default: false
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
tasks: "{{ fixed_items + (certificates | webtrends.optimize.haproxy_files(dest='/etc/haproxy/certs/{}.pem', mode='0600', no_log=true)) }}"
"""

RETURN = r"""
_value: {description: Items for M(webtrends.optimize.batch)., type: list, elements: dict}
"""

import re

from ansible.errors import AnsibleFilterError

PLAIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def haproxy_files(texts, dest: str, mode: str = "0644", no_log: bool = False) -> list[dict]:
    items = []
    for name in sorted(texts):
        if not PLAIN.match(str(name)):
            raise AnsibleFilterError(f"haproxy_files: {name!r} is not a plain file name (letters, digits, dot, dash, underscore)")
        path = dest.replace("{}", name)
        copy = {"content": texts[name], "dest": path, "owner": "root", "group": "root", "mode": mode}
        items.append({"name": f"configure | Write {path}", "ansible.builtin.copy": copy, "no_log": no_log})
    return items


class FilterModule:
    def filters(self):
        return {"haproxy_files": haproxy_files}
