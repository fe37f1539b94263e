"""The inventories that the repository has: production is the design, local is the same on containers, and both pass the check."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import Table
from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import fleet_from_data
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_check import RULES

ROOT = Path(__file__).parents[3]
INVENTORIES = ROOT / "inventories"
PRODUCTION, LOCAL = INVENTORIES / "production" / "group_vars", INVENTORIES / "local" / "group_vars"
REGIONAL = {"collect": 4, "pat": 4, "kafka": 3, "redis_geo": 2}
CORE = {
    "zookeeper": 3, "clickhouse": 4, "redis_stack": 3, "origin": 2, "acs": 2, "dss": 2, "tms": 2, "io": 2,
    "scheduler": 1, "trial": 1, "social": 1, "reports": 2, "extracts": 1,
}  # fmt: skip
DESIGN = {f"{region}_{pool}": count for region in ("euw", "eun", "ue2") for pool, count in REGIONAL.items()}
DESIGN |= {f"core_{pool}": count for pool, count in CORE.items()}
TABLE = Table.load(str(INVENTORIES))


@pytest.fixture(scope="module")
def production():
    return InventoryManager(DataLoader(), [str(INVENTORIES / "production")])


def test_production_is_the_65_machines_of_the_design(production):
    assert len(production.hosts) == 65
    found = {name: hosts for name, hosts in production.get_groups_dict().items() if name in DESIGN}
    assert {name: len(hosts) for name, hosts in found.items()} == DESIGN
    for leaf, hosts in found.items():
        assert hosts == [f"{leaf.replace('_', '-')}-{number}" for number in range(1, DESIGN[leaf] + 1)]


def test_every_region_is_13_machines_and_the_core_26(production):
    groups = production.get_groups_dict()
    assert {region: len(groups[region]) for region in ("euw", "eun", "ue2", "core")} == {"euw": 13, "eun": 13, "ue2": 13, "core": 26}


def test_a_host_is_named_once_in_the_files():
    named = Counter(
        host
        for file in (INVENTORIES / "production").glob("*.yml")
        for host in re.findall(r"^ {8}([a-z0-9-]+):", file.read_text(), re.MULTILINE)
    )
    assert len(named) == 65
    assert set(named.values()) == {1}


def test_clickhouse_has_the_zones_of_the_design(production):
    assert [host.vars["zone"] for host in production.get_hosts("core_clickhouse")] == ["A", "B", "C", "D"]


def test_everything_that_azure_manages_is_named():
    managed = yaml.safe_load((PRODUCTION / "all" / "managed_endpoints.yml").read_text())["managed_endpoints"]
    places = {"region": {"euw", "eun", "ue2"}, "core": {"core"}}
    expected = {pool: places[entry["place"]] for pool, entry in TABLE.pools.items() if entry["kind"] == "managed"}
    assert {pool: set(entry) for pool, entry in managed.items()} == expected


def test_the_table_has_the_rows_of_the_design_with_their_ends():
    found: dict[int, set[tuple[str, str]]] = {}
    for connection in TABLE.connections.values():
        if connection.row:
            found.setdefault(connection.row, set()).add((connection.source, connection.target))
    assert found == {
        1: {("traffic_manager", "app_gateway")}, 2: {("traffic_manager", "app_gateway")}, 3: {("cdn", "origin")},
        4: {("app_gateway", "origin")}, 5: {("app_gateway", "collect")}, 6: {("app_gateway", "pat")}, 7: {("collect", "lb_clickhouse")},
        8: {("pat", "kafka"), ("collect", "kafka")}, 9: {("kafka", "clickhouse")}, 10: {("zookeeper", "kafka")},
        11: {("lb_clickhouse", "clickhouse")}, 12: {("lb_tms", "tms")}, 13: {("origin", "acs")}, 14: {("origin", "dss")},
        15: {("io", "scheduler"), ("io", "trial"), ("io", "social")}, 16: {("io", "wasdb"), ("io", "redis_stack")},
        17: {("reports", "q2db"), ("extracts", "q2db")}, 18: {("reports", "redis_geo"), ("extracts", "redis_geo")},
        19: {("dss", "wasdb")}, 20: {("acs", "redis_stack"), ("acs", "rasdb")},
    }  # fmt: skip


def test_local_hosts_are_productions_and_the_stand_ins():
    file = INVENTORIES / "local" / "fleet.yml"
    fleet = fleet_from_data(yaml.safe_load(file.read_text()), file, regions=["euw", "eun", "ue2"])
    names = {f"{leaf.replace('_', '-')}-{number}": leaf for leaf, count in DESIGN.items() for number in range(1, count + 1)}
    left_out = yaml.safe_load((LOCAL / "all" / "local.yml").read_text())["pools_left_out"]
    assert {host.pool for host in fleet.hosts} == set(TABLE.pools) - set(left_out)
    for host in fleet.hosts:
        region, pool, leaf = host.groups
        assert leaf == f"{region}_{pool}"
        if TABLE.pools[pool]["kind"] == "managed":
            assert host.name not in names
        else:
            assert names[host.name] == leaf


def wiring(base: Path) -> set[Path]:
    return {path.relative_to(base) for path in base.rglob("*") if not path.is_dir()}


def is_wiring(file: Path) -> bool:
    """Wiring turns groups and connections into a role's parameters; the rest is values, which differ from estate to estate."""
    return any(
        word in file.read_text(encoding="utf-8") for word in ("optimize.endpoints", "optimize.estate_hosts", "host_number", "groups[")
    )


