"""The pair's address goes to the member that can serve."""

import pytest

PAIR = "core-lb-clickhouse"


def other(member):
    return f"{PAIR}-{3 - int(member[-1])}"


@pytest.mark.parametrize(
    ("fault", "repair", "moves"),
    [
        # systemd starts it again within a second; the address may stay.
        ("pkill -KILL -x haproxy", "systemctl start haproxy", False),
        ("systemctl stop haproxy", "systemctl start haproxy", True),
        ("pkill -STOP -x haproxy", "pkill -CONT -x haproxy", True),
        ("systemctl stop keepalived", "systemctl start keepalived", True),
        ("pkill -KILL -x keepalived; systemctl stop keepalived", "systemctl start keepalived", True),
    ],
)
def test_a_fault_of_the_holder_is_over_within_seconds(fleet, fault, repair, moves):
    before = fleet.holder(PAIR)
    with fleet.stream() as stream:
        fleet.until(lambda: len(stream.results) > 5, 5, "requests run")
        fleet.run(before, fault)
        fleet.until(lambda: stream.results[-1][2] and stream.results[-20:][0][2], 15, "requests succeed again")
        if moves:
            fleet.until(lambda: "10.92.160.11/" in fleet.run(other(before), "ip -o address show"), 10, "the address has moved")
            fleet.until(lambda: all(ok for *_, ok in stream.results[-20:]), 10, "requests succeed at the other member")
        fleet.run(before, repair)
        fleet.until(lambda: fleet.get(8404, "/healthz", address=address_of(before))[0] == 200, 10, "the member is back")
        repaired = len(stream.results)
        fleet.until(lambda: len(stream.results) > repaired + 60, 10, "requests go on")
    assert stream.gap < 8, f"longest gap {stream.gap:.1f} s"
    assert all(ok for *_, ok in stream.results[repaired + 20 :]), "the repaired member took the address back and interrupted again"
    if moves:
        assert fleet.holder(PAIR) == other(before)


def address_of(member):
    return f"10.92.160.1{int(member[-1]) + 1}"


def test_drain_moves_the_address_first_and_undrain_moves_nothing(fleet):
    before = fleet.holder(PAIR)
    with fleet.stream() as stream:
        fleet.verb(before, "drain")
        assert fleet.holder(PAIR) == other(before)
        fleet.verb(before, "undrain")
        fleet.verb(before, "health")
        assert fleet.holder(PAIR) == other(before)
    assert stream.gap < 3, f"longest gap {stream.gap:.1f} s"


def test_drain_is_a_lease(fleet):
    before = fleet.holder(PAIR)
    fleet.verb(before, "drain", haproxy_drain_lease=4)
    fleet.until(lambda: fleet.run(before, "cat /run/optimize-haproxy/handed-over") == "0", 10, "the lease has ended")


def test_the_last_healthy_member_keeps_the_address(fleet):
    holder = fleet.holder(PAIR)
    fleet.run(other(holder), "systemctl stop haproxy")
    try:
        refused = fleet.verb(holder, "drain", check=False)
        assert refused.returncode != 0
        assert "no healthy peer" in refused.stdout
        assert fleet.verb(holder, "health", check=False).returncode != 0
        assert fleet.holder(PAIR) == holder
    finally:
        fleet.run(other(holder), "systemctl start haproxy")
    fleet.until(lambda: fleet.get(8404, "/healthz", address=address_of(other(holder)))[0] == 200, 10, "the peer is back")


def test_a_peer_that_cannot_take_the_address_gives_it_back(fleet):
    """HAProxy of the peer is well, its keepalived is not: the drain is taken back and says so."""
    holder = fleet.holder(PAIR)
    fleet.run(other(holder), "systemctl stop keepalived")
    try:
        refused = fleet.verb(holder, "drain", check=False)
        assert "did not move within" in refused.stdout
        fleet.until(lambda: fleet.get(8124)[0] == 200, 10, "the address answers again")
    finally:
        fleet.run(other(holder), "systemctl start keepalived")
    assert fleet.holder(PAIR) == holder
