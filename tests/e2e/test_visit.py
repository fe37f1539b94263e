"""A real browser's visit, recorded with headless Chromium (visit/record.py), replayed through the edge and read back."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import uuid
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
from yarl import URL

from tools.traffic import EdgeResolver

RECORDED = Path(__file__).parent / "visit" / "visit.jsonl"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def events_of(request: dict) -> list[dict]:
    """The events in a recorded request, as the page's script made them."""
    if request["method"] == "GET":
        query = {key: values[0] for key, values in parse_qs(urlsplit(request["path"]).query).items()}
        attrs = {key.removeprefix("attrs."): query.pop(key) for key in list(query) if key.startswith("attrs.")}
        return [query | {"attrs": attrs}]
    body = json.loads(request["body"])
    return body if isinstance(body, list) else [body]


def test_a_browsers_visit_is_stored_as_the_page_sent_it(edges, state, reader, seed):
    site = f"visit-{seed:08x}"
    # An id is stored once for ever: each replay has ids of its own.
    text = UUID.sub(lambda found: str(uuid.uuid5(uuid.NAMESPACE_URL, site + found.group())), RECORDED.read_text(encoding="utf-8"))
    recorded = [json.loads(line.replace("recorded-visit", site)) for line in text.splitlines()]
    assert {request["headers"].get("sec-fetch-dest") for request in recorded} >= {"empty", "image"}, "not a browser's requests"
    edge = edges[0]

    async def replay() -> None:
        tls = ssl.create_default_context(cafile=str(state / "ca.pem"))
        connector = aiohttp.TCPConnector(resolver=EdgeResolver(edges), ssl=tls)
        async with aiohttp.ClientSession(connector=connector) as session:
            for request in recorded:
                url = URL(f"https://{edge.name}:{edge.port}{request['path']}", encoded=True)
                body = request["body"].encode() or None
                async with session.request(request["method"], url, data=body, headers=request["headers"]) as response:
                    assert response.status in (200, 202), (request, response.status, await response.text())
                    # A browser names its origin, except for an image; without leave of that origin it hides the answer from the page.
                    if origin := request["headers"].get("origin"):
                        assert response.headers["Access-Control-Allow-Origin"] in ("*", origin)

    asyncio.run(replay())
    sent = {event["event_id"]: event for request in recorded for event in events_of(request)}

    async def stored() -> dict[str, dict]:
        sql = f"SELECT toString(event_id) AS id, *, toString(value) AS amount FROM optimize.events WHERE site = '{site}' FORMAT JSONEachRow"
        for _ in range(60):
            rows = {row["id"]: row for row in map(json.loads, (await reader.query(sql)).splitlines())}
            if rows.keys() >= sent.keys():
                break
            await asyncio.sleep(1)
        return rows

    rows = asyncio.run(stored())
    assert rows.keys() == sent.keys()
    for event_id, event in sent.items():
        row = rows[event_id]
        for column in ("visitor", "session", "type", "url"):
            assert row[column] == event[column], (column, row, event)
        assert (row["experiment"], row["variation"]) == (event.get("experiment", ""), event.get("variation", ""))
        assert dict(zip(row["attr_keys"], row["attr_values"], strict=True)) == event.get("attrs", {})
        if "value" in event:
            assert Decimal(row["amount"]) == Decimal(event["value"])
        # The page sends no time of its own: the server's stands for it.
        assert row["ts"] == row["received_at"]
