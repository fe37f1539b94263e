# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A gate opens after some clean answers in a row, and only then."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

#: The options of every gate; the doc fragment `gate` describes them.
OPTIONS = {
    "samples": {"type": "int", "default": 3},
    "interval": {"type": "float", "default": 2.0},
    "timeout": {"type": "int", "default": 60},
    "gate": {"type": "bool", "default": True},
}


@dataclass
class Answer:
    """One look at a cluster.

    Attributes:
        reasons: why the member may not be lost now; empty when it may.
        leader: whether the member leads (ZooKeeper's leader, Kafka's controller); None where nobody could say.
        running: whether the member serves.
        details: what else a caller wants to see.
    """

    reasons: list[str] = field(default_factory=list)
    leader: bool | None = None
    running: bool = False
    details: dict = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return not self.reasons

    def as_result(self, samples: int) -> dict:
        return {
            "healthy": self.healthy, "leader": self.leader, "running": self.running, "reasons": self.reasons,
            "clean_samples": samples, **self.details,
        }  # fmt: skip


def wait(look, samples, interval, timeout, clock=time.monotonic, sleep=time.sleep):
    """Look until `samples` answers in a row were clean, or `timeout` seconds are over.

    Args:
        look: gives an Answer. An exception that it lets through is an answer that could not be had: it counts as not clean.
        interval: seconds between two looks.

    Returns:
        The last answer, and how many clean ones in a row there were at the end.
    """
    deadline = clock() + timeout
    clean = 0
    while True:
        try:
            answer = look()
        except Exception as problem:  # whatever keeps the question from being answered blocks
            answer = Answer([f"no answer: {type(problem).__name__}: {problem}"])
        clean = clean + 1 if answer.healthy else 0
        if clean >= samples or clock() + interval > deadline:
            return answer, clean
        sleep(interval)


def conclude(module, look, blocked):
    """End a module: with the answer, or with a failure where the gate stayed shut.

    Args:
        blocked: what can't be done now, as the beginning of a sentence.
    """
    wanted = module.params
    # Without a gate one look is enough, whatever it shows.
    answer, clean = wait(look, wanted["samples"], wanted["interval"], wanted["timeout"] if wanted["gate"] else 0)
    result = answer.as_result(clean)
    if wanted["gate"] and clean < wanted["samples"]:
        why = "; ".join(answer.reasons) or f"only {clean} of {wanted['samples']} clean answers in a row within {wanted['timeout']} s"
        module.fail_json(msg=f"{blocked}: {why}", **result)
    module.exit_json(changed=False, **result)
