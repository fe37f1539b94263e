# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The admin socket: what HAProxy answers, and when a server may be taken out."""

import socket
import threading

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils import haproxy

# Cut from HAProxy 2.6.12's own answer to its first columns.
STATISTICS = """# pxname,svname,qcur,qmax,scur,smax,slim,stot,status,
writers,core-clickhouse-1,0,0,2,9,,99,UP,
writers,core-clickhouse-2,1,0,0,9,,99,DOWN 1/2,
writers,core-clickhouse-3,0,0,0,9,,99,DRAIN,
readers,core-clickhouse-1,0,0,0,9,,99,UP 1/2,
readers,core-clickhouse-2,0,0,0,9,,99,UP,
readers,BACKEND,0,0,0,9,,99,UP,
"""


@pytest.fixture
def servers():
    return haproxy.parse_statistics(STATISTICS)


def test_statistics_become_servers(servers):
    assert [(one.backend, one.name, one.sessions, one.serving, one.admin_state) for one in servers] == [
        ("writers", "core-clickhouse-1", 2, True, "ready"),
        ("writers", "core-clickhouse-2", 1, False, "ready"),
        ("writers", "core-clickhouse-3", 0, False, "drained"),
        ("readers", "core-clickhouse-1", 0, True, "ready"),
        ("readers", "core-clickhouse-2", 0, True, "ready"),
    ]


@pytest.mark.parametrize("answer", ["", "Permission denied", "pxname,svname"])
def test_an_answer_that_is_no_statistics_is_refused(answer):
    with pytest.raises(haproxy.AdminError, match="no statistics"):
        haproxy.parse_statistics(answer)


def test_a_server_is_chosen_in_every_backend(servers):
    assert [one.backend for one in haproxy.choose(servers, "core-clickhouse-1", [])] == ["writers", "readers"]
    assert [one.backend for one in haproxy.choose(servers, "core-clickhouse-1", ["readers"])] == ["readers"]


@pytest.mark.parametrize(
    ("name", "backends"), [("core-clickhouse-9", []), ("core-clickhouse-3", ["readers"]), ("core-clickhouse-1", ["x"])]
)
def test_an_unknown_server_is_refused(servers, name, backends):
    with pytest.raises(haproxy.AdminError, match=f"no server {name}"):
        haproxy.choose(servers, name, backends)


def test_the_last_serving_server_is_not_let_go(servers):
    chosen = haproxy.choose(servers, "core-clickhouse-1", [])
    (problem,) = haproxy.too_few(servers, chosen, 1)
    assert "backend writers has 0 serving" in problem
    assert haproxy.too_few(servers, chosen, 0) == []


@pytest.fixture
def listener(tmp_path):
    """A socket that gives one answer to each of its connections and remembers the commands."""
    server = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "admin.sock")
    server.bind(path)
    server.listen()
    commands: list[str] = []

    def serve(answers):
        def run():
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    commands.append(connection.recv(4096).decode())
                    connection.sendall(answer.encode())

        threading.Thread(target=run, daemon=True).start()
        return haproxy.Admin(path, timeout=2), commands

    yield serve
    server.close()


def test_an_order_is_silent_and_a_refusal_is_an_error(listener):
    admin, commands = listener(["\n", "No such server.\n"])
    admin.order("set server writers/a state drain")
    with pytest.raises(haproxy.AdminError, match="No such server"):
        admin.order("set server writers/b state drain")
    assert commands == ["set server writers/a state drain\n", "set server writers/b state drain\n"]


def test_no_socket_is_an_error(tmp_path):
    with pytest.raises(haproxy.AdminError, match="does not answer 'show stat"):
        haproxy.Admin(str(tmp_path / "none")).servers()
