# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
DOCUMENTATION = r"""
module: batch
short_description: Run many ordinary tasks in one remote execution
description:
  - An action plugin; see C(docs/batch.md).
options:
  tasks:
    description: The tasks; each has a name, one module with its arguments, and optionally C(when) and C(no_log).
    type: list
    elements: dict
    required: true
author: [Webtrends Optimize platform maintainers]
"""
