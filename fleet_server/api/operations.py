"""Long-running operations."""

from typing import Any

from fastapi import APIRouter

from fleet_server.api.answers import Answer, ListOf
from fleet_server.api.context import Asker, Context, Paging
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
def list_operations(context: Context, paging: Paging, _asker: Asker) -> ListOf[OperationShown]:
    """List operations, newest first."""
    page = context.operations.list_operations(paging)
    items = [OperationShown.model_validate(plain_operation(item)) for item in page.items]
    return ListOf(items=items, next=page.next)


@router.get("/{operation}")
def show_operation(operation: str, context: Context, _asker: Asker) -> OperationShown:
    """Show an operation."""
    return OperationShown.model_validate(plain_operation(context.operations.show(operation)))


@router.delete("/{operation}")
def cancel_operation(operation: str, context: Context, _asker: Asker) -> OperationShown:
    """Cancel an operation that has not ended."""
    return OperationShown.model_validate(plain_operation(context.operations.cancel(operation)))
