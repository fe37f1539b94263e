"""A schema is changed in order, once, and never behind its record's back."""

from __future__ import annotations

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse import ClickHouseError
from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse_migrations import (
    Applied,
    MigrationError,
    Place,
    parse,
    plan,
    split,
)
from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse_schema import Schema
from hypothesis import given
from hypothesis import strategies as st

ONE = Place("node-1", "1")


def migration(number, name="thing", scope="replica", sql="SELECT 1"):
    return parse(f"{number:04d}-{name}.sql.j2", f"-- scope: {scope}\n{sql};\n")


def applied(one, place):
    return Applied(one.version, one.name, place.key(one.scope), one.checksum)


def test_statements_are_split_outside_quotes_and_comments():
    text = 'CREATE a \';--\' ; -- x ; y\n/* ; */ SELECT `;`, "a\\";";\n;'
    assert split(text) == ["CREATE a ';--'", 'SELECT `;`, "a\\";"']


PLAIN = st.characters(blacklist_characters="\\", blacklist_categories=["Cs", "Zl", "Zp", "Cc"])


@given(st.lists(st.text(PLAIN), min_size=1, max_size=5))
def test_any_quoted_text_stays_in_one_statement(values):
    statements = [f"SELECT '{value.replace(chr(39), chr(92) + chr(39))}'" for value in values]
    assert len(split(";\n".join(statements))) == len(values)


@pytest.mark.parametrize("text", ["SELECT 'a", "/* open", "SELECT `x"])
def test_what_is_not_closed_is_refused(text):
    with pytest.raises(MigrationError, match="not closed"):
        split(text)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("1-x.sql", "-- scope: replica\nSELECT 1", "NNNN-some-name"),
        ("0001-x.sql", "SELECT 1", "scope"),
        ("0001-x.sql", "-- scope: galaxy\nSELECT 1", "replica, shard, cluster"),
        ("0001-x.sql", "-- scope: replica\n-- nothing", "no statement"),
    ],
)
def test_a_file_that_is_no_migration_is_refused(name, text, says):
    with pytest.raises(MigrationError, match=says):
        parse(name, text)


def test_comments_do_not_change_the_checksum_and_statements_do():
    plain = migration(1)
    assert migration(1, sql="-- why\nSELECT 1").checksum == plain.checksum
    assert migration(1, sql="SELECT 2").checksum != plain.checksum


def test_each_scope_is_pending_as_often_as_it_must_run():
    every, shard, once = migration(1), migration(2, scope="shard"), migration(3, scope="cluster")
    done = [applied(one, ONE) for one in (every, shard, once)]
    assert plan([once, shard, every], [], ONE) == [every, shard, once]
    assert plan([every, shard, once], done, ONE) == []
    assert plan([every, shard, once], done, Place("node-2", "1")) == [every]
    assert plan([every, shard, once], done, Place("node-3", "2")) == [every, shard]


def test_an_altered_migration_is_refused_also_where_only_another_replica_has_it():
    with pytest.raises(MigrationError, match=r"0001-thing was applied \(replica node-1\).*never changes"):
        plan([migration(1, sql="SELECT 2")], [applied(migration(1), ONE)], Place("node-2", "1"))


def test_an_unknown_applied_migration_is_refused():
    with pytest.raises(MigrationError, match="a newer release"):
        plan([migration(1)], [applied(migration(2), ONE)], ONE)


def test_two_of_one_number_are_refused():
    with pytest.raises(MigrationError, match="one number"):
        plan([migration(1), migration(1, "other")], [], ONE)


def test_a_change_that_runs_once_may_not_come_in_below_an_applied_one():
    with pytest.raises(MigrationError, match="next free number"):
        plan([migration(1, scope="cluster"), migration(2)], [applied(migration(2), ONE)], ONE)


class Server:
    """A ClickHouse with a record of migrations that may be missing on this replica."""

    def __init__(self, records, missing):
        self.records, self.missing, self.done = records, missing, []

    def execute(self, sql, data=None, **settings):
        if self.missing and sql.startswith("SYSTEM SYNC"):
            raise ClickHouseError("no such table", 60)
        self.done.append(sql.split(" (")[0])
        self.missing = self.missing and not sql.startswith("CREATE TABLE IF NOT EXISTS optimize.schema_migrations")
        return ""

    def rows(self, sql, **settings):
        return [vars(record) for record in self.records]


def test_a_replica_with_an_empty_disk_applies_again_what_runs_on_every_replica():
    every, once = migration(1), migration(2, scope="cluster")
    server = Server([applied(every, ONE), applied(once, ONE)], missing=True)
    schema = Schema(server, "optimize", "ReplicatedMergeTree()", True)
    assert schema.records(ONE, create=False) == []
    assert server.done == []
    assert plan([every, once], schema.records(ONE, create=True), ONE) == [every]


def test_what_was_applied_is_recorded_afterwards_and_not_when_it_failed():
    server = Server([], missing=False)
    schema = Schema(server, "optimize", "MergeTree()", False)
    schema.apply(migration(1, sql="SELECT 1; SELECT 2"), ONE, "ada")
    assert server.done == ["SELECT 1", "SELECT 2", "INSERT INTO optimize.schema_migrations FORMAT TabSeparated"]
    server.missing = True
    with pytest.raises(ClickHouseError, match="0002-thing, statement 1 of 2"):
        schema.apply(migration(2, sql="SYSTEM SYNC x; SELECT 2"), ONE, "ada")
    assert len(server.done) == 3


def test_a_replica_that_zookeeper_still_knows_is_explained():
    class Known(Server):
        def execute(self, sql, data=None, **settings):
            if sql.startswith("CREATE TABLE"):
                raise ClickHouseError("Replica already exists", 253)
            return super().execute(sql, data, **settings)

    with pytest.raises(MigrationError, match="A node with an empty disk"):
        Schema(Known([], missing=True), "optimize", "ReplicatedMergeTree()", True).records(ONE, create=True)
