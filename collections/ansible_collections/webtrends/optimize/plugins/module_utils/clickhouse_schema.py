# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record of a schema's migrations, in the database itself."""

from __future__ import annotations

import time

from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse import ClickHouseError, Client
from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse_migrations import Applied, Migration, MigrationError, Place

# A database or table that isn't there, and a replica that ZooKeeper still knows (ErrorCodes.cpp: UNKNOWN_TABLE, UNKNOWN_DATABASE,
# REPLICA_IS_ALREADY_EXIST).
UNKNOWN_TABLE, UNKNOWN_DATABASE, REPLICA_EXISTS = 60, 81, 253

COLUMNS = "version UInt32, name String, place String, checksum String, applied_at DateTime, applied_by String"


class Schema:
    """One database on one replica.

    Attributes:
        engine: the record's engine; replicated to all members, so that each sees what any other applied.
    """

    def __init__(self, client: Client, database: str, engine: str, replicated: bool) -> None:
        self.client = client
        self.database = database
        self.table = f"{database}.schema_migrations"
        self.engine = engine
        self.replicated = replicated

    def records(self, place: Place, create: bool) -> list[Applied]:
        """What is applied anywhere, as this replica knows after it caught up.

        A replica without this table has none of the others either, whatever was recorded of it before its disk was replaced.

        Args:
            create: make the table where it is missing, which tells what is applied elsewhere. Otherwise such a replica knows nothing.
        """
        try:
            return self._read()
        except ClickHouseError as error:
            if error.code not in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
                raise
        if not create:
            return []
        self._create(place)
        return [record for record in self._read() if record.place != place.key("replica")]

    def _read(self) -> list[Applied]:
        if self.replicated:
            self.client.execute(f"SYSTEM SYNC REPLICA {self.table}")
        rows = self.client.rows(f"SELECT DISTINCT version, name, place, checksum FROM {self.table} ORDER BY version, place")
        return [Applied(row["version"], row["name"], row["place"], row["checksum"]) for row in rows]

    def apply(self, migration: Migration, place: Place, by: str) -> None:
        """Run a migration's statements, then record it.

        Raises:
            ClickHouseError: a statement was refused; nothing is recorded.
        """
        for number, statement in enumerate(migration.statements, 1):
            try:
                self.client.execute(statement)
            except ClickHouseError as error:
                self._explain(error, place)
                where = f"{migration.label}, statement {number} of {len(migration.statements)}"
                raise ClickHouseError(f"{where}: {error}", error.code) from error
        row = [str(migration.version), migration.name, place.key(migration.scope), migration.checksum, str(int(time.time())), by]
        self.client.execute(f"INSERT INTO {self.table} FORMAT TabSeparated", "\t".join(map(_escaped, row)) + "\n")

    def _create(self, place: Place) -> None:
        self.client.execute(f"CREATE DATABASE IF NOT EXISTS {self.database}")
        try:
            self.client.execute(f"CREATE TABLE IF NOT EXISTS {self.table} ({COLUMNS}) ENGINE = {self.engine} ORDER BY (version, place)")
        except ClickHouseError as error:
            self._explain(error, place)
            raise

    def _explain(self, error: ClickHouseError, place: Place) -> None:
        if error.code == REPLICA_EXISTS:
            raise MigrationError(
                f"{error}. ZooKeeper still knows the replica of a disk that is gone; remove its node and run again: "
                f"docs/clickhouse.md, 'A node with an empty disk' ({place.replica})"
            ) from error


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
