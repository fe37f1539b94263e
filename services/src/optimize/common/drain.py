"""Drain: taken out of the load balancer by readiness, for a limited time.

Root writes the end of the lease into a file, as Unix time in seconds, and renews it as long as it works on the host:

    date -d '+10 min' +%s > /run/optimize-collect/drain

A lease that has ended counts as none, so a controller that died leaves no host drained for ever. The service only reads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)


class Drain:
    """The lease in a file.

    Args:
        path: the file; need not exist.
        clock: Unix time in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock = path, clock
        self._complained = ""

    def until(self) -> float:
        """End of the lease as Unix time; 0 without one. Text that is no time is no lease, and is logged once."""
        try:
            text = self.path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return 0.0
        try:
            return float(text)
        except ValueError:
            if text != self._complained:
                self._complained = text
                log.error("drain file does not hold a Unix time in seconds: ignored", extra={"fields": {"file": str(self.path)}})
            return 0.0

    @property
    def active(self) -> bool:
        # Not a number compares false: no lease.
        return self.until() > self._clock()
