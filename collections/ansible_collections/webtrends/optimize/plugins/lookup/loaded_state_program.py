# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: loaded_state_program
short_description: The text of the program C(loaded-state)
description:
  - What the role C(base) installs as C(/usr/local/libexec/optimize/loaded-state). It is the collection's own
    C(module_utils/loaded_state.py), so that the module and the program can't disagree.
options: {}
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: configure | Install loaded-state
  ansible.builtin.copy:
    content: "{{ lookup('webtrends.optimize.loaded_state_program') }}"
    dest: /usr/local/libexec/optimize/loaded-state
    mode: "0755"
"""

RETURN = r"""
_raw: {description: "One text, with its shebang.", type: list, elements: str}
"""

from pathlib import Path

from ansible.plugins.lookup import LookupBase
from ansible_collections.webtrends.optimize.plugins.module_utils import loaded_state

# Isolated and without site: it runs before each start of a unit, and needs the standard library only.
SHEBANG = "#!/usr/bin/python3 -IS\n# Ansible managed: role base\n"


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        return [SHEBANG + Path(loaded_state.__file__).read_text(encoding="utf-8")]
