"""The store refuses what is not what the catalogue says, and makes the same bytes everywhere."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import Artifact, Catalog, CatalogError, sha256_of

from tools.store import ROOT
from tools.store import __main__ as program
from tools.store import fill as filling
from tools.store.sources import SOURCES


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    path = tmp_path / "artifacts.yml"
    path.write_text(
        """
tool:
  maven: {into: libs, coordinates: ["g:a:{version}"]}
  vendor: ["https://vendor.test/{version}.tgz"]
  versions: {"1.0": {sha256: ""}}
""",
        encoding="utf-8",
    )
    return Catalog(path, tmp_path / "store")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A registry that serves these files."""
    served = {"libs/a.jar": b"a", "libs/b.jar": b"b"}
    calls: list[str] = []

    def source(artifact: Artifact, parts: Path, work: Path) -> None:
        calls.append(artifact.label)
        for name, content in served.items():
            (parts / name).parent.mkdir(exist_ok=True)
            (parts / name).write_bytes(content)

    monkeypatch.setattr(filling, "SOURCES", {"maven": source})
    served_calls: dict[str, bytes] = served
    source.calls = calls  # type: ignore[attr-defined]
    return served_calls


def locked(catalog: Catalog, locks: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    filling.lock(catalog, catalog.get("tool", "1.0"), locks)
    digest = capsys.readouterr().out.split()[-1]
    catalog.path.write_text(catalog.path.read_text(encoding="utf-8").replace('sha256: ""', f"sha256: {digest}"), encoding="utf-8")
    return Catalog(catalog.path, catalog.store)


def test_fill_assembles_verifies_and_leaves_what_is_there(catalog, registry, tmp_path, capsys):
    catalog = locked(catalog, tmp_path / "locks", capsys)
    artifact = catalog.get("tool", "1.0")
    catalog.file(artifact).unlink()
    filling.fill(catalog, [artifact], tmp_path / "locks")
    assert sha256_of(catalog.file(artifact)) == artifact.sha256
    registry["libs/a.jar"] = b"the registry is not asked again"
    filling.fill(catalog, [artifact], tmp_path / "locks")
    assert "is there" in capsys.readouterr().out
    assert not list((tmp_path / "store" / ".work").iterdir())


def test_fill_refuses_a_part_that_is_not_the_locked_one(catalog, registry, tmp_path, capsys):
    catalog = locked(catalog, tmp_path / "locks", capsys)
    artifact = catalog.get("tool", "1.0")
    catalog.file(artifact).unlink()
    registry["libs/a.jar"] = b"altered"
    registry["libs/new.jar"] = b"new"
    with pytest.raises(CatalogError) as error:
        filling.fill(catalog, [artifact], tmp_path / "locks")
    text = str(error.value)
    assert "tool 1.0" in text and "libs/a.jar: expected ca97" in text and "libs/new.jar: expected no such file, found" in text
    assert "libs/b.jar" not in text
    assert not catalog.file(artifact).exists()


def test_an_altered_store_file_is_refused_by_name_expected_and_found(catalog, registry, tmp_path, capsys):
    catalog = locked(catalog, tmp_path / "locks", capsys)
    artifact = catalog.get("tool", "1.0")
    catalog.file(artifact).write_bytes(b"altered")
    said = f"tool 1.0: .*expected sha256 {artifact.sha256}, found [0-9a-f]{{64}}.*rm .* && python -m tools.store fill tool"
    with pytest.raises(CatalogError, match=said):
        catalog.verify(artifact)


def test_a_version_without_checksum_is_not_filled(catalog, registry, tmp_path):
    with pytest.raises(CatalogError, match=r"no sha256.*tools.store lock tool==1.0"):
        filling.fill(catalog, [catalog.get("tool", "1.0")], tmp_path)


def test_the_tar_depends_on_names_and_content_only(tmp_path):
    for name, umask in (("one", 0o022), ("two", 0o077)):
        old = os.umask(umask)
        try:
            (tmp_path / name / "libs").mkdir(parents=True)
            for file in ("b", "a") if name == "one" else ("a", "b"):
                (tmp_path / name / "libs" / file).write_text(file)
        finally:
            os.umask(old)
        os.utime(tmp_path / name / "libs" / "a", (1, 1) if name == "one" else (2, 2))
        filling.pack(tmp_path / name, tmp_path / f"{name}.tar")
    assert sha256_of(tmp_path / "one.tar") == sha256_of(tmp_path / "two.tar")
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert [member.name for member in tar] == ["libs", "libs/a", "libs/b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tool: {versions: {'1': {sha256: zz}}}", "tool 1: sha256 must be 64 hex digits, found 'zz'"),
        ("tool: {versions: {1.0: {}}}", "write it in quotes"),
        ("tool: {versions: {'1': {checksum: x}}}", "unknown key checksum"),
        ("tool: {vendor: ['https://x'], versions: {'1': {vendor_checksums: ['md5:00']}}}", "a vendor checksum is"),
        ("tool: {vendor: [], versions: {'1': {vendor_checksums: ['sha256:" + "0" * 64 + "']}}}", "1 vendor_checksums for 0 URLs"),
        ("tool: {source: x}", "expected a mapping with keys among"),
        ("- tool", "expected a mapping of artifact names"),
    ],
)
def test_a_wrong_catalogue_is_refused_by_name(tmp_path, text, said):
    (tmp_path / "artifacts.yml").write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError) as error:
        Catalog(tmp_path / "artifacts.yml")
    assert said in str(error.value)


