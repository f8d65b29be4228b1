"""The fleet's summary, its live stream, and metrics."""

import asyncio
from collections.abc import AsyncIterable
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from fleet_server.api.answers import Answer
from fleet_server.api.askers import Reader
from fleet_server.api.context import Context
from fleet_server.api.metrics import CONTENT_TYPE, render_metrics

router = APIRouter(tags=["fleet"])
_SNAPSHOT_S = 1.0
# How long a stream outlives the key or the session that opened it.
_RECHECK_S = 15.0


class ServerShown(Answer):
    """This server: its version, the broker's address and its kind, and notes for the operator."""

    version: str
    broker: str
    kind: str
    notes: list[str]


class FleetShown(Answer):
    """The fleet in numbers."""

    devices: int
    online: int
    in_sync: int
    models: int
    rollouts_active: int
    messages_per_s: float
    broker_connected: bool
    server: ServerShown


@router.get("/api/v1/fleet")
def show_fleet(context: Context, _asker: Reader) -> FleetShown:
    """Sum the fleet up."""
    return FleetShown.model_validate(context.fleet.summary())


@router.get("/api/v1/stream", response_class=EventSourceResponse)
async def stream(context: Context, asker: Reader) -> AsyncIterable[ServerSentEvent]:
    """Follow the fleet: `fleet` at most once a second, when it changed; `event`, `rollout`, `decision`, `operation`."""
    loop, wake = asyncio.get_running_loop(), asyncio.Event()

    def rouse() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    watcher = context.announcer.watch(rouse)
    last: dict[str, Any] | None = None
    checked = loop.time()
    try:
        while not context.announcer.closed:
            if loop.time() - checked >= _RECHECK_S:
                if not await run_in_threadpool(context.auth.holds, asker):
                    return
                checked = loop.time()
            summary = await run_in_threadpool(context.fleet.summary)
            shown = FleetShown.model_validate(summary).model_dump()
            if shown != last:
                changed = shown if last is None else {key: value for key, value in shown.items() if value != last[key]}
                last = shown
                yield ServerSentEvent(data=changed, event="fleet")
            deadline = loop.time() + _SNAPSHOT_S
            while (left := deadline - loop.time()) > 0 and not context.announcer.closed:
                try:
                    await asyncio.wait_for(wake.wait(), left)
                except TimeoutError:
                    break
                wake.clear()
                for item in watcher.take():
                    yield ServerSentEvent(data=item.data, event=item.kind)
    finally:
        context.announcer.leave(watcher)


@router.get("/metrics", response_class=PlainTextResponse)
def show_metrics(context: Context, _asker: Reader) -> PlainTextResponse:
    """Return the server's and the fleet's metrics in Prometheus' text format."""
    text = render_metrics(context.fleet.summary(), context.fleet.traffic(), context.telemetry.latest_health())
    return PlainTextResponse(text, media_type=CONTENT_TYPE)
