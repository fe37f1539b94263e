# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
name: artifact
short_description: The arguments of the module artifact, for one artifact of artifacts.yml
description:
  - Reads artifacts.yml and, for what the project builds itself, the manifest in the store. Returns a dictionary that
    M(webtrends.optimize.artifact) and M(webtrends.optimize.artifacts) take.
  - Refuses an unknown name or version, and one that the wanted source does not have, before a host is touched.
options:
  _terms:
    description: Name of the artifact and its version; V(latest) is the newest release that was built here.
    required: true
  distribution:
    description: Codename of the host's distribution, for artifacts that are built per distribution.
    type: str
    default: ''
  artifact_source:
    description: Where hosts take artifacts from.
    type: str
    choices: [store, vendor]
    default: vendor
    vars: [{name: artifact_source}]
  artifact_mirrors:
    description: Prefix of a vendor's URL -> what stands in its place, for an internal mirror.
    type: dict
    default: {}
    vars: [{name: artifact_mirrors}]
  artifact_catalog:
    description: Path of artifacts.yml. By default the one of the project that this collection is part of.
    type: str
    default: ''
    env: [{name: OPTIMIZE_ARTIFACTS}]
    vars: [{name: artifact_catalog}]
author: [Webtrends Optimize platform]
"""

EXAMPLES = """
- webtrends.optimize.artifact: "{{ lookup('webtrends.optimize.artifact', 'kafka', '3.9.2') }}"
- webtrends.optimize.artifact: "{{ lookup('webtrends.optimize.artifact', 'optimize-services', 'latest', distribution='bookworm') }}"
"""

RETURN = """
_raw:
  description: name, version, dest, source, checksums, urls, store_file.
  type: list
  elements: dict
"""

from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import CATALOG, Catalog, CatalogError


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        if len(terms) != 2:
            raise AnsibleError(f"webtrends.optimize.artifact: expected a name and a version, found {terms!r}")
        name, version = (str(term) for term in terms)
        try:
            catalog = Catalog(Path(self.get_option("artifact_catalog") or CATALOG))
            if version == "latest":
                version = catalog.latest_built(name)
            artifact = catalog.get(name, version, str(self.get_option("distribution")))
            # The project has no vendor for what it builds itself.
            source = "store" if artifact.kind == "built" else self.get_option("artifact_source")
            return [self._vendor(artifact) if source == "vendor" else self._store(catalog, artifact)]
        except CatalogError as error:
            raise AnsibleError(str(error)) from error

    @staticmethod
    def _store(catalog, artifact):
        if not artifact.kind or not artifact.sha256:
            raise CatalogError(f"{artifact.label}: the store has no source for it; set artifact_source: vendor or choose another version.")
        return {
            "name": artifact.name, "version": artifact.version, "dest": artifact.dest, "source": "store",
            "checksums": [f"sha256:{artifact.sha256}"], "urls": [], "store_file": str(catalog.file(artifact).absolute()),
        }  # fmt: skip

    def _vendor(self, artifact):
        Catalog.need_vendor(artifact)
        urls = []
        for url in artifact.vendor:
            prefix = next((one for one in self.get_option("artifact_mirrors") if url.startswith(one)), "")
            urls.append(self.get_option("artifact_mirrors")[prefix] + url.removeprefix(prefix) if prefix else url)
        return {
            "name": artifact.name, "version": artifact.version, "dest": artifact.dest, "source": "vendor",
            "checksums": list(artifact.vendor_checksums), "urls": urls, "store_file": "",
        }  # fmt: skip
