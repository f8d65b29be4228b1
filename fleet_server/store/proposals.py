"""Pipelines and proposals: which document is a model's present pipeline, and how each proposal stands."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from fleet_server.core.proposal_machine import ENDED, ProposalState
from fleet_server.core.proposals import Proposal
from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import rollouts
from fleet_server.store.schema_proposals import pipelines, proposals


@dataclass(frozen=True, slots=True)
class StoredPipeline:
    """Which document is a model's pipeline, since when (epoch ms) and by whom."""

    model: str
    digest: str
    author: str
    created: int


_read_pipeline = reader(StoredPipeline)
_read_plain = reader(Proposal, "n", "open_model")


def _read(row: Any) -> Proposal:
    plain = _read_plain(row)
    return dataclasses.replace(plain, state=ProposalState(plain.state))


def save_pipeline(connection: Connection, pipeline: StoredPipeline) -> None:
    """Make this the model's pipeline."""
    delete_pipeline(connection, pipeline.model)
    connection.execute(insert(pipelines).values(dataclasses.asdict(pipeline)))


def find_pipeline(connection: Connection, model: str) -> StoredPipeline | None:
    """Return a model's pipeline, or None."""
    row = connection.execute(select(pipelines).where(pipelines.c.model == model)).one_or_none()
    return None if row is None else _read_pipeline(row)


def delete_pipeline(connection: Connection, model: str) -> bool:
    """Take a model's pipeline away; return whether it had one."""
    return connection.execute(delete(pipelines).where(pipelines.c.model == model)).rowcount > 0


def save_proposal(connection: Connection, proposal: Proposal) -> None:
    """Add a proposal, or save how it stands now."""
    values = {field.name: getattr(proposal, field.name) for field in dataclasses.fields(proposal)}
    values |= {"state": proposal.state.value, "evidence": dict(proposal.evidence), "fresh": dict(proposal.fresh)}
    values["verdict"] = None if proposal.verdict is None else dict(proposal.verdict)
    values["open_model"] = None if proposal.state in ENDED else proposal.model
    done = connection.execute(update(proposals).where(proposals.c.id == proposal.id).values(values))
    if done.rowcount == 0:
        connection.execute(insert(proposals).values(values))


def get_proposal(connection: Connection, proposal: str) -> Proposal:
    """Return a proposal.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(select(proposals).where(proposals.c.id == proposal)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no proposal {proposal!r}")
    return _read(row)


def open_proposals(connection: Connection) -> tuple[Proposal, ...]:
    """Return the proposals that owe something, the oldest first."""
    rows = connection.execute(select(proposals).where(proposals.c.open_model.is_not(None)).order_by(proposals.c.n))
    return tuple(_read(row) for row in rows)


def find_open(connection: Connection, model: str) -> Proposal | None:
    """Return a model's open proposal, or None."""
    row = connection.execute(select(proposals).where(proposals.c.open_model == model)).one_or_none()
    return None if row is None else _read(row)


def find_maker(connection: Connection, model: str, version: int) -> Proposal | None:
    """Return the proposal that a version came of, or None."""
    here = (proposals.c.model == model) & (proposals.c.made == version)
    row = connection.execute(select(proposals).where(here)).first()
    return None if row is None else _read(row)


def last_ended(connection: Connection, model: str) -> int | None:
    """Return when a model's last proposal ended (epoch ms), or None."""
    here = (proposals.c.model == model) & proposals.c.open_model.is_(None)
    found = connection.execute(select(func.max(proposals.c.changed)).where(here)).scalar_one()
    return None if found is None else int(found)


def page_proposals(connection: Connection, request: PageRequest, model: str | None = None) -> Page[Proposal]:
    """Return one page of proposals, newest first."""
    query = select(proposals)
    if model is not None:
        query = query.where(proposals.c.model == model)
    return read_page(connection, query, proposals.c.n, request, _read, newest_first=True)


def last_options(connection: Connection, model: str, version: int, group: str) -> Mapping[str, Any]:
    """Return the options of the newest rollout of a version to a group; nothing where there was none."""
    here = (rollouts.c.model == model) & (rollouts.c.version == version) & (rollouts.c.group == group)
    row = connection.execute(select(rollouts.c.options).where(here).order_by(rollouts.c.n.desc())).first()
    return {} if row is None else dict(row[0])


def find_rollout_by(connection: Connection, model: str, version: int, author: str) -> str | None:
    """Return the id of the newest rollout of a version that this author began, or None."""
    here = (rollouts.c.model == model) & (rollouts.c.version == version) & (rollouts.c.author == author)
    row = connection.execute(select(rollouts.c.id).where(here).order_by(rollouts.c.n.desc())).first()
    return None if row is None else str(row[0])
