"""Fleet files: what they yield, and what is refused with file, key and mend."""

import copy
import ipaddress
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.webtrends.optimize.plugins.plugin_utils import fleet as unit
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
LOCAL = ROOT / "inventories" / "local" / "fleet.yml"
DATA = {
    "plugin": unit.PLUGIN,
    "fleet": "trial",
    "network": "10.92.9.0/24",
    "regions": {"core": 0, "euw": 100},
    "pools": {
        "core": {"clickhouse": {"hosts": 4, "first": 21, "zones": ["A", "B", "C", "D"]}},
        "regional": {"app_gateway": {"hosts": 2, "first": 32, "shared": 31}, "kafka": {"hosts": 4, "first": 11, "release": "trixie"}},
    },
}


@pytest.fixture(name="path")
def _path(tmp_path):
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "molecule" / "trial").mkdir(parents=True)
    return tmp_path / "molecule" / "trial" / "inventory.yml"


def changed(*keys, value):
    """DATA with one value replaced."""
    data = copy.deepcopy(DATA)
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return data


def by_name(fleet):
    return {host.name: host for host in fleet.hosts}


def test_names_groups_and_addresses(path):
    fleet = unit.fleet_from_data(DATA, path)
    hosts = by_name(fleet)
    assert list(hosts)[:4] == [f"core-clickhouse-{n}" for n in range(1, 5)]
    assert hosts["euw-app-gateway-2"].groups == ("euw", "app_gateway", "euw_app_gateway")
    assert hosts["euw-app-gateway-2"].address == "10.92.9.133"
    assert fleet.state == path.parents[2] / ".cache/molecule/trial"


def test_zones_are_dealt_in_turn_or_as_named(path):
    hosts = by_name(unit.fleet_from_data(DATA, path))
    assert [hosts[f"euw-kafka-{n}"].zone for n in range(1, 5)] == ["1", "2", "3", "1"]
    assert [hosts[f"core-clickhouse-{n}"].zone for n in range(1, 5)] == ["A", "B", "C", "D"]


def test_host_variables(path):
    hosts = by_name(unit.fleet_from_data(DATA, path))
    assert unit.host_variables(hosts["euw-app-gateway-1"]) == {
        "region": "euw", "zone": "1", "ansible_host": "10.92.9.132", "debian_release": "bookworm",
        "virtual_name": "euw-app-gateway", "virtual_address": "10.92.9.131",
    }  # fmt: skip
    assert unit.host_variables(hosts["euw-kafka-1"])["debian_release"] == "trixie"
    assert "virtual_name" not in unit.host_variables(hosts["euw-kafka-1"])


def test_nothing_is_expected_of_a_bare_pool(path):
    data = changed("pools", "regional", "kafka", "bare", value=True)
    hosts = by_name(unit.fleet_from_data(data, path))
    assert unit.host_variables(hosts["euw-kafka-1"]).items() >= {"expect_units": [], "expect_ports": []}.items()
    assert "expect_units" not in unit.host_variables(hosts["core-clickhouse-1"])


def test_host_keys_are_checked(path):
    arguments = unit.connection_variables(unit.fleet_from_data(DATA, path))["ansible_ssh_common_args"]
    assert "StrictHostKeyChecking=yes" in arguments
    assert "UserKnownHostsFile=/" in arguments


@given(more=st.integers(0, 20), regions=st.permutations(["euw", "eun", "ue2"]), kept=st.integers(1, 3))
def test_whatever_is_added_no_address_moves(more, regions, kept):
    data = yaml.safe_load(LOCAL.read_text(encoding="utf-8"))
    before = by_name(unit.fleet_from_data(data, LOCAL, regions=["euw"]))
    data["pools"]["regional"]["addition"] = {"hosts": more + 1, "first": 101}
    data["pools"]["core"]["zookeeper"]["hosts"] += 2
    data["pools"]["regional"] = dict(reversed(data["pools"]["regional"].items()))
    after = by_name(unit.fleet_from_data(data, LOCAL, regions=["euw", *regions[:kept]]))
    assert {name: host.address for name, host in before.items()}.items() <= {name: host.address for name, host in after.items()}.items()


def test_local_fleets_hold_all_regions_without_a_clash():
    data = yaml.safe_load(LOCAL.read_text(encoding="utf-8"))
    networks = []
    for variant in ("platform", "test"):
        fleet = unit.fleet_from_data(data, LOCAL, variant=variant, regions=["euw", "eun", "ue2"])
        addresses = [host.address for host in fleet.hosts]
        assert len(set(addresses)) == len(addresses)
        networks.append(fleet.network)
    assert not networks[0].overlaps(networks[1])


def test_scenarios_have_networks_of_their_own():
    paths = sorted((ROOT / "molecule").glob("*/inventory.yml"))
    fleets = [unit.fleet_from_data(yaml.safe_load(path.read_text(encoding="utf-8")), path) for path in paths]
    for path, fleet in zip(paths, fleets, strict=True):
        assert fleet.name == path.parent.name
        assert ipaddress.ip_network("10.92.0.0/14").supernet_of(fleet.network)
    for index, fleet in enumerate(fleets):
        assert not [other.name for other in fleets[:index] if other.network.overlaps(fleet.network)], fleet.name


