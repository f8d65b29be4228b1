"""Groups: named label queries over devices."""

from sqlalchemy import Connection

from edge_agent.contract.topics import check_name
from fleet_server.core.selectors import Selector, SelectorError, Subject, matches, parse_selector
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.errors import InvalidError
from fleet_server.store import devices, groups
from fleet_server.store.database import Database
from fleet_server.store.pages import Page, PageRequest


def subject_of(device: devices.Device) -> Subject:
    """Return what a query sees of a device."""
    return Subject(device.id, device.profile, str(device.capabilities.get("arch", "")), device.labels)


def read_selector(query: str) -> Selector:
    """Parse a query.

    Raises:
        InvalidError: it is malformed; the message says where.
    """
    try:
        return parse_selector(query)
    except SelectorError as error:
        raise InvalidError(str(error)) from error


def members_of(connection: Connection, group: groups.Group) -> tuple[devices.Device, ...]:
    """Return a group's devices in the order of ids."""
    selector = read_selector(group.query)
    return tuple(item for item in devices.all_devices(connection) if matches(selector, subject_of(item)))


class Groups:
    """Makes, shows and removes groups."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, name: str, query: str, actor: str, *, accept_auto: bool = False) -> groups.Group:
        """Make a group; with `accept_auto`, versions of automatic retraining may be rolled out to it.

        Raises:
            InvalidError: the name or the query is malformed.
            ConflictError: there is one of this name.
        """
        try:
            check_name(name)
        except ValueError as error:
            raise InvalidError(str(error)) from error
        group = groups.Group(name, read_selector(query).text, self._clock(), accept_auto)
        with self._database.write() as connection:
            groups.insert_group(connection, group)
            record_audit(connection, group.created, actor, "group_made", name, {"query": group.query})
        return group

    def show(self, name: str) -> tuple[groups.Group, tuple[str, ...], dict[str, int]]:
        """Return a group, the ids of its devices, and its target version of each model."""
        with self._database.read() as connection:
            group = groups.get_group(connection, name)
            members = tuple(item.id for item in members_of(connection, group))
            targets = {item.model: item.version for item in groups.all_targets(connection) if item.group == name}
        return group, members, targets

    def list_groups(self, request: PageRequest) -> Page[tuple[groups.Group, tuple[str, ...], dict[str, int]]]:
        """Return one page of the groups."""
        with self._database.read() as connection:
            page = groups.page_groups(connection, request)
            targets = groups.all_targets(connection)
            items = tuple(
                (
                    group,
                    tuple(item.id for item in members_of(connection, group)),
                    {item.model: item.version for item in targets if item.group == group.name},
                )
                for group in page.items
            )
        return Page(items, page.next)

    def remove(self, name: str, actor: str) -> None:
        """Remove a group; its devices keep what they run.

        Raises:
            NotFoundError: there is none of this name.
            ConflictError: a rollout of it is open.
        """
        with self._database.write() as connection:
            groups.delete_group(connection, name)
            record_audit(connection, self._clock(), actor, "group_removed", name)
