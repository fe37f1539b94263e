# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HAProxy's admin socket: commands (management guide 2.6, chapter 9.3) and the state of servers."""

from __future__ import annotations

import csv
import io
import socket
from dataclasses import dataclass


class AdminError(Exception):
    """HAProxy gave no answer, or refused."""


@dataclass(frozen=True)
class Server:
    backend: str
    name: str
    status: str
    """As HAProxy writes it: UP, DOWN, DRAIN, MAINT, ``no check``, with what a check is about to decide (``DOWN 1/2``)."""
    sessions: int
    """Requests that are with the server or wait for it: what a drain waits for."""

    @property
    def serving(self) -> bool:
        """Gets new requests."""
        return self.status.startswith("UP") or self.status == "no check"

    @property
    def admin_state(self) -> str:
        """What an operator set: ``drained`` (drain or maint), or ``ready``."""
        return "drained" if self.status.startswith(("DRAIN", "MAINT")) else "ready"


class Admin:
    """One command per connection, as HAProxy closes it after the answer."""

    def __init__(self, path: str, timeout: float = 5.0):
        self.path, self.timeout = path, timeout

    def ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout)
                connection.connect(self.path)
                connection.sendall(command.encode() + b"\n")
                answer = b""
                while chunk := connection.recv(65536):
                    answer += chunk
        except OSError as error:
            raise AdminError(f"{self.path} does not answer '{command}': {error}") from error
        return answer.decode(errors="replace").strip()

    def order(self, command: str) -> None:
        """A command that changes something answers nothing; whatever it says is a refusal."""
        if answer := self.ask(command):
            raise AdminError(f"'{command}' was refused: {answer}")

    def servers(self) -> list[Server]:
        return parse_statistics(self.ask("show stat -1 4 -1"))


def parse_statistics(text: str) -> list[Server]:
    """The server lines of ``show stat`` (CSV with a header that starts with ``# ``)."""
    if not text.startswith("# "):
        raise AdminError(f"'show stat' answered what is no statistics: {text[:80]!r}")
    rows = csv.DictReader(io.StringIO(text[2:]))
    return [
        Server(row["pxname"], row["svname"], row["status"], int(row["scur"] or 0) + int(row["qcur"] or 0))
        for row in rows
        if row["svname"] not in ("FRONTEND", "BACKEND")
    ]


def choose(servers: list[Server], name: str, backends: list[str]) -> list[Server]:
    """The server's entry in each backend named (in every one that has it where none is named); AdminError where there is none."""
    chosen = [one for one in servers if one.name == name and (not backends or one.backend in backends)]
    missing = sorted(set(backends) - {one.backend for one in chosen})
    if missing or not chosen:
        known = sorted({f"{one.backend}/{one.name}" for one in servers})
        raise AdminError(f"no server {name} in {', '.join(missing) or 'any backend'}; HAProxy has {', '.join(known) or 'none'}")
    return chosen


def too_few(servers: list[Server], chosen: list[Server], minimum: int) -> list[str]:
    """A sentence for each backend that would be left with fewer than ``minimum`` serving servers."""
    problems = []
    for one in chosen:
        others = [other.name for other in servers if other.backend == one.backend and other.name != one.name and other.serving]
        if len(others) < minimum:
            problems.append(
                f"without {one.name} backend {one.backend} has {len(others)} serving ({', '.join(others) or 'none'}), needs {minimum}: "
                f"heal the others first"
            )
    return problems
