"""How each registry's ordinary client brings the parts of an artifact into a directory."""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import Artifact, CatalogError

#: What a Debian machine installs to have each client.
PACKAGES = {"mvn": "maven", "npm": "npm", "apt-get": "apt"}
# A released plugin, so that every machine resolves dependencies the same way.
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>store</groupId><artifactId>store</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{}</dependencies></project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def maven(artifact: Artifact, parts: Path, work: Path) -> None:
    """The runtime dependencies of a throw-away POM."""
    wanted = "".join(_DEPENDENCY.format(*map(escape, text.split(":"))) for text in artifact.recipe["coordinates"])
    (work / "pom.xml").write_text(_POM.format(wanted), encoding="utf-8")
    into = parts / artifact.recipe["into"]
    into.mkdir(parents=True, exist_ok=True)
    _run(artifact, work, "mvn", "-q", "-B", _COPY, "-DincludeScope=runtime", f"-DoutputDirectory={into}")
    for jar in into.iterdir():
        if any(fnmatch.fnmatch(jar.name, pattern) for pattern in artifact.recipe.get("exclude", [])):
            jar.unlink()


def npm(artifact: Artifact, parts: Path, work: Path) -> None:
    """The package's own tarball, whose checksum npm verifies."""
    _run(artifact, work, "npm", "pack", "--silent", "--pack-destination", str(parts), f"{artifact.recipe['package']}@{artifact.version}")


def apt(artifact: Artifact, parts: Path, work: Path) -> None:
    """Debian packages of one suite, whatever this machine runs: apt in a state directory of its own, signatures checked as always."""
    uris = _run(artifact, work, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    mirror = next((uri for uri in uris if uri.rstrip("/").endswith("/debian")), "")
    if not mirror:
        raise CatalogError(f"{artifact.label}: apt of this machine knows no Debian archive; add one to its sources and run apt-get update.")
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not keyring.is_file():
        raise CatalogError(f"{artifact.label}: {keyring} is missing. Install it: apt-get install debian-archive-keyring")
    for directory in ("lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True, exist_ok=True)
    (work / "sources.list").write_text(f"deb [signed-by={keyring} arch=amd64] {mirror} {artifact.recipe['suite']} main\n", encoding="utf-8")
    (work / "status").touch()
    settings = {
        "Dir::Etc::sourcelist": work / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status", "Dir::Cache": work / "cache", "APT::Architecture": "amd64", "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }  # fmt: skip
    options = [f"-o{key}={value}" for key, value in settings.items()]
    _run(artifact, work, "apt-get", "-q", *options, "update")
    packages = [f"{name}={version}" for name, version in artifact.recipe["packages"].items()]
    _run(artifact, parts, "apt-get", "-q", *options, "download", *packages)


SOURCES: Mapping[str, Callable[[Artifact, Path, Path], None]] = {"maven": maven, "npm": npm, "apt": apt}


def _run(artifact: Artifact, directory: Path, *argv: str) -> str:
    """One client, in `directory`; its own words when it fails."""
    if shutil.which(argv[0]) is None:
        raise CatalogError(f"{artifact.label}: needs {argv[0]}, which this machine lacks. Install it: apt-get install {PACKAGES[argv[0]]}")
    environment: dict[str, Any] = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise CatalogError(
            f"{artifact.label}: {' '.join(argv[:3])} … failed with exit code {done.returncode}. Run it again to resume. It said:\n{said}"
        )
    return done.stdout
