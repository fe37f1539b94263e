# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import CatalogError, verify_file


class ActionModule(ActionBase):
    """Verifies the store's files and sends them to a host that lacks them."""

    _requires_connection = True
    # With True core makes and removes a temporary directory on every host, in three remote executions, also where nothing is sent.
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec({"artifacts": {"type": "list", "elements": "dict", "required": True}})
        facts = (task_vars or {}).get("ansible_facts", {})
        lacking = [one for one in args["artifacts"] if one["source"] == "store" and not on_host(one, facts)]
        # All files are judged before the first one is sent.
        try:
            for artifact in lacking:
                expected = artifact["checksums"][0].removeprefix("sha256:")
                verify_file(artifact["name"], artifact["version"], Path(artifact["store_file"]), expected)
        except CatalogError as error:
            raise AnsibleActionFail(str(error)) from error
        sent = []
        for artifact in lacking:
            if self._send(artifact, task_vars):
                sent.append(f"{artifact['name']} {artifact['version']}")
        return {"changed": bool(sent), "sent": sent}

    def _send(self, artifact, task_vars):
        arguments = dict(artifact)
        if not self._task.check_mode:
            if not self._connection._shell.tmpdir:
                self._make_tmp_path()
            arguments["sent"] = self._connection._shell.join_path(self._connection._shell.tmpdir, os.path.basename(artifact["store_file"]))
            self._transfer_file(artifact["store_file"], arguments["sent"])
        result = self._execute_module(module_name="webtrends.optimize.artifact", module_args=arguments, task_vars=task_vars)
        if result.get("failed"):
            raise AnsibleActionFail(result.get("msg", "the module failed"), result=result)
        return result.get("changed", False)


def on_host(artifact, facts):
    """Whether preflight saw this version below /opt. Without its facts the answer is no: the module then looks itself."""
    product = Path(artifact["dest"]).parent.name
    seen = facts.get("host", {}).get("opt", {}).get(product, {})
    return artifact["version"] in seen.get("versions", [])
