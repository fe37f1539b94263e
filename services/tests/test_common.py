"""Configuration, drain, health, logs and limits: what every service has."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from optimize.collect.service import CollectConfig
from optimize.common.config import ConfigError, load
from optimize.common.drain import Drain
from optimize.common.health import Dependency, Health
from optimize.common.logs import JsonFormatter, Sparse, fields
from optimize.events.intake import SiteLimit
from optimize.events.schema import Acceptor, Limits

GOOD = {"region": "euw", "spool": {"directory": "/var/lib/optimize-collect/spool"}, "clickhouse": {"urls": ["http://lb:8123"]}}


def write(path, value):
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"regoin": "x"}, "`regoin`"),
        ({"spool": {"directory": "/x", "max_byte": 1}}, r"`max_byte`.*\$\.spool"),
        ({"spool": {"directory": "/x", "max_bytes": "1"}}, r"\$\.spool\.max_bytes"),
        ({"clickhouse": {"urls": []}}, r"\$\.clickhouse\.urls"),
        ({"clickhouse": {"urls": ["lb:8123"]}}, r"\$\.clickhouse\.urls"),
        ({"listen": {"port": 0}}, r"\$\.listen\.port"),
        ({"clickhouse": {"urls": ["http://lb:8123"], "password": {"file": "/nowhere/secret"}}}, "/nowhere/secret"),
        ({"clickhouse": {"urls": ["http://lb:8123"], "password": {"credential": "x"}}}, "LoadCredential"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(tmp_path, wrong, words):
    with pytest.raises(ConfigError, match=words):
        load(write(tmp_path / "collect.json", GOOD | wrong), CollectConfig)


def test_what_is_missing_or_no_json_is_refused(tmp_path):
    for text, words in (("{}", "region"), ("{", "collect.json"), ("\xff", "collect.json")):
        (tmp_path / "collect.json").write_text(text, encoding="latin-1")
        with pytest.raises(ConfigError, match=words):
            load(tmp_path / "collect.json", CollectConfig)
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.json", CollectConfig)


def test_toml_and_json_are_the_same(tmp_path):
    (tmp_path / "c.toml").write_text(
        'region = "euw"\nspool.directory = "/var/lib/optimize-collect/spool"\nclickhouse.urls = ["http://lb:8123"]\n'
    )
    assert load(tmp_path / "c.toml", CollectConfig) == load(write(tmp_path / "c.json", GOOD), CollectConfig)


def test_the_fingerprint_changes_with_a_value_and_with_a_secret(tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("planted-secret\n")
    secret.chmod(0o640)
    path = write(tmp_path / "c.json", GOOD | {"clickhouse": {"urls": ["http://lb:8123"], "password": {"file": str(secret)}}})
    config, first = load(path, CollectConfig)
    assert config.clickhouse.password.read() == "planted-secret"
    assert "planted-secret" not in repr(config) and load(path, CollectConfig)[1] == first
    secret.write_text("two\n")
    assert load(path, CollectConfig)[1] != first
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="everybody"):
        load(path, CollectConfig)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secret.chmod(0o400)
    path = write(path, GOOD | {"clickhouse": {"urls": ["http://lb:8123"], "password": {"credential": "secret"}}})
    assert load(path, CollectConfig)[0].clickhouse.password.read() == "two"


@pytest.mark.parametrize(
    ("text", "active"), [("1001", True), ("1001.5\n", True), ("999", False), ("", False), ("soon", False), ("nan", False)]
)
def test_a_drain_is_a_lease(tmp_path, text, active):
    (tmp_path / "drain").write_text(text)
    assert Drain(tmp_path / "drain", lambda: 1000.0).active is active


def test_no_file_no_drain(tmp_path):
    assert not Drain(tmp_path / "drain").active


def health(tmp_path, **answers):
    def probe(answer):
        async def ask():
            if answer == "hang":
                await asyncio.sleep(60)
            if answer:
                raise RuntimeError(answer)

        return ask

    kinds = {name: name.split("_")[0] for name in answers}
    dependencies = [Dependency(name, kinds[name], probe(answer)) for name, answer in answers.items()]
    return Health("x", "1", "abc", Drain(tmp_path / "drain"), dependencies)


def test_only_a_hard_dependency_or_a_drain_makes_unready(tmp_path, monkeypatch):
    monkeypatch.setattr("optimize.common.health.PROBE_TIMEOUT", 0.05)

    async def run():
        for answers, expected in (
            ({"hard_a": "", "soft_b": "away"}, True),
            ({"hard_a": "away", "soft_b": ""}, False),
            ({"hard_a": "hang"}, False),
            ({}, True),
        ):
            checked = health(tmp_path, **answers)
            await checked.start()
            ready, state = await checked.readiness()
            assert ready is state["ready"] is expected
            assert {name: item["ok"] for name, item in state["dependencies"].items()} == {name: not a for name, a in answers.items()}
            await checked.stop()
        (tmp_path / "drain").write_text("9999999999")
        ready, state = await checked.readiness()
        assert not ready and state["draining"] and not state["stopping"]

    asyncio.run(run())


def test_a_log_line_is_json_with_its_fields():
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, "insert failed", None, None)
    record.__dict__.update(fields(url="http://a", rows=3))
    line = json.loads(JsonFormatter("collect", "1.0").format(record))
    assert line.items() >= {"level": "warning", "service": "collect", "version": "1.0", "message": "insert failed", "rows": 3}.items()


def test_a_client_s_complaints_are_thinned_out():
    sparse = Sparse(10)
    made = [logging.LogRecord("librdkafka", logging.ERROR, "", 1, text, None, None) for text in ("FAIL [a] x", "FAIL [a] y", "GETPID z")]
    for record in made:
        record.created = 1000.0
    assert [sparse.filter(record) for record in made] == [True, False, True]


def test_a_site_s_rate_is_limited_and_other_sites_are_not():
    now = 0.0
    limit = SiteLimit(10, clock=lambda: now)
    acceptor = Acceptor("euw", "collect", Limits())

    def rows(site, count):
        return acceptor.body(json.dumps([{"site": site, "visitor": "v", "type": "click"}] * count).encode()).rows

    assert limit.take(rows("a", 10)) is None
    assert limit.take(rows("a", 1)) == "a"
    assert limit.take(rows("b", 5) + rows("a", 1)) == "a"
    assert limit.take(rows("b", 10)) is None
    now = 0.5
    assert limit.take(rows("a", 5)) is None
    assert limit.take(rows("a", 1)) == "a"
    now = 10.0
    # Larger than the bucket: passes when it is full, and leaves a debt.
    assert limit.take(rows("a", 30)) is None
    now = 11.0
    assert limit.take(rows("a", 1)) == "a"
    assert SiteLimit(0).take(rows("a", 500)) is None
