"""The HTTP application: every router, problems for errors, headers and limits for all."""

from fastapi import FastAPI, Request

from fleet_server.api import (
    audit,
    devices,
    drift,
    explanations,
    feedback,
    fleet,
    groups,
    models,
    operations,
    pages,
    people,
    pipelines,
    problems,
    proposals,
    records,
    releases,
    rollouts,
    sessions,
    telemetry,
    tokens,
)
from fleet_server.api.askers import refuse_upload
from fleet_server.api.context import ApiContext
from fleet_server.api.security import SecurityMiddleware

ROUTERS = (
    fleet.router,
    tokens.router,
    devices.router,
    models.router,
    pipelines.router,
    proposals.router,
    groups.router,
    releases.router,
    rollouts.router,
    explanations.router,
    drift.router,
    telemetry.router,
    feedback.router,
    records.router,
    operations.router,
    audit.router,
    people.router,
    sessions.router,
    pages.router,
)


def build_application(context: ApiContext, version: str) -> FastAPI:
    """Return the application over these services."""
    app = FastAPI(
        title="Edgeloop",
        version=version,
        summary="A fleet of devices and the models that they run.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.context = context
    for router in ROUTERS:
        app.include_router(router, responses=problems.RESPONSES)
    problems.install(app)
    pages.mount(app)
    app.add_middleware(
        SecurityMiddleware,
        upload_bytes=context.upload_bytes + problems.FORM_OVERHEAD_BYTES,
        refuse_upload=lambda scope: refuse_upload(Request(scope), context),
    )
    return app
