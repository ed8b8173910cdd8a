"""Groups of permissions, made by migrations: what each role may do is written there, by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

ACTIONS = ("add", "change", "delete", "view")
VIEWER, OPERATOR = "viewer", "operator"


class UnknownPermission(Exception):
    """The error of a migration that names a permission of no model."""


def grant(apps: Any, role: str, permissions: Iterable[str]) -> None:
    """Gives a role permissions like `exchanges.view_market`; what it has stays. Twice changes nothing.

    In a new database Django makes permissions only after the last migration. Those that are named here are made here,
    and Django then finds them.
    """
    group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=role)
    group.permissions.add(*[_permission(apps, *_parts(name)) for name in permissions])


def withdraw(apps: Any, role: str) -> None:
    """Removes the role, and with it people's membership, as the way back; permissions stay."""
    apps.get_model("auth", "Group").objects.filter(name=role).delete()


def view(app: str, models: str) -> Sequence[str]:
    """Returns the permissions to look at these models, named one after the other."""
    return [f"{app}.view_{model}" for model in models.split()]


def _parts(name: str) -> tuple[str, str, str]:
    app, _, codename = name.partition(".")
    action, _, model = codename.partition("_")
    if action not in ACTIONS or not model:
        raise UnknownPermission(name)
    return app, action, model


def _permission(apps: Any, app: str, action: str, model: str) -> Any:
    try:
        words = apps.get_model(app, model)._meta.verbose_name
    except LookupError as error:
        raise UnknownPermission(f"{app}.{action}_{model}") from error
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label=app, model=model)
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=f"{action}_{model}", defaults={"name": f"Can {action} {words}"}
    )
    return permission
