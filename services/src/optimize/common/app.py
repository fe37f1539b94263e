"""The HTTP application of a service: its own routes and those that every service has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, get
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ControllerRouterHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from optimize.common.health import Health

log = logging.getLogger(__name__)


class Problem(msgspec.Struct):
    """What is wrong with one field of one event of a request."""

    index: int
    field: str
    problem: str


def problems(status: int, found: Sequence[Problem], headers: dict[str, str] | None = None) -> Response[bytes]:
    """An error answer in the one shape that every service has."""
    return Response(msgspec.json.encode({"errors": found}), status_code=status, media_type=MediaType.JSON, headers=headers)


def _refused(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    # A ValidationException says in `extra` which parameters it means.
    extra = [item for item in error.extra if isinstance(item, dict)] if isinstance(error.extra, list) else []
    found = [Problem(0, str(item.get("key") or "request"), str(item.get("message"))) for item in extra]
    return problems(error.status_code, found or [Problem(0, "request", error.detail)], dict(error.headers or {}))


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request failed", exc_info=error, extra={"fields": {"method": request.method, "path": request.url.path}})
    return problems(500, [Problem(0, "request", "internal error")])


def create(health: Health, routes: Sequence[ControllerRouterHandler], cors: CORSConfig | None = None) -> Litestar:
    """The application: `routes`, /healthz, /readyz, /metrics and /openapi/openapi.json."""

    @get("/healthz", media_type=MediaType.TEXT, sync_to_thread=False)
    def healthz() -> str:
        """200 while the process lives."""
        return "ok\n"

    @get("/readyz")
    async def readyz() -> Response[bytes]:
        """200 while requests may be sent here, otherwise 503; the body says why."""
        ready, state = await health.readiness()
        return Response(msgspec.json.encode(state) + b"\n", status_code=200 if ready else 503, media_type=MediaType.JSON)

    @get("/metrics")
    async def metrics() -> Response[bytes]:
        """Metrics in Prometheus' text format."""
        await health.readiness()
        return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    return Litestar(
        [healthz, readyz, metrics, *routes],
        openapi_config=OpenAPIConfig(
            title=f"optimize-{health.service}", version=health.version, path="/openapi", render_plugins=[JsonRenderPlugin()]
        ),
        exception_handlers={HTTPException: _refused, Exception: _failed},
        cors_config=cors,
        logging_config=None,
    )
