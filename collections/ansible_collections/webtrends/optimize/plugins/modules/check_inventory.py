# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: check_inventory
short_description: Refuse an inventory that cannot be right, before any host is touched
version_added: 0.1.0
author: Webtrends Optimize platform maintainers
description:
  - Holds the whole inventory, not only the hosts that a run is limited to, against the rules of C(docs/inventory.md), and lists everything
    that it finds at once. Each sentence names host or group, what was found, and what mends it.
  - Runs on the controller, once in a play. No connection is opened.
  - Needs the Python library jsonschema on the controller.
options:
  one_region:
    description:
      - Also refuse a run over more than one region (the core counts as one), where the inventory's variable C(regions_require_confirmation)
        is true.
    type: bool
    default: false
  regions_confirmed:
    description: The word V(all) allows a run over more than one region.
    type: str
  secrets:
    description: Whether the secrets must be there. Off where an inventory is looked at without its vault, as in CI.
    type: bool
    default: true
  artifacts:
    description:
      - Also look, on the controller, at what the hosts would install (C(used_by) in C(artifacts.yml)); that the store's files are there and
        whole, or that the vendor's checksums are known.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Check the inventory
  webtrends.optimize.check_inventory:
    one_region: true
    regions_confirmed: "{{ regions_confirmed | default('') }}"
"""

RETURN = r"""
msg:
  description: What must be mended, a line for each finding; how much was looked at, where there is nothing.
  type: str
  returned: always
rules:
  description: The names of the rules that were applied.
  type: list
  elements: str
  returned: success
hosts:
  description: How many hosts the inventory has.
  type: int
  returned: success
"""
