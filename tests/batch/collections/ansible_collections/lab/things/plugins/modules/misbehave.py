# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module that ends in the ways in which modules should not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

if __name__ == "__main__":
    module = AnsibleModule({"how": {"required": True}, "argument": {}}, supports_check_mode=True)
    how, argument = module.params["how"], module.params["argument"]
    if how == "raise":
        raise RuntimeError("it broke")
    if how == "noise":
        print("this is no JSON")
        sys.exit(0)
    if how == "noise around":
        print("a line before")
        module.exit_json(changed=False, msg="between")
    if how == "silent":
        sys.exit(3)
    if how == "stderr":
        sys.stderr.write("the last words\n")
        sys.exit(1)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "kill parent":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1)
    if how == "sleep":
        time.sleep(float(argument))
    if how == "daemon":  # keeps the module's standard output open, and stays
        daemon = subprocess.Popen(["sleep", argument], start_new_session=True)
        module.exit_json(changed=False, pid=daemon.pid)
    if how == "environment":
        module.exit_json(changed=False, value=os.environ.get(argument), umask=oct(os.umask(0)), cwd=str(Path.cwd()), home=str(Path.home()))
    module.exit_json(changed=False)
