# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module of a collection: says hello, warns, and tells of something deprecated."""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lab.things.plugins.module_utils.greeting import greet

if __name__ == "__main__":
    module = AnsibleModule({"name": {"required": True}, "secret": {"no_log": True}}, supports_check_mode=True)
    module.warn("the sun is low")
    module.deprecate("greetings will cost", version="9.9.9", collection_name="lab.things")
    module.exit_json(changed=False, greeting=greet(module.params["name"]))
