"""The parts of the fleet program that need no container."""

import ssl
import stat
import zipfile
from pathlib import Path

import pytest
import yaml
from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import PLUGIN, fleet_from_data
from click.testing import CliRunner
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tools import collections as unpacking
from tools import scenarios
from tools.fleet import __main__ as program
from tools.fleet import aptcache, credentials, hosts, image, machine, state
from tools.fleet.podman import SPEC
from tools.fleet.shell import FleetProblem

ENTRIES = [
    {"name": "secret_users", "kind": "passwords", "keys": ["writer", "reader"]},
    {"name": "secret_pair", "kind": "password", "maximum_length": 8},
    {"name": "secret_edge", "kind": "certificates"},
    {"name": "secret_ca", "kind": "certificate"},
]


@pytest.fixture(name="fleet")
def _fleet(tmp_path):
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "secrets.yml").write_text(yaml.safe_dump({"secrets": ENTRIES}), encoding="utf-8")
    data = {
        "plugin": PLUGIN, "fleet": "trial", "network": "10.92.9.0/24", "regions": {"euw": 0, "eun": 100},
        "pools": {"regional": {"app_gateway": {"hosts": 2, "first": 12, "shared": 11}}},
    }  # fmt: skip
    return fleet_from_data(data, tmp_path / "inventory.yml")


def container(spec="d", word="running"):
    return {"State": word, "Labels": {SPEC: spec}}


class TestPlan:
    def test_nothing_to_do(self):
        assert hosts.plan({"a": "d"}, {"a": container()}, set(), fresh=False) == ([], {})

    def test_from_nothing(self):
        assert hosts.plan({"a": "d", "b": "d"}, {}, set(), fresh=False) == ([], {"a": "run", "b": "run"})

    def test_stopped_paused_and_silent_are_brought_back(self):
        own = {"a": container(word="exited"), "b": container(word="paused"), "c": container(), "d": container(word="created")}
        wanted = dict.fromkeys("abcd", "d")
        assert hosts.plan(wanted, own, {"c"}, fresh=False) == ([], {"a": "start", "b": "unpause", "c": "restart", "d": "start"})

    def test_outdated_broken_and_unwanted_are_removed(self):
        own = {"a": container(spec="old"), "b": container(word="removing"), "c": container()}
        assert hosts.plan({"a": "d", "b": "d"}, own, set(), fresh=False) == (["a", "b", "c"], {"a": "run", "b": "run"})

    def test_fresh_makes_all_anew(self):
        assert hosts.plan({"a": "d"}, {"a": container()}, set(), fresh=True) == (["a"], {"a": "run"})


@given(st.ip_addresses(v=4))
def test_mac_address_is_local_unicast_and_lasting(address):
    mac = hosts.mac_address(str(address))
    assert mac == hosts.mac_address(str(address))
    assert int(mac.split(":")[0], 16) & 0b11 == 0b10
    assert len(mac) == 17


def test_kernel_settings_leave_only_the_network_to_a_host(tmp_path):
    for name in ("net", "vm", "fs"):
        (tmp_path / name).mkdir()
    volumes = hosts.kernel_settings(tmp_path)[1::2]
    assert f"{tmp_path}/vm:{tmp_path}/vm:ro" in volumes
    assert not [volume for volume in volumes if "/net:" in volume]


class TestMachine:
    @pytest.mark.parametrize(
        ("present", "mode"), [(["cgroup.controllers"], "v2"), (["unified", "unified/cgroup.procs"], "hybrid"), (["memory"], "v1")]
    )
    def test_cgroup_mode(self, tmp_path, present, mode):
        for name in present:
            (tmp_path / name).mkdir()
        assert machine.cgroup_mode(tmp_path) == mode

    def test_limits_stay_within_the_machine(self, monkeypatch):
        monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: (1000, 20_000))
        assert machine.ulimit_arguments() == ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=20000:20000"]
        monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: (1000, machine.resource.RLIM_INFINITY))
        assert machine.ulimit_arguments() == ["--ulimit", "nofile=1048576:1048576", "--ulimit", "nproc=32768:32768"]

    def test_memory(self):
        assert machine.available_memory_mb("MemTotal: 1 kB\nMemAvailable:   2097152 kB\n") == 2048

    @pytest.fixture(name="capable")
    def _capable(self, monkeypatch):
        monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
        monkeypatch.setattr(machine.shutil, "which", lambda program: f"/usr/bin/{program}")
        return monkeypatch

    def test_root_is_needed(self, monkeypatch):
        monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
        with pytest.raises(FleetProblem, match=r"needs root.*sudo"):
            machine.require(0, 0)

    def test_missing_programs_are_named(self, capable):
        capable.setattr(machine.shutil, "which", lambda program: None if program in ("crun", "podman") else program)
        with pytest.raises(FleetProblem, match=r"podman, crun; run tools/bootstrap\.sh"):
            machine.require(0, 0)

    @pytest.mark.usefixtures("capable")
    def test_too_little_memory_or_disk_is_said_before(self):
        with pytest.raises(FleetProblem, match=r"3 hosts to start need about 99999999 MB of memory, \d+ MB are available; name fewer"):
            machine.require(99_999_999, 3)
        with pytest.raises(FleetProblem, match=r"MB of disk in .* MB are free"):
            machine.require(0, 99_999_999)


