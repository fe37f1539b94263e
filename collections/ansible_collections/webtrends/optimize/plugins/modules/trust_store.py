#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: trust_store
short_description: Certificate authorities that this host trusts besides the distribution's
description:
  - Lays down each authority as C(/usr/local/share/ca-certificates/optimize-NAME.crt), takes away those that are no longer named, and
    rebuilds the system's trust store where it does not hold exactly these.
options:
  certificates:
    description: The authorities; a name and one PEM certificate each.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: "Part of the file's name.", type: str, required: true}
      pem: {description: "The certificate; public.", type: str, required: true}
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: configure | Trust the estate's own authority
  webtrends.optimize.trust_store:
    certificates: [{name: estate, pem: "{{ secret_ca_certificate }}"}]
"""

RETURN = r"""
written: {description: "Files that were written.", type: list, elements: str, returned: success}
removed: {description: "Files that were taken away.", type: list, elements: str, returned: success}
"""

import glob
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import host_base

DIRECTORY = "/usr/local/share/ca-certificates"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def wanted_files(certificates: list[dict]) -> dict[str, str]:
    """Path -> text; ValueError says which entry is wrong."""
    files = {}
    for one in certificates:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", one["name"]):
            raise ValueError(f"{one['name']!r} is not a name for a file: lower-case letters, digits, dash, dot")
        if len(host_base.certificates_in(one["pem"])) != 1:
            # update-ca-certificates takes only the first of several, silently.
            raise ValueError(f"authority {one['name']} has {len(host_base.certificates_in(one['pem']))} PEM certificates, expected one")
        files[f"{DIRECTORY}/optimize-{one['name']}.crt"] = one["pem"].strip() + "\n"
    return files


def main() -> None:
    certificate = {"name": {"type": "str", "required": True}, "pem": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={"certificates": {"type": "list", "elements": "dict", "required": True, "options": certificate}},
        supports_check_mode=True,
    )
    try:
        files = wanted_files(module.params["certificates"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    written = sorted(path for path, text in files.items() if text_of(path) != text)
    removed = sorted(set(glob.glob(f"{DIRECTORY}/optimize-*.crt")) - set(files))
    # Asked of the bundle itself, so that a run that ended before the rebuild is made good.
    trusted = host_base.certificates_in(text_of(BUNDLE))
    rebuild = bool(written or removed) or any(host_base.certificates_in(text)[0] not in trusted for text in files.values())
    if rebuild and not module.check_mode:
        os.makedirs(DIRECTORY, exist_ok=True)
        for path in written:
            with open(path, "w", encoding="utf-8") as file:
                file.write(files[path])
            os.chmod(path, 0o644)
        for path in removed:
            os.unlink(path)
        # --fresh where something was removed or exchanged: links of what is gone stay otherwise.
        module.run_command(["update-ca-certificates", *(["--fresh"] if removed else [])], check_rc=True)
    module.exit_json(changed=rebuild, written=written, removed=removed)


if __name__ == "__main__":
    main()
