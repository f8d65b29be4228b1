"""Long-running operations."""

from typing import Annotated, Any

from fastapi import APIRouter

from fleet_server.api.answers import Answer, ListOf
from fleet_server.api.askers import Reader, needs_within
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.services.operations import plain_operation

router = APIRouter(prefix="/api/v1/operations", tags=["operations"])


class OperationShown(Answer):
    """An operation: how far it is, and how it ended."""

    id: str
    kind: str
    subject: str
    state: str
    progress: list[str]
    result: dict[str, Any] | None
    error: str | None
    created: str
    updated: str


@router.get("")
def list_operations(context: Context, paging: Paging, _asker: Reader) -> ListOf[OperationShown]:
    """List operations, newest first."""
    page = context.operations.list_operations(paging)
    items = [OperationShown.model_validate(plain_operation(item)) for item in page.items]
    return ListOf(items=items, next=page.next)


@router.get("/{operation}")
def show_operation(operation: str, context: Context, _asker: Reader) -> OperationShown:
    """Show an operation."""
    return OperationShown.model_validate(plain_operation(context.operations.show(operation)))


@router.delete("/{operation}")
def cancel_operation(
    operation: str, context: Context, asker: Annotated[Principal, needs_within(Permission.PUBLISH)]
) -> OperationShown:
    """Cancel an operation that has not ended."""
    asker.require_within(model=context.operations.show(operation).subject)
    return OperationShown.model_validate(plain_operation(context.operations.cancel(operation, asker.name)))
