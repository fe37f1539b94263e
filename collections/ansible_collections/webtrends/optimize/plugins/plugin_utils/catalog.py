# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The artifact catalogue (artifacts.yml) as the controller reads it: the store program, the lookup and the action share it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: The project's catalogue.
CATALOG = Path(__file__).resolve().parents[6] / "artifacts.yml"
#: What is the store's directory where OPTIMIZE_STORE names none, relative to the project.
DEFAULT_STORE = ".cache/store"
#: The artifact that the project builds itself.
BUILT = "optimize-services"
_HEX64 = re.compile(r"[0-9a-f]{64}")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_KEYS = {"about", "product", "used_by", "maven", "apt", "npm", "built", "vendor", "versions"}
_VERSION_KEYS = {"sha256", "vendor_checksums", "coordinates", "apt"}


class CatalogError(Exception):
    """The catalogue, the store or a request does not allow what was asked; the text names the artifact and the mend."""


@dataclass(frozen=True)
class Artifact:
    """One version of one artifact.

    Attributes:
        kind: how the store gets it: `maven`, `apt`, `npm`, `built`, or `` where only the vendor has it.
        sha256: of the store's file, as hex digits; empty where it is not known yet.
        filename: of the store's file, below `<store>/<name>/`.
        recipe: what the kind needs (coordinates, packages, a package's name).
        vendor: the vendor's URLs; vendor_checksums: one `<algorithm>:<hex>` each, or none.
    """

    name: str
    version: str
    kind: str
    product: str
    sha256: str = ""
    filename: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    vendor: tuple[str, ...] = ()
    vendor_checksums: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def dest(self) -> str:
        return f"/opt/{self.product}/{self.version}"


