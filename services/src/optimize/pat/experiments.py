"""The experiments document: fetched, checked, kept on disk, and used as long as nothing better is there."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
from msgspec import Meta
from prometheus_client import Counter, Gauge

from optimize.common.config import Positive, Seconds, Section
from optimize.common.logs import fields
from optimize.pat.decide import Experiments, Refused, parse
from optimize.spool.cursor import write_durably

log = logging.getLogger(__name__)

VERSION = Gauge("optimize_experiments_version", "Version of the experiments document in use; -1 without one")
FETCHED = Gauge("optimize_experiments_fetched_timestamp_seconds", "When the document was last fetched or confirmed")
FETCHES = Counter("optimize_experiments_fetches_total", "Fetches of the document", ["outcome"])

EMPTY = Experiments(1, 0, {})


class ExperimentsConfig(Section, frozen=True, kw_only=True):
    """Where the document comes from.

    Args:
        url: of the document.
        ca: file of the authority that the URL's certificate must verify against; empty: the system's.
        cache: file that keeps the last good document.
        seconds: between two fetches.
        timeout: of one fetch, in seconds.
        max_bytes: a longer document is refused.
    """

    url: Annotated[str, Meta(pattern=r"^https?://")]
    ca: str = ""
    cache: str = "/var/lib/optimize-pat/experiments.json"
    seconds: Seconds = 15.0
    timeout: Seconds = 5.0
    max_bytes: Positive = 16_777_216


class _Cached(msgspec.Struct):
    etag: str
    document: str


class Source:
    """Holds the document in use as `current`."""

    def __init__(self, config: ExperimentsConfig) -> None:
        self.config = config
        self.current = EMPTY
        self._etag = ""
        self._path = Path(config.cache)
        self._have = False
        self._problem = "not fetched yet"
        self._confirmed = time.monotonic()
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=config.ca or None), timeout=config.timeout, trust_env=False, follow_redirects=False
        )
        self._load()

    def _load(self) -> None:
        VERSION.set(-1)
        try:
            cached = msgspec.json.decode(self._path.read_bytes(), type=_Cached)
            self._use(parse(cached.document.encode()), cached.etag)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, Refused) as error:
            log.error("cached experiments can't be used", extra=fields(file=str(self._path), problem=str(error)))

    def _use(self, document: Experiments, etag: str) -> None:
        self.current, self._etag, self._have = document, etag, True
        VERSION.set(document.version)

    async def run(self) -> None:
        """Fetch for ever."""
        while True:
            await asyncio.sleep(self.config.seconds * random.uniform(0.8, 1.2))
            await self.fetch()

    async def fetch(self) -> None:
        """Fetch once. Whatever goes wrong, the document in use stays."""
        try:
            document, etag = await self._get()
            if document is not None:
                parsed = parse(document)
                if self._have and parsed.version < self.current.version:
                    raise Refused(f"version {parsed.version} is older than {self.current.version}, which is in use")
                text = msgspec.json.encode(_Cached(etag, document.decode()))
                await asyncio.to_thread(write_durably, self._path, text)
                log.info("experiments", extra=fields(version=parsed.version, sites=len(parsed.sites)))
                self._use(parsed, etag)
        except (httpx.HTTPError, OSError, Refused, UnicodeDecodeError) as error:
            outcome, problem = ("refused" if isinstance(error, Refused) else "failed"), f"{type(error).__name__}: {error}"
            # Once: it is tried every few seconds.
            if problem != self._problem:
                self._problem = problem
                log.warning("experiments not fetched", extra=fields(outcome=outcome, problem=self._problem, in_use=self.current.version))
        else:
            outcome, self._problem, self._confirmed = "new" if document is not None else "unchanged", "", time.monotonic()
            FETCHED.set_to_current_time()
        FETCHES.labels(outcome).inc()

    async def _get(self) -> tuple[bytes | None, str]:
        headers = {"if-none-match": self._etag} if self._etag else {}
        async with self._client.stream("GET", self.config.url, headers=headers) as answer:
            if answer.status_code == 304:
                return None, self._etag
            if answer.status_code != 200:
                raise Refused(f"answer {answer.status_code}")
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > self.config.max_bytes:
                    raise Refused(f"more than {self.config.max_bytes} bytes")
            return bytes(body), answer.headers.get("etag", "")

    async def probe(self) -> None:
        """Raises when the last fetch did not succeed."""
        if self._problem:
            age = time.monotonic() - self._confirmed
            raise Refused(f"{self._problem} ({age:.0f} s without confirmation; version {self.current.version} in use)")

    async def close(self) -> None:
        await self._client.aclose()
