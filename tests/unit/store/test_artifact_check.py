"""Before any host is touched: what hosts would install is there and whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.webtrends.optimize.plugins.plugin_utils.artifact_check import findings
from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import CATALOG, Catalog

ROOT = Path(__file__).resolve().parents[3]
CONTENT = b"a broker"


def catalogue(tmp_path: Path, content: bytes | None = CONTENT) -> Catalog:
    path = tmp_path / "artifacts.yml"
    entry = {
        "about": "Broker", "used_by": {"kafka": "kafka_version"}, "maven": {"into": "libs", "coordinates": ["a:b:{version}"]},
        "vendor": ["https://vendor.test/{version}.tgz"],
        "versions": {
            "2": {"sha256": hashlib.sha256(CONTENT).hexdigest()},
            "1": {"sha256": "0" * 64, "vendor_checksums": ["sha512:" + "a" * 128]},
        },
    }  # fmt: skip
    path.write_text(yaml.safe_dump({"kafka": entry}, sort_keys=False), encoding="utf-8")
    store = tmp_path / "store"
    if content is not None:
        (store / "kafka").mkdir(parents=True)
        (store / "kafka" / "kafka-2.tar").write_bytes(content)
    return Catalog(path, store)


def inventory(**variables: Any) -> Any:
    hosts = {name: {"artifact_source": "store", **variables} for name in ("euw-kafka-1", "euw-kafka-2")}
    return SimpleNamespace(groups={"kafka": list(hosts)}, hosts=hosts, table=SimpleNamespace(pools={"kafka": {}, "pat": {}}))


def test_what_is_whole_is_no_finding(tmp_path: Path) -> None:
    assert findings(catalogue(tmp_path), inventory()) == []


def test_an_altered_file_is_named_once_with_found_and_expected(tmp_path: Path) -> None:
    (finding,) = findings(catalogue(tmp_path, b"altered"), inventory())
    for part in (
        "group kafka",
        "kafka 2",
        hashlib.sha256(b"altered").hexdigest(),
        hashlib.sha256(CONTENT).hexdigest(),
        "tools.store fill kafka",
    ):
        assert part in str(finding)


def test_a_missing_file_is_named_with_its_mend(tmp_path: Path) -> None:
    (finding,) = findings(catalogue(tmp_path, None), inventory())
    assert "the store has no" in str(finding) and "tools.store fill kafka" in str(finding)


def test_an_unknown_version_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (finding,) = findings(catalogue(tmp_path), inventory(kafka_version="3"))
    assert "kafka 3" in str(finding) and "it has 2, 1" in str(finding)


def test_a_vendor_without_checksums_is_refused(tmp_path: Path) -> None:
    (finding,) = findings(catalogue(tmp_path, None), inventory(artifact_source="vendor"))
    assert "vendor_checksums" in str(finding) and "https://vendor.test/2.tgz" in str(finding)
    assert findings(catalogue(tmp_path / ".", None), inventory(artifact_source="vendor", kafka_version="1")) == []


@pytest.mark.parametrize(
    ("pool", "artifact"), [(pool, name) for name, entry in yaml.safe_load(CATALOG.read_text()).items() for pool in entry.get("used_by", {})]
)
def test_the_first_version_is_the_roles_default(pool: str, artifact: str) -> None:
    catalog = Catalog(CATALOG)
    variable = catalog.used_by(pool)[artifact]
    defaults: dict[str, Any] = {}
    for path in (ROOT / "roles").glob("*/defaults/main.yml"):
        defaults.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    assert defaults[variable] == catalog.first(artifact)
