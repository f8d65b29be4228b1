"""Roles hold what the documentation says, and a scope refuses whatever it is not told to be inside of."""

import pytest

from fleet_server.core.permissions import (
    EVERYTHING,
    GRANTS,
    MEANING,
    Permission,
    Role,
    Scope,
    judge_permission,
    judge_scope,
    roles_with,
)


def test_roles_grow_from_viewer_to_admin() -> None:
    assert GRANTS.keys() == set(Role)
    assert GRANTS[Role.VIEWER] < GRANTS[Role.OPERATOR] < GRANTS[Role.PUBLISHER] < GRANTS[Role.ADMIN]
    assert GRANTS[Role.OPERATOR] < GRANTS[Role.APPROVER] < GRANTS[Role.ADMIN]
    assert GRANTS[Role.ADMIN] == set(Permission) == MEANING.keys()


def test_who_publishes_does_not_approve() -> None:
    assert Permission.APPROVE not in GRANTS[Role.PUBLISHER]
    assert Permission.PUBLISH not in GRANTS[Role.APPROVER]


@pytest.mark.parametrize("permission", Permission)
def test_a_refusal_names_who_could(permission: Permission) -> None:
    for role in Role:
        reason = judge_permission(role, permission)
        assert (reason is None) == (role in roles_with(permission))
        if reason is not None:
            assert all(able in reason for able in roles_with(permission))


NORTH, DIGITS = Scope(groups=frozenset({"north"})), Scope(models=frozenset({"digits"}))
BOTH = Scope(frozenset({"north"}), frozenset({"digits"}))


@pytest.mark.parametrize(
    ("scope", "group", "model", "inside"),
    [
        (EVERYTHING, None, None, True),
        (NORTH, "north", "wine", True),
        (NORTH, "south", "digits", False),
        (NORTH, None, "digits", False),
        (DIGITS, "south", "digits", True),
        (DIGITS, "south", "wine", False),
        (DIGITS, None, None, False),
        (BOTH, "north", "digits", True),
        (BOTH, "north", "wine", False),
        (BOTH, "south", "digits", False),
        (Scope(groups=frozenset()), "north", None, False),
    ],
)
def test_scope(scope: Scope, group: str | None, model: str | None, inside: bool) -> None:
    assert (judge_scope(scope, group, model) is None) == inside
