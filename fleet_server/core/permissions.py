"""Who may do what: permissions, the roles that have them, and the limits of a scoped key.

House rules: a role is a set of permissions, and nothing else asks for a role by its name; what the tables do not grant
is refused; a limit that a deed says nothing about refuses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody is here for."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    PUBLISHER = "publisher"
    APPROVER = "approver"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a route asks for."""

    READ = "read"
    DEVICES = "devices"
    TOKENS = "tokens"
    GROUPS = "groups"
    ROLLOUTS = "rollouts"
    PUBLISH = "publish"
    DATA = "data"
    APPROVE = "approve"
    YANK = "yank"
    AUDIT = "audit"
    ACCESS = "access"
    SERVER = "server"


MEANING: Mapping[Permission, str] = {
    Permission.READ: "see the fleet, models, rollouts, telemetry and logs; make a sign-in link for oneself",
    Permission.DEVICES: "label, quarantine, revoke and remove devices",
    Permission.TOKENS: "make and revoke enrolment tokens",
    Permission.GROUPS: "make and remove groups",
    Permission.ROLLOUTS: "start, pause, resume, promote and abort rollouts",
    Permission.PUBLISH: "upload, build and retrain versions, set pipelines, cancel builds, push releases",
    Permission.DATA: "read, export and delete labelled rows that devices sent",
    Permission.APPROVE: "approve rollouts and devices",
    Permission.YANK: "withdraw versions and releases",
    Permission.AUDIT: "read, verify and export the audit log",
    Permission.ACCESS: "make and take away users, roles, keys and sessions",
    Permission.SERVER: "the server's own keys and settings, backup and restore",
}

_VIEWER = frozenset({Permission.READ})
_OPERATOR = _VIEWER | {Permission.DEVICES, Permission.TOKENS, Permission.GROUPS, Permission.ROLLOUTS}

GRANTS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.PUBLISHER: _OPERATOR | {Permission.PUBLISH, Permission.DATA},
    Role.APPROVER: _OPERATOR | {Permission.APPROVE, Permission.YANK, Permission.AUDIT},
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """The groups and models that somebody is limited to; None is no limit of that kind.

    What a thing within these limits may be changed by is the role's matter; reading is never limited.
    """

    groups: frozenset[str] | None = None
    models: frozenset[str] | None = None

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.groups is not None or self.models is not None


EVERYTHING = Scope()


def roles_with(permission: Permission) -> frozenset[Role]:
    """Return the roles that have a permission."""
    return frozenset(role for role, granted in GRANTS.items() if permission in granted)


def judge_permission(role: Role, permission: Permission) -> str | None:
    """Return why a role may not do this, or None where it may."""
    if permission in GRANTS[role]:
        return None
    able = ", ".join(role for role in Role if permission in GRANTS[role])
    return f"the role {role} may not do this (it needs {permission!s}: {able})"


def judge_scope(scope: Scope, group: str | None = None, model: str | None = None) -> str | None:
    """Return why a change of this group and this model is outside of a scope, or None where it is inside.

    A change that names no group is outside of every limit to groups, and so with models: a key for one group must not
    reach others by a route that speaks of none.
    """
    for kind, allowed, named in (("groups", scope.groups, group), ("models", scope.models, model)):
        if allowed is not None and named not in allowed:
            within = ", ".join(sorted(allowed))
            return f"this key is limited to the {kind} {within}, and this is not within them"
    return None
