#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
module: artifacts
short_description: Send to the host, from the store, the artifacts that it lacks
description:
  - First task of a role that installs artifacts. Where the facts of M(webtrends.optimize.preflight) show a version on the host it costs no
    remote execution; otherwise the store's file is verified on the controller, sent over the connection and unpacked. An altered or missing
    file stops the host here, before the role changed anything.
  - Artifacts whose source is the vendor are left to M(webtrends.optimize.artifact), which the role has in its batch for all of them.
options:
  artifacts:
    description: What P(webtrends.optimize.artifact#lookup) returned, for each artifact.
    type: list
    elements: dict
    required: true
attributes:
  check_mode: {support: full, description: Says what would be sent; a file that is missing in the store is refused.}
  diff_mode: {support: none, description: The content is known by its checksum.}
author: [Webtrends Optimize platform]
"""

EXAMPLES = """
- name: install | Send the artifacts that the host lacks
  webtrends.optimize.artifacts:
    artifacts: ["{{ lookup('webtrends.optimize.artifact', 'kafka', '3.9.2') }}"]
"""

RETURN = """
sent:
  description: The artifacts that were sent, as C(name version).
  returned: always
  type: list
  elements: str
"""