class Catalog:
    """artifacts.yml, checked, and where the store is.

    Args:
        path: the catalogue's file.
        store: the store's directory; default is $OPTIMIZE_STORE, else .cache/store beside the catalogue.
    """

    def __init__(self, path: Path, store: Path | None = None) -> None:
        self.path = path
        self.store = store or Path(os.environ.get("OPTIMIZE_STORE") or path.parent / DEFAULT_STORE)
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise CatalogError(f"{path}: cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise CatalogError(f"{path}: expected a mapping of artifact names, found {type(data).__name__}.")
        self._data: dict[str, dict[str, Any]] = data
        for name, entry in data.items():
            self._check(name, entry)

    def _check(self, name: str, entry: Any) -> None:
        where = f"{self.path}: {name}"
        if not isinstance(entry, dict) or set(entry) - _KEYS:
            raise CatalogError(f"{where}: expected a mapping with keys among {', '.join(sorted(_KEYS))}; found {entry!r:.200}.")
        for version, details in (entry.get("versions") or {}).items():
            here = f"{where} {version}"
            if not isinstance(version, str):
                raise CatalogError(f"{here}: a version is text; write it in quotes.")
            if set(details) - _VERSION_KEYS:
                raise CatalogError(f"{here}: unknown key {', '.join(sorted(set(details) - _VERSION_KEYS))}.")
            if details.get("sha256") and not _HEX64.fullmatch(details["sha256"]):
                raise CatalogError(f"{here}: sha256 must be 64 hex digits, found {details['sha256']!r}.")
            checksums = details.get("vendor_checksums") or []
            for checksum in checksums:
                if not _CHECKSUM.fullmatch(checksum):
                    raise CatalogError(f"{here}: a vendor checksum is sha256:<64 hex> or sha512:<128 hex>, found {checksum!r}.")
            urls = entry.get("vendor") or []
            if checksums and len(checksums) != len(urls):
                raise CatalogError(f"{here}: {len(checksums)} vendor_checksums for {len(urls)} URLs; one for each is needed.")

    def names(self) -> list[str]:
        return list(self._data)

    def used_by(self, pool: str) -> dict[str, str]:
        """The artifacts that a pool's hosts install, each with the variable that chooses its version."""
        return {name: entry["used_by"][pool] for name, entry in self._data.items() if pool in entry.get("used_by", {})}

    def first(self, name: str) -> str:
        """The version that roles install where nobody chose another one."""
        return "latest" if self._entry(name).get("built") else next(iter(self.versions(name)))

    def builds(self, name: str, version: str) -> list[Artifact]:
        """A version as it is for each distribution; of all but built artifacts there is one."""
        if not self._entry(name).get("built"):
            return [self.get(name, version)]
        if version == "latest":
            version = self.latest_built(name)
        distributions = self._manifest(name).get("versions", {}).get(version, {})
        return [self.get(name, version, distribution) for distribution in distributions] or [self.get(name, version)]

    def versions(self, name: str) -> list[str]:
        """The versions of an artifact; of a built one those in the store's manifest."""
        entry = self._entry(name)
        return list(self._manifest(name).get("versions", {})) if entry.get("built") else list(entry.get("versions") or {})

    def latest_built(self, name: str) -> str:
        """The version that the last release made."""
        latest = self._manifest(name).get("latest")
        if not latest:
            raise CatalogError(f"{name}: the store has no {self._manifest_path(name)}. Build a release: python -m tools.release")
        return str(latest)

    def get(self, name: str, version: str, distribution: str = "") -> Artifact:
        """One version.

        Args:
            distribution: codename of the host's distribution; only built artifacts differ by it.

        Raises:
            CatalogError: the name or version is unknown; says which ones are known.
        """
        entry = self._entry(name)
        product = entry.get("product", name)
        if entry.get("built"):
            return self._built(name, version, distribution, product)
        versions = entry.get("versions") or {}
        if version not in versions:
            raise CatalogError(f"{name} {version}: not in {self.path.name}; it has {', '.join(versions)}. Name one of these or add it.")
        details = versions[version]
        kind, recipe = "", {}
        if "maven" in entry:
            kind = "maven"
            coordinates = [*entry["maven"]["coordinates"], *details.get("coordinates", [])]
            recipe = {**entry["maven"], "coordinates": [text.format(version=version) for text in coordinates]}
        elif "npm" in entry:
            kind, recipe = "npm", {"package": entry["npm"]}
        elif "apt" in details:
            kind, recipe = "apt", details["apt"]
        return Artifact(
            name, version, kind, product,
            sha256=details.get("sha256") or "",
            filename=f"{name}-{version}.{'tgz' if kind == 'npm' else 'tar'}" if kind else "",
            recipe=recipe,
            vendor=tuple(url.format(version=version) for url in entry.get("vendor", [])),
            vendor_checksums=tuple(details.get("vendor_checksums") or ()),
        )  # fmt: skip

    def all(self) -> list[Artifact]:
        """Every version that the store can hold, except the built ones."""
        artifacts = [self.get(name, version) for name in self._data if not self._data[name].get("built") for version in self.versions(name)]
        return [artifact for artifact in artifacts if artifact.kind]

    def file(self, artifact: Artifact) -> Path:
        return self.store / artifact.name / artifact.filename

    def verify(self, artifact: Artifact) -> Path:
        """The store's file, whole and unaltered.

        Raises:
            CatalogError: it is missing or altered; names expected, found and the mend.
        """
        if not artifact.kind:
            raise CatalogError(f"{artifact.label}: only its vendor has it; set artifact_source: vendor or choose another version.")
        return verify_file(artifact.name, artifact.version, self.file(artifact), artifact.sha256)

    @staticmethod
    def need_vendor(artifact: Artifact) -> None:
        """Refuse what can't be installed from its vendor.

        Raises:
            CatalogError: no vendor is known, or the checksums of what it publishes are not; says the mend.
        """
        if not artifact.vendor:
            raise CatalogError(f"{artifact.label}: artifacts.yml names no vendor for it; set artifact_source: store.")
        if not artifact.vendor_checksums:
            raise CatalogError(
                f"{artifact.label}: its vendor_checksums in artifacts.yml are to be supplied, and nothing is installed unverified. "
                f"Take the published checksum of {', '.join(artifact.vendor)} and put it there as sha512:<hex>, "
                "or set artifact_source: store."
            )

    def _entry(self, name: str) -> dict[str, Any]:
        if name not in self._data:
            raise CatalogError(f"{name}: no such artifact in {self.path.name}; it has {', '.join(self._data)}.")
        return self._data[name]

    def _manifest_path(self, name: str) -> Path:
        return self.store / name / "manifest.json"

    def _manifest(self, name: str) -> dict[str, Any]:
        path = self._manifest_path(name)
        if not path.is_file():
            return {}
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise CatalogError(f"{path}: is not JSON ({error}). Build the release again: python -m tools.release") from error
        return manifest if isinstance(manifest, dict) else {}

    def _built(self, name: str, version: str, distribution: str, product: str) -> Artifact:
        known = self._manifest(name).get("versions", {})
        if version not in known:
            raise CatalogError(f"{name} {version}: the store has {', '.join(known) or 'none'}. Build it: python -m tools.release")
        builds = known[version]
        if distribution not in builds:
            raise CatalogError(
                f"{name} {version}: built for {', '.join(builds)}, not for {distribution or '(no distribution given)'}. "
                "Build it for that one: python -m tools.release"
            )
        build = builds[distribution]
        return Artifact(name, version, "built", product, sha256=build["sha256"], filename=build["file"])


def sha256_of(path: Path) -> str:
    """sha256 of a file as hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def verify_file(name: str, version: str, path: Path, expected: str) -> Path:
    """A file of the store, whole and unaltered.

    Raises:
        CatalogError: it is missing or altered; names expected, found and the mend.
    """
    mend = f"python -m tools.{'release' if name == BUILT else f'store fill {name}'}"
    if not path.is_file():
        raise CatalogError(f"{name} {version}: the store has no {path}. Nothing was changed. Fill it: {mend}")
    found = sha256_of(path)
    if found != expected:
        raise CatalogError(
            f"{name} {version}: {path} is not what its record says: expected sha256 {expected or '(none)'}, found {found}. "
            f"Nothing was changed. Remove it and fill the store again: rm {path} && {mend}"
        )
    return path