def test_local_wiring_is_productions():
    for path in wiring(LOCAL):
        if (LOCAL / path).is_symlink():
            assert (LOCAL / path).resolve() == (PRODUCTION / path).resolve()
            assert (LOCAL / path).is_file(), f"inventories/local/group_vars/{path} links to nothing"
        else:
            assert not is_wiring(LOCAL / path), f"inventories/local/group_vars/{path} is wiring of its own: link production's"


def test_productions_wiring_is_local_too():
    left_out = yaml.safe_load((LOCAL / "all" / "local.yml").read_text())["pools_left_out"]
    expected = {path for path in wiring(PRODUCTION) if is_wiring(PRODUCTION / path) and path.parts[0] not in left_out}
    assert expected - wiring(LOCAL) == set(), "link these into inventories/local/group_vars"


def test_what_wiring_expects_to_listen_is_what_the_table_knows():
    for file in PRODUCTION.glob("*/*.yml"):
        expected = (yaml.safe_load(file.read_text()) or {}).get("expect_ports", [])
        if file.parent.name in TABLE.pools:
            known = TABLE.pools[file.parent.name]["listens"].values()
            assert set(expected) <= set(known), f"{file}: name the port in `listens` of inventories/pools.yml"


def run(*arguments, playbook="playbooks/check-inventory.yml"):
    command = [str(Path(sys.executable).parent / "ansible-playbook"), playbook, *map(str, arguments)]
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_DEPRECATION_WARNINGS": "0", "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    """Secrets as an operator supplies them, made from the list of their names."""
    values: dict[str, object] = {}
    pem = "-----BEGIN PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n"
    for spec in yaml.safe_load((INVENTORIES / "secrets.yml").read_text())["secrets"]:
        made = {
            "password": "canary-1",
            "passwords": dict.fromkeys(spec.get("keys", ()), "canary-1"),
            "certificate": pem,
            "certificates": dict.fromkeys(("euw", "eun", "ue2"), pem),
        }
        values[spec["name"]] = made[spec["kind"]]
    file = tmp_path_factory.mktemp("vault") / "vault.yml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.parametrize(("inventory", "limit"), [("production", "all"), ("production", "euw"), ("local", "core")])
def test_both_inventories_pass_whole_and_limited(inventory, limit, vault):
    done = run("-i", f"inventories/{inventory}", "-e", f"@{vault}", "-l", limit, "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules: nothing to mend" in done.stdout
    assert "canary" not in done.stdout


SITE = """
- name: Check the inventory
  ansible.builtin.import_playbook: {root}/playbooks/check-inventory.yml
  vars: {{check_inventory_one_region: true}}
- name: What comes after
  hosts: all
  gather_facts: false
  tasks:
    - name: Touch
      ansible.builtin.debug: {{msg: "touched"}}
"""


@pytest.fixture
def site(tmp_path):
    file = tmp_path / "site.yml"
    file.write_text(SITE.format(root=ROOT))
    return file


def test_a_run_over_two_production_regions_is_refused_before_any_host_is_touched(site, vault):
    done = run("-i", "inventories/production", "-e", f"@{vault}", "-l", "euw,core", playbook=str(site))
    assert done.returncode != 0
    assert (
        "this run would touch 2 regions: euw, core. Limit it to one (-l euw), or confirm with -e regions_confirmed=all"
        in done.stdout + done.stderr
    )
    assert "touched\n" not in done.stdout and "UNREACHABLE" not in done.stdout


@pytest.mark.parametrize("options", [["-l", "euw"], ["-l", "euw,core", "-e", "regions_confirmed=all"]])
def test_one_region_or_a_confirmed_run_goes_on(options, site, vault):
    done = run("-i", "inventories/production", "-e", f"@{vault}", *options, playbook=str(site))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "touched" in done.stdout


def test_a_limited_run_still_sees_what_is_wrong_elsewhere(site, vault, tmp_path):
    overlay = tmp_path / "overlay.yml"
    overlay.write_text("core_zookeeper: {hosts: {core-zookeeper-4: {zone: '1'}}}\n")
    done = run("-i", "inventories/production", "-i", overlay, "-e", f"@{vault}", "-l", "euw", playbook=str(site))
    assert done.returncode != 0
    assert "[quorum] group core_zookeeper" in done.stdout + done.stderr
    assert "touched" not in done.stdout.replace("no host was touched", "")


def test_an_operator_without_vault_is_told_each_secret():
    done = run("-i", "inventories/production")
    assert done.returncode != 0
    assert "secret_clickhouse_passwords is missing" in done.stdout + done.stderr
    assert run("-i", "inventories/production", "-e", "check_inventory_secrets=false").returncode == 0


def test_hosts_of_a_stand_in_take_the_place_of_the_managed_endpoint(tmp_path):
    ask = tmp_path / "ask.yml"
    ask.write_text(
        "- hosts: euw-collect-1\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.debug: {msg: \"{{ lookup('webtrends.optimize.endpoints', 'collect_to_lb_clickhouse') }}\"}\n"
    )
    overlay = tmp_path / "overlay.yml"
    overlay.write_text(
        "core: {children: {core_lb_clickhouse: {hosts: {core-lb-clickhouse-1: , core-lb-clickhouse-2: }}}}\n"
        "core_lb_clickhouse: {vars: {virtual_name: core-lb-clickhouse}}\n"
    )
    here = ("-e", f"connections_directory={INVENTORIES}", "-l", "euw")
    assert "lb-clickhouse.optimize.internal:8123" in run("-i", "inventories/production", *here, playbook=str(ask)).stdout
    assert "core-lb-clickhouse:8123" in run("-i", "inventories/production", "-i", overlay, *here, playbook=str(ask)).stdout