class TestImage:
    def test_codename(self):
        assert image.codename('NAME="Debian"\nVERSION_CODENAME=trixie\n') == "trixie"

    def test_sources_are_the_machines_own_for_another_release(self):
        targets = "\n".join(
            [
                "http://mirror/debian/|bookworm|main",
                "http://mirror/debian/|bookworm|contrib",
                "http://mirror/debian/|bookworm-updates|main",
                "http://mirror/security/|bookworm-security|main",
                "http://vendor/apt|nodistro|main",
                "http://mirror/debian/|bookworm-backports|main",
            ]
        )
        sources = image.sources_for("trixie", targets, "bookworm")
        assert "URIs: http://mirror/debian/\nSuites: trixie trixie-updates\nComponents: main" in sources
        assert "URIs: http://mirror/security/\nSuites: trixie-security\n" in sources
        assert "vendor" not in sources

    def test_a_machine_without_debian_sources_is_told(self):
        with pytest.raises(FleetProblem, match="no source of bookworm main"):
            image.sources_for("bookworm", "http://vendor/apt|nodistro|main", "bookworm")


def test_packages_that_roles_name():
    data = yaml.safe_load(
        """
        __base_packages: [chrony, "{{ more }}"]
        java_packages: {bookworm: openjdk-17-jre-headless}
        batch:
          - name: Install
            ansible.builtin.apt: {name: [haproxy, keepalived], cache_valid_time: 1}
          - ansible.builtin.apt: {name: "{{ x }}"}
        """
    )
    assert set(aptcache.packages_of(data)) == {"chrony", "openjdk-17-jre-headless", "haproxy", "keepalived"}


