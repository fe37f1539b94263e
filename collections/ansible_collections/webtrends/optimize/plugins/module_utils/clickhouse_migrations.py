# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ordered migrations of a schema, recorded in the database that they change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

FILE_NAME = re.compile(r"(\d{4})-([a-z0-9-]+)\.sql(?:\.j2)?$")
SCOPE = re.compile(r"^--\s*scope:\s*(\S+)\s*$", re.MULTILINE)
# How often a migration runs: on every replica (CREATE), once for a shard (ALTER of a replicated table, which replicates itself), or once.
SCOPES = ("replica", "shard", "cluster")


class MigrationError(ValueError):
    """The set of migrations can't be applied to this database; the message says which, found, expected, and the mend."""


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    scope: str
    checksum: str
    statements: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.version:04d}-{self.name}"


@dataclass(frozen=True)
class Place:
    """Where migrations are applied: a replica of a shard."""

    replica: str
    shard: str

    def key(self, scope: str) -> str:
        """What the record of a migration of this scope is kept under."""
        return {"replica": f"replica {self.replica}", "shard": f"shard {self.shard}", "cluster": "cluster"}[scope]


@dataclass(frozen=True)
class Applied:
    version: int
    name: str
    place: str
    checksum: str


def parse(file_name: str, sql: str) -> Migration:
    """A migration from its file: NNNN-name.sql, with a line "-- scope: replica|shard|cluster".

    Raises:
        MigrationError: the name, the scope or the statements are not as they must be.
    """
    named = FILE_NAME.search(file_name)
    if not named:
        raise MigrationError(f"{file_name}: a migration's file is called NNNN-some-name.sql.j2")
    scopes = SCOPE.findall(sql)
    if len(scopes) != 1 or scopes[0] not in SCOPES:
        raise MigrationError(f"{file_name}: found scope {scopes}, expected one line '-- scope: ' with one of {', '.join(SCOPES)}")
    statements = tuple(split(sql))
    if not statements:
        raise MigrationError(f"{file_name}: holds no statement")
    # Comments and blank lines may change; what the server sees may not.
    checksum = hashlib.sha256(";\n".join(statements).encode()).hexdigest()
    return Migration(int(named.group(1)), named.group(2), scopes[0], checksum, statements)


def split(sql: str) -> list[str]:
    """The statements of a text: semicolons and comments in quotes belong to the statement, other comments go."""
    statements: list[str] = []
    current: list[str] = []
    position = 0
    while position < len(sql):
        character = sql[position]
        if character in "'\"`":
            end = _quoted(sql, position)
            current.append(sql[position:end])
        elif sql.startswith("--", position):
            found = sql.find("\n", position)
            end = len(sql) if found < 0 else found
        elif sql.startswith("/*", position):
            found = sql.find("*/", position + 2)
            if found < 0:
                raise MigrationError("a comment is not closed")
            end = found + 2
            current.append(" ")
        else:
            end = position + 1
            if character == ";":
                statements.append("".join(current))
                current = []
            else:
                current.append(character)
        position = end
    statements.append("".join(current))
    lines = ("\n".join(line.rstrip() for line in one.splitlines() if line.strip()).strip() for one in statements)
    return [one for one in lines if one]


def _quoted(sql: str, start: int) -> int:
    """The position after the closing quote."""
    position = start + 1
    while position < len(sql):
        if sql[position] == "\\":
            position += 2
        elif sql[position] == sql[start]:
            return position + 1
        else:
            position += 1
    raise MigrationError(f"a {sql[start]} is not closed")


def plan(migrations: Iterable[Migration], applied: Iterable[Applied], place: Place) -> list[Migration]:
    """What is to be applied at this place, in order.

    Raises:
        MigrationError: two migrations of one number, an applied one that was changed or is gone, or a new one with a number below an
            applied one.
    """
    ordered = sorted(migrations, key=lambda one: one.version)
    for before, after in pairwise(ordered):
        if before.version == after.version:
            raise MigrationError(f"{before.label} and {after.label} have one number; give the newer one the next free number")
    known = {one.version: one for one in ordered}
    # Any place's record holds the cluster to the text: two replicas with different tables of one name would be worse than a refusal.
    recorded = list(applied)
    for record in recorded:
        label = f"{record.version:04d}-{record.name}"
        migration = known.get(record.version)
        if migration is None:
            raise MigrationError(
                f"{label} is applied ({record.place}) and unknown here: a newer release has changed this database. Run that release"
            )
        if migration.checksum != record.checksum:
            raise MigrationError(
                f"{migration.label} was applied ({record.place}) with checksum {record.checksum[:12]}, its file has"
                f" {migration.checksum[:12]} now. An applied migration never changes: put its file back and write a new one"
            )
    done = {(record.version, record.place) for record in recorded}
    pending = [one for one in ordered if (one.version, place.key(one.scope)) not in done]
    newest = max((version for version, where in done if where == place.key("replica")), default=0)
    for one in pending:
        if one.scope != "replica" and one.version < newest:
            raise MigrationError(f"{one.label} is new and {newest:04d} is applied already; give it the next free number")
    return pending