@pytest.mark.parametrize(
    ("recorded", "default", "expected"), [(["euw"], ["eun"], ("euw",)), (None, ["eun"], ("eun",)), (None, None, ("euw", "eun"))]
)
def test_regions_are_those_recorded_then_the_default_then_all(path, recorded, default, expected):
    data = changed("regions", value={"core": 0, "euw": 60, "eun": 120})
    if default is not None:
        data["default_regions"] = default
    if recorded is not None:
        state = path.parents[2] / ".cache/molecule/trial"
        state.mkdir(parents=True)
        (state / "fleet.json").write_text(json.dumps({"regions": recorded}), encoding="utf-8")
    assert unit.fleet_from_data(data, path).regions == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], ["expected a mapping"]),
        (changed("plugin", value="other"), ["'plugin'", "'other'", unit.PLUGIN]),
        (changed("pool", value={}), ["unknown key 'pool'", "pools"]),
        (changed("network", value="10.92.9.1/24"), ["'network'", "10.90.0.0/16"]),
        (changed("network", value=10), ["'network' is 10", "a text"]),
        (changed("release", value="buster"), ["'release' is 'buster'", "bookworm, trixie"]),
        (changed("regions", "euw", value="100"), ["'euw' is '100'", "a number"]),
        (changed("regions", value={"euw": 100}), ["'core' is missing", "add its offset"]),
        (changed("default_regions", value=["eux"]), ["region 'eux'", "euw"]),
        (changed("pools", "regional", "Kafka", value={"hosts": 1, "first": 1}), ["pool 'Kafka' is not a name"]),
        (changed("pools", "regional", "kafka", value={"hosts": 3}), ["kafka", "'first' is missing"]),
        (changed("pools", "regional", "kafka", value={"hosts": True, "first": 1}), ["kafka", "'hosts' is True", "a number"]),
        (changed("pools", "regional", "kafka", value={"hosts": 0, "first": 1}), ["kafka", "'hosts' is 0", "1 or more"]),
        (changed("pools", "regional", "kafka", value={"hosts": 1, "first": 1, "zone": "A"}), ["unknown key 'zone'", "zones"]),
        (changed("pools", "regional", "kafka", value={"hosts": 1, "first": 1, "zones": []}), ["'zones' is empty"]),
        (
            changed("pools", "regional", "kafka", value={"hosts": 1, "first": 33}),
            ["euw-app-gateway-2", "euw-kafka-1", "10.92.9.133", "another 'first'"],
        ),
        (changed("pools", "regional", "kafka", value={"hosts": 2, "first": 155}), ["euw-kafka-1", "10.92.9.255", "outside 10.92.9.0/24"]),
        (changed("pools", "core", "clickhouse", value={"hosts": 1, "first": 1}), ["core-clickhouse-1", "gateway"]),
        (changed("pools", value={}), ["no pool has a host"]),
        (changed("fleets", value={"a": {}}), ["'fleet' and 'fleets' exclude each other"]),
        ({key: value for key, value in DATA.items() if key != "network"}, ["'network' is missing"]),
    ],
)  # fmt: skip
def test_refused_with_file_key_and_mend(path, data, words):
    with pytest.raises(unit.FleetError) as refused:
        unit.fleet_from_data(data, path)
    for word in [str(path), *words]:
        assert word in str(refused.value)


def test_unknown_fleet_is_refused():
    with pytest.raises(unit.FleetError, match=r"OPTIMIZE_FLEET is 'prod'; known are platform, test"):
        unit.fleet_from_data(yaml.safe_load(LOCAL.read_text(encoding="utf-8")), LOCAL, variant="prod")


def test_a_file_outside_a_project_is_refused(tmp_path):
    with pytest.raises(unit.FleetError, match=r"ansible\.cfg"):
        unit.fleet_from_data(DATA, tmp_path / "inventory.yml")


def test_ansible_reads_it_and_prints_no_secret(path):
    (path.parents[2] / "ansible.cfg").write_bytes((ROOT / "ansible.cfg").read_bytes())
    state = path.parents[2] / ".cache/molecule/trial"
    state.mkdir(parents=True)
    (state / "secrets.yml").write_text("# generated\nsecret_canary: whistle\n", encoding="utf-8")
    path.write_text(yaml.safe_dump(DATA | {"variables": {"where": "{{ region }}"}}), encoding="utf-8")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(path.parent), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}
    environment["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    tools = Path(sys.executable).parent
    listed = subprocess.run(
        [tools / "ansible-inventory", "-i", path, "--list"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "whistle" not in listed
    inventory = json.loads(listed)
    assert inventory["kafka"]["children"] == ["euw_kafka"]
    assert inventory["_meta"]["hostvars"]["euw-kafka-1"]["ansible_host"] == "10.92.9.111"
    shown = subprocess.run(
        [tools / "ansible", "-i", path, "euw-kafka-1", "-m", "ansible.builtin.debug", "-a", "msg={{ secret_canary }}-{{ where }}"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "whistle-euw" in shown.stdout