class TestCredentials:
    def test_made_once_and_private(self, fleet):
        credentials.ensure(fleet)
        first = fleet.secrets.read_text(encoding="utf-8")
        credentials.ensure(fleet)
        assert fleet.secrets.read_text(encoding="utf-8") == first
        for name in ("secrets.yml", credentials.KEY):
            assert stat.S_IMODE((fleet.state / name).stat().st_mode) == 0o600

    def test_kinds(self, fleet):
        credentials.ensure(fleet)
        values = yaml.safe_load(fleet.secrets.read_text(encoding="utf-8"))
        assert set(values["secret_users"]) == {"writer", "reader"}
        assert values["secret_users"]["writer"] != values["secret_users"]["reader"]
        assert len(values["secret_users"]["writer"]) == 32
        assert len(values["secret_pair"]) == 8
        assert set(values["secret_edge"]) == {"euw", "eun"}

    def test_what_is_there_stays_when_a_secret_is_added(self, fleet):
        credentials.ensure(fleet)
        before = yaml.safe_load(fleet.secrets.read_text(encoding="utf-8"))
        entries = [*ENTRIES, {"name": "secret_more", "kind": "password"}]
        (fleet.root / "inventories" / "secrets.yml").write_text(yaml.safe_dump({"secrets": entries}), encoding="utf-8")
        credentials.ensure(fleet)
        after = yaml.safe_load(fleet.secrets.read_text(encoding="utf-8"))
        assert {name: after[name] for name in before} == before
        assert after["secret_more"]

    def test_a_client_that_knows_the_authority_accepts_the_edge(self, fleet):
        credentials.ensure(fleet)
        pem = yaml.safe_load(fleet.secrets.read_text(encoding="utf-8"))["secret_edge"]["euw"]
        chain = fleet.state / "edge.pem"
        chain.write_text(pem, encoding="utf-8")
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(chain)
        client = ssl.create_default_context(cafile=str(fleet.state / "ca.pem"))
        handshake(client, server, "euw.edge.optimize.test")
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(client, server, "eun.edge.optimize.test")

    def test_certificates_of_another_authority_are_replaced(self, fleet):
        credentials.ensure(fleet)
        (fleet.state / "ca.pem").unlink()
        credentials.ensure(fleet)
        pem = yaml.safe_load(fleet.secrets.read_text(encoding="utf-8"))["secret_edge"]["euw"]
        ca = x509.load_pem_x509_certificate((fleet.state / "ca.pem").read_bytes())
        x509.load_pem_x509_certificates(pem.encode())[0].verify_directly_issued_by(ca)

    def test_an_unknown_kind_is_refused(self, fleet):
        (fleet.root / "inventories" / "secrets.yml").write_text(
            yaml.safe_dump({"secrets": [{"name": "s", "kind": "token"}]}), encoding="utf-8"
        )
        with pytest.raises(FleetProblem, match="s is of kind 'token'; known are password"):
            credentials.ensure(fleet)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """A TLS handshake in memory."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server, server_hostname=name), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


class TestState:
    def test_keys_are_made_once_and_known(self, fleet):
        state.write_keys(fleet)
        first = fleet.known_hosts.read_text(encoding="utf-8"), fleet.key.read_bytes()
        state.write_keys(fleet)
        assert (fleet.known_hosts.read_text(encoding="utf-8"), fleet.key.read_bytes()) == first
        assert stat.S_IMODE(fleet.key.stat().st_mode) == 0o600
        assert len(first[0].splitlines()) == len(fleet.hosts)

    def test_forget_takes_directories(self, tmp_path):
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "c").touch()
        state.forget([tmp_path / "a", tmp_path / "absent"])
        assert not (tmp_path / "a").exists()


def test_a_bad_fleet_file_is_one_line(tmp_path):
    (tmp_path / "ansible.cfg").touch()
    path = tmp_path / "inventory.yml"
    path.write_text("plugin: other\npools: {}\nregions: {}\n", encoding="utf-8")
    result = CliRunner().invoke(program.main, ["secrets", "-i", str(path)])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "'plugin' is 'other'" in result.output


class TestScenarios:
    def test_longest_first_and_unknown_before(self):
        assert scenarios.longest_first(["a", "b", "new", "c"], {"a": 1.0, "b": 9.0, "c": 5.0}) == ["new", "b", "c", "a"]

    def test_an_unknown_scenario_is_refused_with_the_known(self):
        result = CliRunner().invoke(scenarios.main, ["nonesuch"])
        assert result.exit_code == 1
        assert "no scenario nonesuch" in result.output

    def test_overlapping_networks_are_refused(self, fleet):
        with pytest.raises(Exception, match="call their fleet 'trial'"):
            scenarios.refuse_overlaps({"one": fleet, "two": fleet})


class TestCollections:
    @pytest.fixture(name="wheel")
    def _wheel(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "ansible.whl", "w") as archive:
            archive.writestr("ansible_collections/a/b/MANIFEST.json", '{"collection_info": {"version": "1.2.0"}}')
            archive.writestr("ansible_collections/a/other/MANIFEST.json", "{}")
        return tmp_path / "ansible.whl"

    def test_only_what_is_named_is_unpacked(self, wheel, tmp_path):
        unpacking.unpack(wheel, unpacking.wanted("collections: [{name: a.b, version: 1.2.0}]"), tmp_path)
        assert [path.name for path in (tmp_path / "ansible_collections" / "a").iterdir()] == ["b"]

    @pytest.mark.parametrize(("name", "words"), [("a.b", "1.2.0 in ansible.whl, expected 1.0"), ("x.y", "carries no collection x.y")])
    def test_another_version_or_name_is_refused(self, wheel, tmp_path, name, words):
        with pytest.raises(Exception, match=words):
            unpacking.unpack(wheel, {name: "1.0"}, tmp_path)

    def test_requirements_equal_the_wheel_in_use(self):
        named = unpacking.wanted(unpacking.REQUIREMENTS.read_text(encoding="utf-8"))
        unpacked = {".".join(path.parts[-3:-1]) for path in Path(unpacking.TARGET).glob("ansible_collections/*/*/MANIFEST.json")}
        assert unpacked <= set(named)
