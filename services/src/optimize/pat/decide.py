"""Decisions: which variation of which experiment a visitor sees.

A decision follows from the experiment's salt and the visitor alone: the same on every host, in every region, after every
restart. Two independent points in [0, 1) are drawn from a hash: one says whether the visitor takes part (traffic), the
other which variation (weights, laid end to end in the document's order). Raising the traffic so keeps everybody who took
part, with the variation they had.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from optimize.common.config import Name

Status = Literal["draft", "running", "paused", "stopped"]


class Refused(Exception):
    """The document can't be used; the text says why."""


class Variation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a visitor may see. Its share of the experiment's visitors is its weight by the sum of all weights."""

    id: Name
    weight: Annotated[float, Meta(ge=0, le=1_000_000)]


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An experiment. Only a running one is decided.

    `traffic` is the share of the site's visitors that take part. `salt` separates the draws of two experiments, and is the
    id where it is not given; a new salt draws anew.
    """

    id: Name
    status: Status
    variations: Annotated[list[Variation], Meta(min_length=1, max_length=100)]
    traffic: Annotated[float, Meta(ge=0, le=1)] = 1.0
    salt: Annotated[str, Meta(max_length=64)] = ""


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A site's experiments."""

    experiments: Annotated[list[Experiment], Meta(max_length=1000)]


class Experiments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All sites' experiments: what is published. `format` is this document's form, `version` grows with each publication."""

    format: Literal[1]
    version: Annotated[int, Meta(ge=0)]
    sites: dict[Name, Site]


class Decision(msgspec.Struct, frozen=True):
    """A visitor's variation in one experiment."""

    experiment: str
    variation: str


_decoder = msgspec.json.Decoder(Experiments)


def parse(document: bytes) -> Experiments:
    """Read a published document.

    Raises:
        Refused: it is not JSON, not of the schema, an id is there twice, or a running experiment has no weight.
    """
    try:
        experiments = _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(str(error)) from error
    for name, site in experiments.sites.items():
        _unique(f"site {name}: experiment", [experiment.id for experiment in site.experiments])
        for experiment in site.experiments:
            where = f"site {name}, experiment {experiment.id}"
            _unique(f"{where}: variation", [variation.id for variation in experiment.variations])
            if experiment.status == "running" and not sum(variation.weight for variation in experiment.variations) > 0:
                raise Refused(f"{where}: the weights' sum is 0")
    return experiments


def _unique(what: str, ids: list[str]) -> None:
    for name in ids:
        if ids.count(name) > 1:
            raise Refused(f"{what} {name} is there twice")


def draw(salt: str, visitor: str) -> tuple[float, float]:
    """Two independent points in [0, 1), the same for ever."""
    # Key and text are told apart: no pair of them has the same hash as another.
    digest = hashlib.blake2b(visitor.encode(), digest_size=16, key=hashlib.blake2b(salt.encode(), digest_size=32).digest()).digest()
    return int.from_bytes(digest[:8]) / 2**64, int.from_bytes(digest[8:]) / 2**64


def decide(experiment: Experiment, visitor: str) -> str | None:
    """The variation that a visitor sees; None for one who does not take part."""
    takes_part, point = draw(experiment.salt or experiment.id, visitor)
    if experiment.status != "running" or takes_part >= experiment.traffic:
        return None
    point *= sum(variation.weight for variation in experiment.variations)
    chosen = None
    for variation in experiment.variations:
        if variation.weight > 0:
            chosen = variation.id
            if point < variation.weight:
                break
            point -= variation.weight
    return chosen


def decisions(experiments: Experiments, site: str, visitor: str) -> list[Decision]:
    """A visitor's decisions on a site; none for a site that is not known."""
    known = experiments.sites.get(site)
    if known is None:
        return []
    found = ((experiment.id, decide(experiment, visitor)) for experiment in known.experiments)
    return [Decision(experiment, variation) for experiment, variation in found if variation is not None]
