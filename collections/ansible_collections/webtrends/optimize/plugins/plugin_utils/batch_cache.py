# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a library is made of, kept on the controller from run to run.

Core finds a module's imports by parsing all of them, in every run anew: 0.2 CPU seconds per module, which is more than a
batch needs for ten hosts. An entry holds while every file that went into the library has the size and time that it had.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import ansible
from ansible import constants as C
from ansible.plugins.loader import module_utils_loader
from ansible.release import __version__
from ansible.utils.collection_loader import AnsibleCollectionConfig

UNUSED = 30 * 24 * 3600  # seconds after which an entry is dropped when another is written
_CORE = Path(ansible.__file__).parent
# Made by core, from nothing but its version: packages that exist so that what is below them can be imported.
_GENERATED = {"ansible/__init__.py", "ansible/module_utils/__init__.py"}


class Entry:
    """The cached library of one set of modules."""

    def __init__(self, modules: dict[str, str], collections: t.Any) -> None:
        self._modules = modules
        searched = [*map(str, module_utils_loader._get_paths(subdirs=False)), *map(str, AnsibleCollectionConfig.collection_paths)]
        key = repr((__version__, sys.version, sorted(modules.items()), collections, [(path, _times(path)) for path in searched]))
        digest = hashlib.sha256(key.encode()).hexdigest()
        self._path = Path(C.config.get_config_value("ANSIBLE_HOME")) / "optimize_batch" / f"{digest}.json"

    def load(self) -> dict | None:
        """The entry, if there is one and all its sources are as they were."""
        try:
            known = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        return known if all(_state(path) == state for path, state in known["sources"].items()) else None

    def save(self, library: dict, files: dict[str, bytes]) -> None:
        """Keep a library, unless a file of it has no source whose change would be seen (a redirected module_utils has none)."""
        sources = {}
        for name, content in files.items():
            source = self._source(name, content)
            if source:
                sources[source] = _state(source)
            elif name not in _GENERATED and name != "MANIFEST" and content.strip():
                return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for entry in self._path.parent.iterdir():
                if time.time() - entry.stat().st_mtime > UNUSED:
                    entry.unlink()
            descriptor, path = tempfile.mkstemp(dir=self._path.parent)
            with os.fdopen(descriptor, "w") as stream:
                json.dump(dict(library, sources=sources), stream)
            os.replace(path, self._path)

    def _source(self, name: str, content: bytes) -> str | None:
        candidates = [_CORE.parent / name, Path(__file__).parent / "batch_remote.py"]
        candidates += [Path(path) for path in self._modules.values() if path.endswith(name.rpartition("/")[2])]
        candidates += [Path(path) / name for path in AnsibleCollectionConfig.collection_paths]
        below = name.removeprefix("ansible/module_utils/")
        candidates += [Path(path) / below for path in module_utils_loader._get_paths(subdirs=False)]
        for candidate in candidates:
            with contextlib.suppress(OSError):
                if candidate.read_bytes() == content:
                    return str(candidate)
        return None


def _state(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _times(root: str) -> list:
    """When a directory's entries came and went: a file that starts to shadow another one, a collection that is installed."""
    return [_state(path) for path in (root, os.path.join(root, "ansible_collections"))]
