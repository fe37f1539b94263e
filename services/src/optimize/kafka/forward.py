"""Publishes what is in the spool, in its order, however long Kafka was away."""

from __future__ import annotations

import asyncio
import logging
import time

from optimize.common.logs import fields
from optimize.kafka.publish import NotDelivered, Publisher, messages_of
from optimize.spool.cursor import Cursor
from optimize.spool.spool import Spool

log = logging.getLogger(__name__)

#: One round trip carries as many.
MAX_ROWS, MAX_BYTES = 2000, 2 * 1024 * 1024
#: Seconds between two saves of the cursor; as much is published twice after kill -9, and stored once.
SAVE_SECONDS = 1.0
MAX_PAUSE = 5.0


class Forwarder:
    """Follows the spool with a cursor and a publisher."""

    def __init__(self, spool: Spool, cursor: Cursor, publisher: Publisher) -> None:
        self._spool, self._cursor, self._publisher = spool, cursor, publisher
        self._saved = 0.0
        #: The last attempt failed.
        self.failing = False

    @property
    def idle(self) -> bool:
        """Everything in the spool has been published, and nothing is on its way into it."""
        return not self._spool.appending and not self._spool.has_more(self._cursor.next)

    async def run(self) -> None:
        """Publish for ever."""
        pause = 0.1
        while True:
            if not self._spool.has_more(self._cursor.next):
                await self._save()
                await self._spool.wait(self._cursor.next, SAVE_SECONDS)
                continue
            end = self._spool.end
            chunk = await asyncio.to_thread(self._spool.read, self._cursor.next, MAX_ROWS, MAX_BYTES)
            if chunk is None:
                # Only damaged frames were left.
                self._cursor.skip_to(end)
                continue
            try:
                await self._publisher.send(messages_of(chunk.data))
            except NotDelivered as error:
                self.failing = True
                log.warning("spool is not published", extra=fields(problem=str(error), rows=self._spool.rows_behind(self._cursor.next)))
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE)
                continue
            pause = 0.1
            self.failing = False
            self._cursor.next = max(self._cursor.next, chunk.end)
            await self._save()

    async def _save(self) -> None:
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._saved = time.monotonic()
            await self._cursor.save()
