#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
module: zookeeper_chroots
short_description: Nodes that clients use as their root exist
description:
  - Creates the nodes, with their parents, that do not exist; removes and alters none.
  - Waits for the ensemble to have a quorum, which takes a moment after its first start.
requirements: [kazoo >= 2.8 (python3-kazoo)]
options:
  hosts:
    description: C(host:port) of the members.
    type: list
    elements: str
    required: true
  paths:
    description: Absolute paths.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds in which the ensemble must answer.
    type: int
    default: 60
attributes:
  check_mode: {support: full, description: Says which nodes are absent.}
  diff_mode: {support: full, description: Shows the nodes that are created.}
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = """
- webtrends.optimize.zookeeper_chroots:
    hosts: ["core-zookeeper-1:2181"]
    paths: [/kafka-euw, /clickhouse]
  run_once: true
"""

RETURN = """
created: {description: The paths that were absent., type: list, elements: str, returned: success}
"""

import logging

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from kazoo.client import KazooClient
    from kazoo.exceptions import KazooException
    from kazoo.handlers.threading import KazooTimeoutError

    HAS_KAZOO = True
except ImportError:
    HAS_KAZOO = False


def main():
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "list", "elements": "str", "required": True},
            "paths": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if not HAS_KAZOO:
        module.fail_json(msg=missing_required_lib("kazoo"))
    hosts, paths = module.params["hosts"], module.params["paths"]
    for path in paths:
        if not path.startswith("/") or path == "/" or path.endswith("/"):
            module.fail_json(msg=f"{path!r} is no path of a chroot: expected /name, absolute and without a slash at its end")
    # Refused connections while an ensemble forms are no news.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    client = KazooClient(hosts=",".join(hosts), timeout=10)
    try:
        client.start(timeout=module.params["timeout"])
        absent = [path for path in paths if not client.exists(path)]
        if not module.check_mode:
            for path in absent:
                client.ensure_path(path)
    except (KazooException, KazooTimeoutError) as error:
        module.fail_json(
            msg=f"the ensemble {', '.join(hosts)} did not answer within {module.params['timeout']} s ({error}); "
            "see `systemctl status zookeeper` on its members and that a majority of them runs"
        )
    finally:
        client.stop()
        client.close()
    module.exit_json(changed=bool(absent), created=absent, diff={"before": "", "after": "".join(f"{path}\n" for path in absent)})


if __name__ == "__main__":
    main()
