"""Configuration: one JSON or TOML file, typed; what is unknown or wrong is refused by its name.

A secret is never in the file. The file names a systemd credential (`LoadCredential=`) or a path that only the service's
account can read.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]


class ConfigError(Exception):
    """The configuration can't be used; the text says where and why."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a configuration file: unknown keys are errors."""


class Secret(Section, frozen=True, kw_only=True):
    """Where a secret is: a credential of the unit, or a file. Nothing given: there is no secret.

    Args:
        credential: name below `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
        file: path of a file that others can't read.
    """

    credential: str = ""
    file: str = ""

    def read(self) -> str:
        """The secret without its last line break.

        Raises:
            ConfigError: it is named but can't be read, or everybody can read it.
        """
        if self.credential:
            directory = os.environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise ConfigError(f"credential {self.credential!r}: systemd gave none to this process (LoadCredential= in its unit)")
            path = Path(directory) / self.credential
        elif self.file:
            path = Path(self.file)
        else:
            return ""
        try:
            if path.stat().st_mode & 0o007:
                raise ConfigError(f"{path}: everybody can read this secret; make it 0640 or stricter")
            return path.read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error


class Listen(Section, frozen=True, kw_only=True):
    """Where the service answers HTTP."""

    host: str = "0.0.0.0"
    port: Port = 8080
    backlog: Positive = 2048


class Service(Section, frozen=True, kw_only=True):
    """What every service's configuration has.

    Args:
        region: goes into every row and metric.
        drain_file: the drain's lease, see `optimize.common.drain`; empty: /run/optimize-<service>/drain.
        gateway_addresses: addresses or networks from which X-Forwarded-For is believed.
        stop_seconds: how long requests in flight and flushing may take after SIGTERM; below the unit's TimeoutStopSec.
    """

    region: Name
    listen: Listen = Listen()
    drain_file: str = ""
    gateway_addresses: list[str] = []
    stop_seconds: Seconds = 20.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"


T = TypeVar("T", bound=Service)


def load(path: Path, kind: type[T]) -> tuple[T, str]:
    """Read a configuration file.

    Returns:
        The configuration, and its fingerprint: 16 hexadecimal digits that change with any value in it and with any secret's content.

    Raises:
        ConfigError: unreadable, not JSON or TOML, an unknown key, a wrong type, a secret that is not there.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        config = msgspec.toml.decode(text, type=kind) if path.suffix == ".toml" else msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    digest = hashlib.sha256(msgspec.json.encode(config, order="deterministic"))
    for secret in _secrets(config):
        digest.update(hashlib.sha256(secret.read().encode()).digest())
    return config, digest.hexdigest()[:16]


def _secrets(value: object) -> list[Secret]:
    if isinstance(value, Secret):
        return [value]
    if isinstance(value, msgspec.Struct):
        return [found for name in value.__struct_fields__ for found in _secrets(getattr(value, name))]
    if isinstance(value, list):
        return [found for item in value for found in _secrets(item)]
    return []
