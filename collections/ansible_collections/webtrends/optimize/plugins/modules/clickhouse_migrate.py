#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_migrate
short_description: The schema of a ClickHouse replica is at a set of migrations
description:
  - Applies the migrations that this replica (or its shard, or the cluster) does not have yet, in the order of their numbers, over HTTP,
    and records each in C(<database>.schema_migrations) with its checksum, when, by whom and where. That table is replicated to all members.
  - "A migration is a text with a line C(-- scope: replica), C(shard) or C(cluster), which says how often it runs. Its statements are
    separated by semicolons and must bear being repeated, since a run may end between two of them."
  - An applied migration that was changed is refused, as is one that was removed or came in below an applied one.
  - Run it on one member at a time (C(throttle)), so that what runs once is not begun twice.
options:
  migrations:
    description: File name (C(NNNN-name.sql.j2)) to text.
    type: dict
    required: true
  database:
    description: The database; created where absent.
    type: str
    default: optimize
  replica:
    description: Name of this replica, unique in the cluster.
    type: str
    required: true
  shard:
    description: The shard of this replica.
    type: str
    required: true
  engine:
    description: Table engine of the record of migrations.
    type: str
    required: true
  replicated:
    description: The record is a replicated table, which is synchronised before it is read.
    type: bool
    default: true
  applied_by:
    description: Who is noted in the record.
    type: str
    default: ansible
  apply:
    description: Apply what is pending. Otherwise only say what is.
    type: bool
    default: true
  host:
    description: Host of the server.
    type: str
    default: 127.0.0.1
  port:
    description: HTTP port.
    type: int
    default: 8123
  user:
    description: A user that may create databases and tables.
    type: str
    required: true
  password:
    description: Its password.
    type: str
    required: true
  timeout:
    description: Seconds that one statement may take.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Says what is pending. A server that can't be reached is taken for one that is still to be installed.
  diff_mode: {support: full, description: Shows the statements that are applied.}
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: run | Apply migrations
  webtrends.optimize.clickhouse_migrate:
    migrations: {0001-events.sql.j2: "-- scope: replica\nCREATE TABLE IF NOT EXISTS optimize.events_local (...) ENGINE = ..."}
    replica: core-clickhouse-1
    shard: "1"
    engine: ReplicatedMergeTree('/tables/schema_migrations', '{replica}')
    user: operator
    password: "{{ secret_clickhouse_passwords.operator }}"
  throttle: 1
"""

RETURN = r"""
applied: {description: What was applied by this run., type: list, elements: str, returned: success}
pending: {description: What was not applied when the run began., type: list, elements: str, returned: success}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import clickhouse, clickhouse_migrations
from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse_schema import Schema


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "migrations": {"type": "dict", "required": True},
            "database": {"type": "str", "default": "optimize"},
            "replica": {"type": "str", "required": True},
            "shard": {"type": "str", "required": True},
            "engine": {"type": "str", "required": True},
            "replicated": {"type": "bool", "default": True},
            "applied_by": {"type": "str", "default": "ansible"},
            "apply": {"type": "bool", "default": True},
            "host": {"type": "str", "default": "127.0.0.1"},
            "timeout": {"type": "int", "default": 120},
            **clickhouse.CONNECTION_OPTIONS,
        },
        supports_check_mode=True,
    )
    given = module.params
    client = clickhouse.Client(given["host"], given["port"], given["user"], given["password"], given["timeout"])
    schema = Schema(client, given["database"], given["engine"], given["replicated"])
    place = clickhouse_migrations.Place(given["replica"], given["shard"])
    applying = given["apply"] and not module.check_mode
    applied: list[str] = []
    try:
        migrations = [clickhouse_migrations.parse(name, text) for name, text in given["migrations"].items()]
        try:
            records = schema.records(place, create=applying)
        except clickhouse.Unreachable as error:
            if not module.check_mode:
                raise
            module.warn(f"{error}; taken for a server that is still to be installed")
            records = []
        pending = clickhouse_migrations.plan(migrations, records, place)
        if applying:
            for migration in pending:
                schema.apply(migration, place, given["applied_by"])
                applied.append(migration.label)
    except (clickhouse.ClickHouseError, clickhouse_migrations.MigrationError) as error:
        module.fail_json(msg=f"{place.replica} (schema {given['database']}): {error}", applied=applied)
    text = "".join(f"-- {one.label}\n" + ";\n".join(one.statements) + ";\n" for one in pending)
    module.exit_json(
        changed=given["apply"] and bool(pending),
        applied=applied,
        pending=[one.label for one in pending],
        diff={"before": "", "after": text, "before_header": "applied", "after_header": "migrations"} if given["apply"] else {},
    )


if __name__ == "__main__":
    main()
