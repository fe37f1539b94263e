"""Each rule finds the violation that is planted, and nothing in a project that is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conventions import rules

LICENCE = "# Copyright: x\n# GNU General Public License v3.0+ (see LICENSE or elsewhere)\n"

# A small project that follows every rule.
RIGHT = {
    "README.md": "playbooks/kafka.yml\n",
    "playbooks/kafka.yml": "[]\n",
    "roles/kafka/meta/argument_specs.yml": json.dumps(
        {
            "argument_specs": {
                "main": {
                    "options": {
                        "kafka_port": {"type": "int", "default": 9092},
                        "kafka_id": {"type": "int", "required": True},
                        "kafka_secret": {"type": "str", "required": True},
                    }
                },
                **{verb: {} for verb in rules.VERBS},
            }
        }
    ),
    "roles/kafka/defaults/main.yml": "kafka_port: 9092\n",
    "roles/kafka/vars/main.yml": "__kafka_files:\n  - {name: a, ansible.builtin.file: {path: /x}}\n",
    "roles/kafka/templates/server.properties.j2": "# {{ ansible_managed }}\n",
    "roles/kafka/tasks/main.yml": (
        "- name: Lay down\n  webtrends.optimize.batch:\n    tasks:\n"
        "      - {name: b, ansible.builtin.copy: {content: '{{ kafka_secret }}', dest: /x}, no_log: true}\n"
    ),
    **{f"roles/kafka/tasks/{verb}.yml": "[]\n" for verb in rules.VERBS},
    "roles/service/meta/argument_specs.yml": '{"argument_specs": {"main": {"options": {"service_name": {"required": true}}}}}',
    "roles/service/defaults/main.yml": "---\n",
    "roles/service/tasks/main.yml": "[]\n",
    "roles/pat/meta/argument_specs.yml": '{"argument_specs": {"main": {"options": {}}}}',
    "roles/pat/tasks/main.yml": ("- name: Deploy\n  ansible.builtin.include_role: {name: service}\n  vars: {service_name: pat}\n"),
    "inventories/secrets.yml": "secrets: [{name: secret_kafka}]\n",
    "inventories/production/group_vars/kafka/kafka.yml": "kafka_secret: '{{ secret_kafka }}'\n",
    "inventories/local/group_vars/kafka/kafka.yml": "-> ../../../production/group_vars/kafka/kafka.yml",
    **{f"molecule/{role}/molecule.yml": "# shared\n" for role in ("kafka", "pat", "service")},
    "molecule/kafka/inventory.yml": "{fleet: kafka, network: 10.1.0.0/24}\n",
    "molecule/kafka/group_vars": "-> ../../inventories/local/group_vars",
    "collections/requirements.yml": "collections: [{name: ansible.posix, version: 2.1.0}]\n",
    ".collections/ansible_collections/ansible/posix/MANIFEST.json": '{"collection_info": {"version": "2.1.0"}}',
    "collections/ansible_collections/webtrends/optimize/plugins/a.py": LICENCE,
}

SPEC = "roles/kafka/meta/argument_specs.yml"
TASKS = "roles/kafka/tasks/main.yml"
DEFAULTS = "roles/kafka/defaults/main.yml"
VARS = "roles/kafka/vars/main.yml"
WIRING = "inventories/production/group_vars/kafka/kafka.yml"
REQUIREMENTS = "collections/requirements.yml"
BATCH = "- name: Lay down\n  webtrends.optimize.batch:\n    tasks:\n      - "

# The rule, the file that is written over a right one (None: taken away), and what the rule says.
PLANTED = [
    (rules.defaults_are_the_spec, DEFAULTS, "kafka_port: 9093\n", "default of kafka_port is 9093"),
    (rules.defaults_are_the_spec, DEFAULTS, "kafka_port: '9092'\n", "default of kafka_port is '9092'"),
    (rules.defaults_are_the_spec, DEFAULTS, "---\n", "kafka_port is not in defaults"),
    (rules.defaults_are_the_spec, DEFAULTS, "kafka_port: 9092\nkafka_id: 1\n", "kafka_id is in defaults"),
    (rules.roles_are_whole, "molecule/pat/molecule.yml", None, "pat: has no scenario"),
    (rules.roles_are_whole, "roles/pat/meta/argument_specs.yml", None, "pat: meta/argument_specs.yml has no entry point main"),
    (rules.roles_are_whole, "roles/kafka/tasks/drain.yml", None, "kafka: is stateful and lacks drain"),
    (rules.roles_are_whole, "roles/pat/tasks/health.yml", "[]\n", "pat: tasks/health.yml has no spec"),
    (rules.batch_items_are_tasks, TASKS, BATCH + "{ansible.builtin.file: {path: /x}}\n", "has no name"),
    (rules.batch_items_are_tasks, TASKS, BATCH + "{name: a, file: {path: /x}}\n", "expected one module by its full name"),
    (rules.batch_items_are_tasks, TASKS, BATCH + "{name: a, ansible.builtin.copy: {content: '{{ kafka_secret }}'}}\n", "has no no_log"),
    (rules.batch_items_are_tasks, VARS, "__kafka_x:\n  - {name: a, ansible.builtin.uri: {url_password: x}}\n", "no no_log"),
    (rules.roles_know_no_inventory, TASKS, "- {name: a, vars: {x: \"{{ groups['kafka'] }}\"}}\n", "uses the inventory ("),
    (rules.roles_know_no_inventory, "roles/kafka/templates/a.j2", "{% if 'x' in group_names %}", "uses the inventory ("),
    (rules.roles_know_no_inventory, "roles/pat/templates/a.j2", "{{ kafka_port }}", "uses kafka_port, a variable of role kafka"),
    (rules.roles_know_no_inventory, "roles/pat/templates/a.j2", "{{ __kafka_files }}", "uses __kafka_files, a variable of role kafka"),
    (
        rules.thin_roles_are_thin,
        "roles/pat/tasks/main.yml",
        "- {name: a, ansible.builtin.include_role: {name: service}, when: x}\n",
        "logic belongs to role service",
    ),
    (rules.templates_say_who_manages_them, "roles/kafka/templates/server.properties.j2", "a=1\n", "does not say ansible_managed"),
    (rules.variables_have_their_prefix, VARS, "files: []\n", "files (main.yml) does not begin with kafka_"),
    (rules.variables_have_their_prefix, TASKS, "- {name: a, register: result}\n", "result (main.yml) does not begin with kafka_"),
    (rules.variables_have_their_prefix, WIRING, "port: 1\n", "port does not begin with kafka_"),
    (rules.failures_count, TASKS, "- name: a\n  ignore_errors: true\n", "ignore_errors: true without a reason"),
    (rules.failures_count, TASKS, "- name: a\n  failed_when: false\n", "failed_when: false without a reason"),
    (rules.files_are_short, "tools/long.py", "x = 1\n" * 401, "has 401 lines, expected at most 400"),
    (rules.nothing_names_a_machine, "tools/a.py", "PATH = '/" + "work/main'\n", "names /" + "work/main"),
    (rules.nothing_names_a_machine, "docs/a.md", "from py" + "pi.org\n", "names py" + "pi.org"),
    (rules.playbooks_are_documented, "playbooks/other.yml", "[]\n", "playbooks/other.yml: is in neither"),
    (rules.collections_are_those_of_the_wheel, REQUIREMENTS, "collections: [{name: ansible.posix, version: 2.0.0}]\n", "2.1.0 in"),
    (rules.collections_are_those_of_the_wheel, REQUIREMENTS, "collections: [{name: a.b, version: 1.0.0}]\n", "not installed"),
    (rules.secrets_are_listed_and_used, "inventories/secrets.yml", "secrets: []\n", "secret_kafka: is used and not listed"),
    (rules.secrets_are_listed_and_used, WIRING, "---\n", "secret_kafka is used nowhere"),
    (rules.scenarios_are_like_production, "molecule/kafka/group_vars", None, "group_vars is no link"),
    (rules.scenarios_are_like_production, "molecule/kafka/inventory.yml", "{fleet: other, network: 10.1.0.0/24}", "its fleet is 'other'"),
    (rules.scenarios_are_like_production, "molecule/pat/inventory.yml", "{fleet: pat, network: 10.1.0.0/24}", "of molecule/kafka"),
    (rules.scenarios_are_like_production, WIRING, None, "leads nowhere"),
    (rules.scenarios_are_like_production, "inventories/local/group_vars/pat/pat.yml", "a: 1\n", "is a copy"),
    (rules.plugins_carry_the_licence, "collections/ansible_collections/webtrends/optimize/plugins/a.py", "x = 1\n", "licence lines"),
]


def build(root: Path, project: dict[str, str | None]) -> None:
    for name, text in project.items():
        if text is None:
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        else:
            path.write_text(text)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_project_that_is_right_has_no_violation(tmp_path: Path, rule: rules.Rule) -> None:
    build(tmp_path, dict(RIGHT))
    assert rule(tmp_path) == []


@pytest.mark.parametrize(("rule", "name", "text", "says"), PLANTED, ids=[f"{entry[0].__name__}-{entry[3]}" for entry in PLANTED])
def test_a_planted_violation_is_found(tmp_path: Path, rule: rules.Rule, name: str, text: str | None, says: str) -> None:
    build(tmp_path, {**RIGHT, name: text})
    problems = rule(tmp_path)
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize("reason", ["- name: a\n  ignore_errors: true # because\n", "- name: a\n  # because\n  failed_when: false\n"])
def test_a_failure_that_is_let_pass_with_its_reason_is_no_violation(tmp_path: Path, reason: str) -> None:
    build(tmp_path, {**RIGHT, TASKS: reason})
    assert rules.failures_count(tmp_path) == []


def test_every_rule_is_tried() -> None:
    assert {entry[0] for entry in PLANTED} == set(rules.RULES)
