# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory check with all of its rules: importing the modules that hold them is what enters them into the list."""

from __future__ import annotations

from ansible_collections.webtrends.optimize.plugins.plugin_utils import inventory_rules_connections, inventory_rules_data
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_rules import RULES, Finding, Inventory

__all__ = ["RULES", "check", "inventory_rules_connections", "inventory_rules_data"]


def check(inventory: Inventory) -> list[Finding]:
    """Everything that the rules find, all of it at once."""
    return [Finding(identifier, *problem) for identifier, function in RULES.items() for problem in function(inventory)]
