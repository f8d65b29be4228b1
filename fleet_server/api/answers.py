"""What answers have in common: lists come in pages, times are ISO 8601 text in UTC."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from fleet_server.services.clock import iso

T = TypeVar("T")


def _iso(value: Any) -> Any:
    return iso(value) if isinstance(value, int) else value


Time = Annotated[str, BeforeValidator(_iso)]


class Answer(BaseModel):
    """Base of every answer; it may be read from the attributes of our own types."""

    model_config = ConfigDict(from_attributes=True, extra="ignore", protected_namespaces=())


class Body(BaseModel):
    """Base of every request's body: keys that are not known are errors."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class ListOf(BaseModel, Generic[T]):
    """One page of a list; `next` is the cursor of the next, null at the end."""

    items: list[T]
    next: str | None
