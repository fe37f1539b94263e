"""Members are restarted one by one while visitors send: nothing is lost, who leads goes last, a lost host stops it, a second run mends."""

from __future__ import annotations

import json
import random
import subprocess
import time

import pytest

from tests.e2e.leaders import active_controller, zookeeper_leader
from tests.e2e.sending import nothing_is_lost_while
from tools.hosts import on_host, power_off
from tools.platform import playbook
from tools.stages import ROOT

#: Component -> the unit of its process. Restarted whether they need it or not.
COMPONENTS = {"zookeeper": "zookeeper", "kafka": "kafka", "clickhouse": "clickhouse-server"}
#: A roll takes minutes; events a second while it runs.
RATE = 50
#: No roll of three or four members lasts longer.
LONGEST_SECONDS = 900


def roll(component: str, *more: str) -> list[str]:
    return playbook("rolling-restart", "-e", f"component={component}", "-e", "regions_confirmed=all", *more)


def starts(hosts: list[str], unit: str) -> dict[str, int]:
    """When each host's process of the unit started, in microseconds of the machine's clock."""
    return {host: int(on_host(host, f"systemctl show -p ActiveEnterTimestampMonotonic --value {unit}")) for host in hosts}


#: Who leads, asked of the component itself and not of the roles.
LEADERS = {"zookeeper": zookeeper_leader, "kafka": active_controller}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_is_rolled_and_nothing_is_lost(component, hosts, address, edges, state, reader, seed):
    unit, members = COMPONENTS[component], hosts(component)
    before = starts(members, unit)
    led = LEADERS[component](members, address) if component in LEADERS else None

    def restart() -> None:
        done = subprocess.run(
            roll(component, "-e", "every_member=true"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
        )
        assert done.returncode == 0, done.stdout[-6000:]

    nothing_is_lost_while(restart, f"roll {component}", edges=edges, state=state, reader=reader, seed=seed, rate=RATE)
    after = starts(members, unit)
    assert all(after[host] > before[host] for host in members), (before, after)
    if led:
        assert max(after, key=lambda host: after[host]) == led, f"{led} led and was not the last: {after}"


def test_a_roll_stops_when_a_host_dies_and_the_next_run_mends(hosts, edges, state, reader, seed):
    members = hosts("kafka")
    before = starts(members, "kafka")
    rng = random.Random(seed)
    died: list[str] = []

    def kill_one_during_the_roll() -> None:
        process = subprocess.Popen(
            roll("kafka", "-e", "every_member=true"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            deadline = time.monotonic() + LONGEST_SECONDS
            while not died:
                assert process.poll() is None, f"the roll ended before a member was restarted:\n{process.stdout.read()[-4000:]}"
                assert time.monotonic() < deadline
                now = starts(members, "kafka")
                untouched = [host for host in members if now[host] == before[host]]
                if 0 < len(untouched) < len(members):
                    died.append(rng.choice(untouched))
                    power_off(died[0])
                time.sleep(0.5)
            output = process.communicate(timeout=LONGEST_SECONDS)[0]
        finally:
            process.kill()
        assert process.returncode != 0, "the roll went on, and says that all is well"
        assert died[0] in output, output[-4000:]
        left = [host for host in members if host not in died]
        now = starts(left, "kafka")
        restarted = [host for host in left if now[host] != before[host]]
        assert len(restarted) == 1, f"after {died[0]} died the roll went on to {restarted}"

    nothing_is_lost_while(kill_one_during_the_roll, "roll with a death", edges=edges, state=state, reader=reader, seed=seed, rate=RATE)
    # The same roll again is refused as long as the host is away, before anything is restarted.
    refused = subprocess.run(roll("kafka", "-e", "every_member=true"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert refused.returncode != 0 and f"kafka: {died[0]} did not answer" in " ".join(refused.stdout.split()), refused.stdout[-4000:]


def test_a_second_run_repairs_a_broken_platform(hosts, state, seed):
    """The host of the test before is still away; more is broken here, and then `make platform` runs again."""
    rng = random.Random(seed)
    zookeeper, collect, node = rng.choice(hosts("zookeeper")), rng.choice(hosts("collect")), rng.choice(hosts("clickhouse"))
    power_off(zookeeper)
    on_host(collect, "systemctl stop optimize-collect; echo broken >> /etc/optimize/collect.json")
    on_host(node, "sed -i 's/<max_concurrent_queries>[0-9]*/<max_concurrent_queries>7/' /etc/clickhouse-server/config.xml")
    # It runs with a file that the convergence then puts right: only a restart can.
    on_host(node, "systemctl restart clickhouse-server")
    done = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-m", "tools.platform", "up", "--regions", "euw"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"clickhouse: {node} run with what is no longer on the disk" in done.stdout, done.stdout[-6000:]
    summary = json.loads((state / "summary.json").read_text(encoding="utf-8"))
    assert summary["sent"] == summary["stored"]
