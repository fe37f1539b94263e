# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an ensemble says of itself (command `mntr`), and whether it can lose a member."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from ansible_collections.webtrends.optimize.plugins.module_utils.gate import Answer

#: ZooKeeper refuses a command that is not on its whitelist with this text.
_REFUSED = "is not executed because it is not in the whitelist"


class NoAnswer(Exception):
    """A member did not say how it is; the text says why."""


def ask(host: str, port: int, timeout: float = 3.0) -> dict[str, str]:
    """The answer to `mntr` of one member.

    Args:
        timeout: seconds for the connection, and for each read.

    Raises:
        NoAnswer: it can't be reached, or does not serve requests.
    """
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.sendall(b"mntr")
            received = b""
            while piece := connection.recv(65536):
                received += piece
    except OSError as error:
        raise NoAnswer(f"{host}:{port} does not answer ({error})") from error
    return parse(f"{host}:{port}", received.decode("utf-8", "replace"))


def parse(who: str, text: str) -> dict[str, str]:
    """Tab-separated lines; a member without quorum answers with a sentence instead."""
    if _REFUSED in text:
        raise NoAnswer(f"{who} refuses mntr; add it to 4lw.commands.whitelist")
    found = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    if "zk_server_state" not in found:
        raise NoAnswer(f"{who} does not serve: {' '.join(text.split()) or 'it closed the connection without a word'}")
    return found


def look(member: str, members: list[str], question: Callable[[str], Mapping[str, str]]) -> Answer:
    """Whether the ensemble can lose `member` now.

    Losing it is safe when all others serve, in sync with one leader, so that what remains is a quorum that has every acknowledged write.

    Args:
        members: all of the ensemble, `member` among them.
        question: gives the answer of one member to `mntr`, or raises NoAnswer.
    """
    reasons: list[str] = []
    states: dict[str, Mapping[str, str]] = {}
    for host in members:
        try:
            states[host] = question(host)
        except NoAnswer as problem:
            if host != member:
                reasons.append(str(problem))
    mine = states.get(member)
    answer = Answer(
        reasons,
        leader=bool(mine and mine["zk_server_state"] == "leader"),
        running=mine is not None,
        details={
            "version": mine.get("zk_version", "").split(",")[0] if mine else "",
            "states": {host: state["zk_server_state"] for host, state in states.items()},
        },
    )
    if member not in members:
        reasons.append(f"{member} is not a member of the ensemble ({', '.join(members)})")
        return answer
    remaining, quorum = len(members) - 1, len(members) // 2 + 1
    if remaining < quorum:
        reasons.append(f"an ensemble of {len(members)} has no quorum of {quorum} without {member}")
        return answer
    leaders = [host for host, state in states.items() if state["zk_server_state"] == "leader"]
    if len(leaders) != 1:
        reasons.append(f"expected one leader, found {', '.join(leaders) or 'none'}")
        return answer
    for host, state in states.items():
        if state["zk_server_state"] not in ("leader", "follower"):
            reasons.append(f"{host} is {state['zk_server_state']}")
    # The member's own lag must not keep it from being mended: it counts only while it serves.
    expected = len(states) - 1
    synced = states[leaders[0]].get("zk_synced_followers", "")
    if not synced.replace(".", "", 1).isdigit() or float(synced) < expected:
        reasons.append(f"{leaders[0]} leads and has {synced or 'no number of'} synced followers, expected {expected}")
    return answer
