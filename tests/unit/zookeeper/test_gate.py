"""The gate opens only for an ensemble that is whole without the member; every other case blocks and says why."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils import gate, zookeeper

MEMBERS = ["zk-1", "zk-2", "zk-3"]


def ensemble(**states):
    """A question to fake members: state, or an exception."""

    def question(host):
        state = states[host.replace("-", "")]
        if isinstance(state, Exception):
            raise state
        found = {"zk_server_state": state.split()[0], "zk_version": "3.9.4-abc, built on x"}
        if state.startswith("leader"):
            found["zk_synced_followers"] = state.split()[1]
        return found

    return question


DOWN = zookeeper.NoAnswer("zk:2181 does not answer (refused)")


def test_a_whole_ensemble_can_lose_a_follower_and_says_who_leads():
    answer = zookeeper.look("zk-1", MEMBERS, ensemble(zk1="follower", zk2="leader 2", zk3="follower"))
    assert (answer.healthy, answer.leader, answer.running) == (True, False, True)
    assert answer.details["version"] == "3.9.4-abc"
    assert zookeeper.look("zk-2", MEMBERS, ensemble(zk1="follower", zk2="leader 2", zk3="follower")).leader is True


def test_a_member_that_is_itself_down_may_be_lost():
    answer = zookeeper.look("zk-1", MEMBERS, ensemble(zk1=DOWN, zk2="leader 1", zk3="follower"))
    assert (answer.healthy, answer.leader, answer.running) == (True, False, False)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({"zk1": "follower", "zk2": DOWN, "zk3": "leader 1"}, "does not answer"),
        ({"zk1": DOWN, "zk2": DOWN, "zk3": DOWN}, "expected one leader, found none"),
        ({"zk1": "follower", "zk2": "follower", "zk3": "follower"}, "expected one leader, found none"),
        ({"zk1": "leader 1", "zk2": "leader 1", "zk3": "follower"}, "expected one leader, found zk-1, zk-2"),
        ({"zk1": "follower", "zk2": "leader 1", "zk3": "follower"}, "has 1 synced followers, expected 2"),
        ({"zk1": "follower", "zk2": "leader ?", "zk3": "follower"}, "has ? synced followers"),
        ({"zk1": DOWN, "zk2": "leader 0", "zk3": "follower"}, "has 0 synced followers, expected 1"),
        ({"zk1": "follower", "zk2": "leader 2", "zk3": "observer"}, "zk-3 is observer"),
    ],
)
def test_blocks(states, said):
    answer = zookeeper.look("zk-1", MEMBERS, ensemble(**states))
    assert not answer.healthy
    assert said in "; ".join(answer.reasons)


def test_blocks_where_nothing_would_remain():
    assert "no quorum of 1 without zk-1" in zookeeper.look("zk-1", ["zk-1"], ensemble(zk1="standalone")).reasons[0]
    assert "no quorum of 2" in zookeeper.look("zk-1", ["zk-1", "zk-2"], ensemble(zk1="leader 1", zk2="follower")).reasons[0]
    assert "is not a member" in zookeeper.look("zk-4", MEMBERS, ensemble(zk1="follower", zk2="leader 2", zk3="follower")).reasons[0]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def wait(answers, samples=3, timeout=100):
    clock = Clock()
    given = iter(answers)

    def look():
        one = next(given)
        if isinstance(one, Exception):
            raise one
        return gate.Answer([] if one else ["lagging"])

    answer, clean = gate.wait(look, samples, 10, timeout, clock, clock.sleep)
    return answer.healthy, clean, clock.now


def test_clean_answers_must_come_in_a_row():
    assert wait([True, True, False, True, True, True]) == (True, 3, 50)


def test_a_question_that_fails_breaks_the_row():
    assert wait([True, True, OSError("gone"), True, True, True]) == (True, 3, 50)


def test_the_gate_stays_shut_when_time_is_over():
    assert wait([False] * 20, timeout=30) == (False, 0, 30)
    assert wait([True, True, True], timeout=15) == (True, 2, 10)
    healthy, clean, _ = wait([ValueError("bug")] * 20, timeout=20)
    assert (healthy, clean) == (False, 0)


def serve(reply: bytes) -> int:
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(4) == b"mntr"
            connection.sendall(reply)
        listener.close()

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


def test_answers_over_the_wire():
    assert zookeeper.ask("127.0.0.1", serve(b"zk_version\t3.9.4\nzk_server_state\tfollower\n"))["zk_server_state"] == "follower"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"This ZooKeeper instance is not currently serving requests\n", "does not serve: This ZooKeeper instance is not"),
        (b"mntr is not executed because it is not in the whitelist.\n", "add it to 4lw.commands.whitelist"),
        (b"", "closed the connection without a word"),
    ],
)
def test_what_is_no_answer(reply, said):
    with pytest.raises(zookeeper.NoAnswer, match=said):
        zookeeper.ask("127.0.0.1", serve(reply))


def test_a_closed_port_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(zookeeper.NoAnswer, match="does not answer"):
        zookeeper.ask("127.0.0.1", port)
