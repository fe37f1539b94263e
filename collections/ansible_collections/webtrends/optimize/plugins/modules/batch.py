#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
DOCUMENTATION = r"""
module: batch
short_description: Run many ordinary tasks in one remote execution
description:
  - Runs a list of stock modules on a host in one remote execution, eight times faster than as many tasks.
  - An action plugin; C(docs/batch.md) has the keywords of an item, the limits and the figures.
options:
  tasks:
    description:
      - The tasks. Each has a C(name), one module with its arguments, and optionally C(when), C(when_changed), C(changed_when),
        C(no_log), C(loop), C(loop_control), C(notify) and C(vars).
    type: list
    elements: dict
    required: true
  method:
    description:
      - V(auto) is one remote execution where that is possible, else the items one by one.
      - V(one_execution) fails where it is not possible, with the reason. V(one_by_one) forces the slow way.
      - The environment variable E(OPTIMIZE_BATCH_METHOD) of the controller is the default.
    type: str
    choices: [auto, one_execution, one_by_one]
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: Lay down the exporter
  webtrends.optimize.batch:
    tasks:
      - name: Create its directories
        ansible.builtin.file:
          path: "{{ item }}"
          state: directory
          mode: "0755"
        loop: [/etc/exporter, /var/lib/exporter]
      - name: Write its configuration
        ansible.builtin.template:
          src: exporter.yml.j2
          dest: /etc/exporter/exporter.yml
          mode: "0644"
      - name: Start it
        ansible.builtin.systemd_service:
          name: exporter
          state: started
          enabled: true
"""

RETURN = r"""
results:
  description: The items' results in order, each as its module returns it, with C(name) and C(module).
  type: list
  elements: dict
  returned: always
changed_names:
  description: Names of the items that changed.
  type: list
  elements: str
  returned: always
diff:
  description: The differences of the items that changed.
  type: list
  elements: dict
  returned: with --diff
failed_name:
  description: Name of the item that failed; C(failed_module) is its module, and its other results stand beside them.
  type: str
  returned: when an item failed
"""
