#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
module: artifact
short_description: An artifact of artifacts.yml is unpacked on the host
description:
  - Ensures that an artifact's files are in their versioned directory, unaltered. Meant as the first item of a role's batch, after the task
    M(webtrends.optimize.artifacts), which sends from the store what the host lacks.
  - Where the source is the vendor, the host downloads it itself. The checksum is compared before anything is unpacked. The directory
    appears whole or not at all, owned by root, with a marker that later runs compare (names, sizes, times; one stat per file).
  - Never touches a C(current) link, so nothing that runs is changed. The role decides when to switch.
options:
  name:
    description: Name of the artifact.
    type: str
    required: true
  version:
    description: Version of the artifact.
    type: str
    required: true
  dest:
    description: Directory that holds this version.
    type: path
    required: true
  checksums:
    description: Of each file, as C(<algorithm>:<hex>).
    type: list
    elements: str
    required: true
  source:
    description: V(store) has the file sent by the controller, V(vendor) has the host download it.
    type: str
    choices: [store, vendor]
    required: true
  urls:
    description: Where the vendor (or a mirror of it) has the files; one for each checksum.
    type: list
    elements: str
    default: []
  store_file:
    description: The store's file on the controller; this module only takes its name from it.
    type: str
    default: ''
  sent:
    description: Where the controller put the store's file. Set by M(webtrends.optimize.artifacts).
    type: path
  timeout:
    description: Seconds without an answer after which a download fails.
    type: int
    default: 60
attributes:
  check_mode: {support: full, description: Says what would be unpacked.}
  diff_mode: {support: none, description: The content is known by its checksum.}
author: [Webtrends Optimize platform]
"""

EXAMPLES = """
- name: install | Lay down what Kafka needs
  webtrends.optimize.batch:
    tasks:
      - name: Unpack Kafka
        webtrends.optimize.artifact: "{{ lookup('webtrends.optimize.artifact', 'kafka', '3.9.2') }}"
"""

RETURN = """
dest:
  description: The versioned directory.
  returned: success
  type: str
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import fetch_url
from ansible_collections.webtrends.optimize.plugins.module_utils.unpack import ArtifactProblem, check, installed, unpack


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "dest": {"type": "path", "required": True},
            "checksums": {"type": "list", "elements": "str", "required": True},
            "source": {"type": "str", "choices": ["store", "vendor"], "required": True},
            "urls": {"type": "list", "elements": "str", "default": []},
            "store_file": {"type": "str", "default": ""},
            "sent": {"type": "path"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    label = f"{module.params['name']} {module.params['version']}"
    dest, checksums = module.params["dest"], module.params["checksums"]
    try:
        if installed(label, dest, checksums):
            module.exit_json(changed=False, dest=dest)
        if module.check_mode:
            module.exit_json(changed=True, dest=dest, msg=f"would unpack {label} into {dest}")
        if module.params["source"] == "vendor":
            files = download(module, label)
        elif module.params["sent"]:
            files = [(module.params["sent"], os.path.basename(module.params["store_file"]))]
        else:
            raise ArtifactProblem(
                f"{label}: not on this host, and not sent to it. "
                "The task webtrends.optimize.artifacts with the same list must come before this one."
            )
        for (path, _name), expected in zip(files, checksums, strict=True):
            check(label, path, expected)
        unpack(label, files, dest, checksums)
    except ArtifactProblem as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=True, dest=dest)


def download(module, label):
    """The vendor's files, in the module's temporary directory."""
    files = []
    directory = tempfile.mkdtemp(dir=module.tmpdir)
    for url in module.params["urls"]:
        name = url.rpartition("/")[2]
        path = os.path.join(directory, name)
        response, info = fetch_url(module, url, timeout=module.params["timeout"])
        if response is None or info["status"] != 200:
            raise ArtifactProblem(
                f"{label}: cannot download {url}: {info.get('msg')}. "
                "Give a mirror that this host reaches (artifact_mirrors), or use artifact_source: store."
            )
        with open(path, "wb") as target:
            while chunk := response.read(1 << 20):
                target.write(chunk)
        files.append((path, name))
    return files


if __name__ == "__main__":
    main()