def test_unknown_names_and_versions_name_what_there_is(catalog):
    with pytest.raises(CatalogError, match=r"kafka: no such artifact in artifacts.yml; it has tool"):
        catalog.get("kafka", "1")
    with pytest.raises(CatalogError, match=r"tool 2.0: not in artifacts.yml; it has 1.0"):
        catalog.get("tool", "2.0")


def test_built_artifacts_come_from_the_manifest(tmp_path):
    (tmp_path / "artifacts.yml").write_text("optimize-services: {built: true, product: optimize}\n", encoding="utf-8")
    catalog = Catalog(tmp_path / "artifacts.yml", tmp_path / "store")
    with pytest.raises(CatalogError, match=r"python -m tools\.release"):
        catalog.latest_built("optimize-services")
    directory = tmp_path / "store" / "optimize-services"
    directory.mkdir(parents=True)
    (directory / "s.tar").write_bytes(b"s")
    digest = sha256_of(directory / "s.tar")
    manifest = {"latest": "1.2", "versions": {"1.2": {"bookworm": {"file": "s.tar", "sha256": digest}}}}
    (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    artifact = catalog.get("optimize-services", catalog.latest_built("optimize-services"), "bookworm")
    assert artifact.dest == "/opt/optimize/1.2"
    assert catalog.verify(artifact) == directory / "s.tar"
    with pytest.raises(CatalogError, match="built for bookworm, not for trixie"):
        catalog.get("optimize-services", "1.2", "trixie")


def test_a_client_that_fails_says_its_own_words(catalog, tmp_path, monkeypatch):
    mvn = tmp_path / "bin" / "mvn"
    mvn.parent.mkdir()
    mvn.write_text("#!/bin/sh\necho 'no route to the registry' >&2\nexit 3\n")
    mvn.chmod(0o755)
    monkeypatch.setenv("PATH", str(mvn.parent), prepend=os.pathsep)
    with pytest.raises(CatalogError, match=r"(?s)tool 1.0: mvn .*exit code 3.*no route to the registry"):
        SOURCES["maven"](catalog.get("tool", "1.0"), tmp_path, tmp_path)


def test_a_missing_client_names_its_package(catalog, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CatalogError, match=r"needs mvn, which this machine lacks. Install it: apt-get install maven"):
        SOURCES["maven"](catalog.get("tool", "1.0"), tmp_path, tmp_path)


def test_the_project_s_catalogue_is_whole(capsys):
    catalog = Catalog(ROOT / "artifacts.yml")
    for artifact in catalog.all():
        assert artifact.sha256, artifact.label
        lock = filling.read_lock(filling.LOCKS / f"{artifact.name}-{artifact.version}.sha256")
        assert lock, artifact.label
    assert len(catalog.versions("kafka")) >= 2 and len(catalog.versions("zookeeper")) >= 2
    assert program.main(["list", "kafka==0.1"]) == 1
    assert "kafka 0.1: not in artifacts.yml; it has 3.9.2, 3.8.1" in capsys.readouterr().err
    assert program.main(["fill", "clickhouse==25.8.2.29"]) == 1
    assert "only its vendor has it" in capsys.readouterr().err
