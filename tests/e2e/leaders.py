"""Who leads, asked of the component itself and not of the roles."""

from __future__ import annotations

import re
import socket
import urllib.request


def zookeeper_leader(hosts: list[str], address) -> str:
    for host in hosts:
        with socket.create_connection((address(host), 2181), timeout=5) as connection:
            connection.sendall(b"srvr")
            answer = b"".join(iter(lambda connection=connection: connection.recv(4096), b""))
        if b"Mode: leader" in answer:
            return host
    raise AssertionError(f"none of {hosts} leads the ensemble")


def active_controller(hosts: list[str], address) -> str:
    """The broker whose exporter says that it is the controller."""
    found = []
    for host in hosts:
        with urllib.request.urlopen(f"http://{address(host)}:7071/metrics", timeout=10) as answer:
            found += [host] * (re.search(rb"(?m)^kafka_controller_kafkacontroller_activecontrollercount 1\.0$", answer.read()) is not None)
    assert len(found) == 1, f"controllers among {hosts}: {found}"
    return found[0]
