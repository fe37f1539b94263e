"""The module on a host: from the vendor over HTTP, from what was sent, and what it refuses."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.webtrends.optimize.plugins.module_utils import unpack
from ansible_collections.webtrends.optimize.plugins.modules import artifact


@pytest.fixture
def vendor(tmp_path):
    """A vendor's server with one archive; its URL and checksum."""
    content = tmp_path / "libs.jar"
    content.write_text("jar")
    (tmp_path / "www").mkdir()
    archive = tmp_path / "www" / "tool_2.13-1.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(content, "tool_2.13-1.0/libs/a.jar")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "www")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{archive.name}", "sha512:" + hashlib.sha512(archive.read_bytes()).hexdigest()
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The module with arguments, as it would answer; files belong to whoever runs the test."""
    monkeypatch.setattr(artifact, "unpack", functools.partial(unpack.unpack, owner=os.getuid()))

    def call(**arguments):
        fixed = {"name": "tool", "version": "1.0", "dest": str(tmp_path / "opt/tool/1.0"), "_ansible_remote_tmp": str(tmp_path)}
        with patch_module_args({**fixed, **arguments}), pytest.raises(SystemExit):
            artifact.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_from_the_vendor_once(vendor, run, tmp_path):
    wanted = {"source": "vendor", "urls": [vendor[0]], "checksums": [vendor[1]]}
    assert run(**wanted, _ansible_check_mode=True)["changed"] and not (tmp_path / "opt").exists()
    assert run(**wanted)["changed"]
    assert (tmp_path / "opt/tool/1.0/libs/a.jar").read_text() == "jar"
    assert not run(**wanted)["changed"]


def test_what_the_vendor_altered_is_refused(vendor, run, tmp_path):
    said = run(source="vendor", urls=[vendor[0]], checksums=["sha512:" + "0" * 128])["msg"]
    assert "tool 1.0: expected sha512 0000" in said and f"found {vendor[1].removeprefix('sha512:')}" in said
    assert not (tmp_path / "opt").exists()


def test_a_vendor_that_does_not_answer_names_the_mend(vendor, run):
    said = run(source="vendor", urls=[vendor[0] + ".gone"], checksums=[vendor[1]])["msg"]
    assert "tool 1.0: cannot download" in said and "artifact_mirrors" in said


def test_from_what_the_controller_sent(run, tmp_path):
    file = tmp_path / "sent"
    with tarfile.open(file, "w") as tar:
        tar.add(__file__, "libs/a.jar")
    checksum = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    wanted = {"source": "store", "store_file": "/store/tool/tool-1.0.tar", "checksums": [checksum]}
    assert "The task webtrends.optimize.artifacts" in run(**wanted)["msg"]
    assert run(**wanted, sent=str(file))["changed"]
    assert not run(**wanted)["changed"]
    (tmp_path / "opt/tool/1.0/libs/a.jar").write_text("altered")
    assert "was altered since it was unpacked" in run(**wanted)["msg"]


def test_the_action_sends_nothing_that_preflight_saw():
    from ansible_collections.webtrends.optimize.plugins.action.artifacts import on_host

    wanted = {"version": "3.9.2", "dest": str(Path("/opt/kafka/3.9.2"))}
    assert on_host(wanted, {"host": {"opt": {"kafka": {"current": "3.8.1", "versions": ["3.8.1", "3.9.2"]}}}})
    assert not on_host(wanted, {"host": {"opt": {"kafka": {"current": "3.8.1", "versions": ["3.8.1"]}}}})
    assert not on_host(wanted, {})
