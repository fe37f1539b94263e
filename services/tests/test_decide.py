"""Decisions are the same for ever, weights and traffic are obeyed, and only good documents are used."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema
import msgspec
import optimize.pat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimize.pat.decide import Decision, Experiment, Experiments, Refused, Variation, decide, decisions, parse
from optimize.pat.experiments import ExperimentsConfig, Source

SCHEMA = Path(optimize.pat.__file__).with_name("experiments.schema.json")


def document(version=1, **experiment):
    one = {"id": "e1", "status": "running", "variations": [{"id": "A", "weight": 1}, {"id": "B", "weight": 1}], **experiment}
    return {"format": 1, "version": version, "sites": {"shop": {"experiments": [one]}}}


def encoded(*arguments, **experiment) -> bytes:
    return json.dumps(document(*arguments, **experiment)).encode()


def test_the_schema_in_the_repository_is_the_code_s():
    assert json.loads(SCHEMA.read_text()) == msgspec.json.schema(Experiments)
    jsonschema.validate(document(), json.loads(SCHEMA.read_text()))


# Fixed for ever: another result would show visitors another variation than before.
def test_known_visitors_keep_their_variation():
    experiment = Experiment("e1", "running", [Variation("A", 1), Variation("B", 1), Variation("C", 2)], traffic=0.8)
    assert [decide(experiment, f"v{number}") for number in range(8)] == ["A", "B", "C", None, "B", "A", "C", None]


@settings(max_examples=200)
@given(st.text(max_size=64), st.lists(st.integers(0, 100), min_size=1, max_size=5).filter(any), st.floats(0, 1), st.floats(0, 1))
def test_a_decision_is_stable_and_one_of_the_weighted(visitor, weights, traffic, more):
    variations = [Variation(str(number), weight) for number, weight in enumerate(weights)]
    experiment = Experiment("e", "running", variations, traffic)
    first = decide(experiment, visitor)
    assert first == decide(experiment, visitor)
    assert first is None or weights[int(first)] > 0
    # More traffic takes nobody's variation away.
    if first is not None and more >= traffic:
        assert decide(Experiment("e", "running", variations, more), visitor) == first


def test_weights_and_traffic_are_obeyed():
    experiment = Experiment("e", "running", [Variation("A", 1), Variation("B", 3)], traffic=0.5)
    count = Counter(decide(experiment, f"visitor-{number}") for number in range(20_000))
    assert abs(count[None] / 20_000 - 0.5) < 0.02
    assert abs(count["B"] / (count["A"] + count["B"]) - 0.75) < 0.02


def test_two_experiments_draw_independently():
    one, two = (Experiment(name, "running", [Variation("A", 1), Variation("B", 1)]) for name in ("one", "two"))
    count = Counter((decide(one, str(number)), decide(two, str(number))) for number in range(8000))
    assert all(abs(share / 8000 - 0.25) < 0.03 for share in count.values())


def test_only_running_experiments_of_the_site_are_decided():
    experiments = parse(encoded())
    assert [d.experiment for d in decisions(experiments, "shop", "v")] == ["e1"]
    assert decisions(experiments, "other", "v") == []
    for status in ("draft", "paused", "stopped"):
        assert decisions(parse(encoded(status=status)), "shop", "v") == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (encoded("1"), "version"),
        (json.dumps({**document(), "format": 2}).encode(), "format"),
        (json.dumps({**document(), "extra": 1}).encode(), "extra"),
        (encoded(variations=[]), "variations"),
        (encoded(variations=[{"id": "A", "weight": -1}]), "weight"),
        (encoded(variations=[{"id": "A", "weight": 0}]), "sum is 0"),
        (encoded(variations=[{"id": "A", "weight": 1}] * 2), "A is there twice"),
        (encoded(traffic=1.1), "traffic"),
        (encoded(status="on"), "status"),
    ],
)
def test_a_bad_document_is_refused_in_words(bad, words):
    with pytest.raises(Refused, match=words):
        parse(bad)


class Site:
    """Serves one document with an ETag, or an error."""

    def __init__(self) -> None:
        self.body, self.status, self.asked = encoded(), 200, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                etag = f'"{hash(outer.body)}"'
                outer.asked.append(self.headers.get("if-none-match"))
                fresh = outer.asked[-1] == etag
                self.send_response(304 if fresh and outer.status == 200 else outer.status)
                self.send_header("etag", etag)
                self.end_headers()
                if not fresh:
                    self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/experiments.json"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def site():
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_document_is_fetched_kept_and_served_while_the_url_is_away(site, tmp_path):
    config = ExperimentsConfig(url=site.url, cache=str(tmp_path / "cache.json"))

    async def run():
        source = Source(config)
        assert source.current.sites == {}
        await source.fetch()
        await source.fetch()
        assert source.current.version == 1
        assert site.asked[0] is None and site.asked[1]
        await source.probe()
        # Refused, and the old one stays: not of the schema, older, an error, too long.
        for body, status in ((b"{}", 200), (encoded(0), 200), (encoded(2), 500), (b" " * 20_000_000, 200)):
            site.body, site.status = body, status
            await source.fetch()
            assert source.current.version == 1
            with pytest.raises(Refused, match="version 1 in use"):
                await source.probe()
        site.body, site.status = encoded(3, id="e3"), 200
        await source.fetch()
        assert source.current.version == 3
        site.server.shutdown()
        await source.close()
        # A new process without the URL.
        cold = Source(msgspec.structs.replace(config, url="http://127.0.0.1:1/x"))
        await cold.fetch()
        assert decisions(cold.current, "shop", "v")[0].experiment == "e3"
        await cold.close()

    asyncio.run(run())


def test_a_broken_cache_is_no_reason_not_to_start(site, tmp_path):
    (tmp_path / "cache.json").write_text("{oops")

    async def run():
        source = Source(ExperimentsConfig(url=site.url, cache=str(tmp_path / "cache.json")))
        await source.fetch()
        assert decisions(source.current, "shop", "v") == [Decision("e1", decide(source.current.sites["shop"].experiments[0], "v"))]
        await source.close()

    asyncio.run(run())
