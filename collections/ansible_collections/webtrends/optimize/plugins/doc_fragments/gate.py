# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the options of all gates say; module_utils/gate.py has the options."""

from __future__ import annotations


class ModuleDocFragment:
    """C(extends_documentation_fragment: [webtrends.optimize.gate])."""

    DOCUMENTATION = """
options:
  samples:
    description: Clean answers in a row.
    type: int
    default: 3
  interval:
    description: Seconds between two answers.
    type: float
    default: 2
  timeout:
    description: Seconds in which the clean answers must come.
    type: int
    default: 60
  gate:
    description: Fail when the answers did not come. Without it the last answer is returned as it is.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
"""
