"""Viewer and operator: what their groups hold, and what each of them can do in the admin."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

import marketmon.urls  # noqa: F401  (its import registers the admin's pages)
from board import role_grants
from collectors.models import Worker
from exchanges.models import AuditEntry, Exchange
from lib import clock
from operations import commands
from tests.api.conftest import now, world

__all__ = ["now", "world"]

MIGRATION = importlib.import_module("board.migrations.0011_roles")
OF_DEPTH = importlib.import_module("board.migrations.0012_depth_roles")
OF_INCIDENTS = importlib.import_module("board.migrations.0013_incident_roles")
OF_OBJECTIVES = importlib.import_module("board.migrations.0014_objective_roles")
OF_ARCHIVE = importlib.import_module("board.migrations.0015_archive_roles")
OF_IMPORTS = importlib.import_module("board.migrations.0016_history_import_roles")
CONFIRMED = {"_form_submitted": "True"}
# Of the models with admin pages, those that are for administrators alone.
FOR_ADMINISTRATORS = {
    "auth.user", "auth.group", "auditlog.logentry", "access.apikey", "access.creditentry",
    "usersessions.usersession", "django_celery_beat.solarschedule", "django_celery_beat.clockedschedule",
}  # fmt: skip
SignIn = Callable[[str], Client]


def make_roles() -> None:
    MIGRATION.make_roles(apps, None)
    OF_DEPTH.add_depth(apps, None)
    OF_INCIDENTS.add_incidents(apps, None)
    OF_OBJECTIVES.add_objectives(apps, None)
    OF_ARCHIVE.add_archive(apps, None)
    OF_IMPORTS.add_imports(apps, None)


@pytest.fixture
def made(db: None) -> None:
    """The roles as the migrations make them, whatever tests with real commits have emptied."""
    make_roles()


@pytest.fixture
def as_(made: None, client: Client) -> SignIn:
    def sign_in(role: str) -> Client:
        user = User.objects.create_user(role, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return client

    return sign_in


def held(role: str) -> set[str]:
    permissions = Permission.objects.filter(group__name=role).select_related("content_type")
    return {f"{each.content_type.app_label}.{each.codename}" for each in permissions}


# --- what the groups hold -----------------------------------------------------------------------------------------


def test_a_viewer_may_only_look_and_an_operator_may_look_at_the_same(made):
    assert {name.split(".")[1].split("_")[0] for name in held("viewer")} == {"view"}
    assert held("viewer") < held("operator")


def test_nobody_gets_users_or_keys(made):
    forbidden = re.compile(r"auth\.|access\.\w+_(apikey|creditentry|allowance)|access\.(add|change|delete)_|auditlog\.")

    assert not [name for role in ("viewer", "operator") for name in held(role) if forbidden.match(name)]


def test_every_page_of_the_admin_is_a_viewers_or_said_not_to_be(made):
    """A new model's page: grant it in a migration of its app, or name it above."""
    pages = {model._meta.label_lower for model in admin.site._registry}
    seen = {name.replace(".view_", ".") for name in held("viewer")}

    assert pages - seen == FOR_ADMINISTRATORS


def test_making_them_again_changes_nothing_and_keeps_what_was_added(made):
    extra = Permission.objects.get(codename="view_apikey")
    Group.objects.get(name="viewer").permissions.add(extra)
    before = held("viewer")

    make_roles()

    assert held("viewer") == before
    assert "access.view_apikey" in before
    assert Group.objects.count() == 2


def test_in_a_new_database_they_come_before_djangos_permissions_and_are_found_by_it(db):
    """Django makes permissions after the last migration."""
    Group.objects.all().delete()
    Permission.objects.all().delete()
    ContentType.objects.all().delete()
    ContentType.objects.clear_cache()

    make_roles()
    names = dict(Permission.objects.values_list("codename", "name"))
    count = len(held("operator"))
    for config in apps.get_app_configs():
        create_permissions(config, verbosity=0)

    of_later = {
        *OF_INCIDENTS.LOOK, *OF_INCIDENTS.ACT, *OF_OBJECTIVES.LOOK, *OF_OBJECTIVES.ACT, *OF_ARCHIVE.LOOK,
        *OF_IMPORTS.LOOK, *OF_IMPORTS.ACT,
    }  # fmt: skip
    assert count == len({*MIGRATION.LOOK, *MIGRATION.ACT, *OF_DEPTH.LOOK, *of_later})
    assert names["change_exchange"] == "Can change exchange"
    assert Permission.objects.filter(codename="change_exchange").count() == 1
    assert len(held("operator")) == count


def test_the_way_back_takes_the_groups_only(made):
    MIGRATION.drop_roles(apps, None)

    assert not Group.objects.exists()
    assert Permission.objects.filter(codename="change_exchange").exists()


@pytest.mark.parametrize("name", ["exchanges.view_nothing", "exchanges.operate_exchange", "exchanges"])
def test_a_permission_that_nobody_has_is_refused(db, name):
    with pytest.raises(role_grants.UnknownPermission):
        role_grants.grant(apps, "viewer", [name])


# --- a viewer -----------------------------------------------------------------------------------------------------


def test_a_viewer_sees_every_list_and_no_button(as_, world):
    world(4)
    viewer = as_("viewer")
    models = [model for model in admin.site._registry if model._meta.label_lower not in FOR_ADMINISTRATORS]

    for model in models:
        page = viewer.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
        text = page.content.decode()
        assert page.status_code == 200, model
        assert not page.context["cl"].model_admin.get_actions(page.wsgi_request), model
        assert 'name="_selected_action"' not in text, model
        assert not re.search(r'href="[^"]*/(add|blacklist|lift|restart|remove|undo|enable|disable)/', text), model


def test_a_viewer_sees_an_exchanges_page_without_a_button(as_, world, now):
    commands.blacklist("binance", by="olga", now=now, reason="")
    viewer = as_("viewer")

    page = viewer.get("/admin/exchanges/exchange/kraken/change/")
    text = page.content.decode()

    assert page.status_code == 200
    assert 'name="_save"' not in text
    assert "check-now" not in text
    assert not re.search(r"kraken/(blacklist|disable|restart|refresh|remove)/", text)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_nobody_is_led_to_pages_that_refuse_him(as_, world, role):
    someone = as_(role)
    text = someone.get("/admin/exchanges/market/").content.decode()
    places = set(re.findall(r'href="(/(?:admin|board|status)[^"?#]*)"', text)) - {"/admin/logout/"}

    assert len(places) > 10
    assert {place: someone.get(place).status_code for place in places if someone.get(place).status_code >= 400} == {}


EXCHANGE_VERBS = ("blacklist", "lift", "enable", "disable", "restart", "refresh", "remove")
FORBIDDEN = [
    *(f"/admin/exchanges/exchange/kraken/{verb}/" for verb in EXCHANGE_VERBS),
    "/admin/exchanges/exchange/refresh_all/",
    "/admin/exchanges/exchange/kraken/check-now/",
    "/admin/exchanges/exchange/kraken/change/",
    "/admin/exchanges/exchange/kraken/delete/",
    "/admin/exchanges/exchange/add/",
    "/admin/collectors/worker/kraken/restart/",
    "/admin/exchanges/market/{market}/blacklist/",
    "/admin/exchanges/market/{market}/lift/",
    "/admin/exchanges/blacklistentry/{entry}/lift/",
    "/admin/exchanges/auditentry/{audit}/undo/",
    "/admin/metrics/grid/add/",
    "/admin/metrics/series/add/",
    "/admin/access/tier/add/",
    "/admin/access/apikey/add/",
    "/admin/auth/user/add/",
    "/board/act/restart/kraken",
    "/board/act/backfill/kraken",
    "/board/drills/start",
]


@pytest.mark.parametrize("path", FORBIDDEN)
def test_a_viewers_post_is_refused(as_, world, now, path):
    world(2)
    commands.blacklist("binance", by="olga", now=now, reason="")
    entry = Exchange.objects.get(pk="binance").blacklist_entries.get()
    market = Exchange.objects.get(pk="kraken").markets.first()
    audits = AuditEntry.objects.count()
    viewer = as_("viewer")
    place = path.format(market=market.pk, entry=entry.pk, audit=AuditEntry.objects.latest("id").pk)

    response = viewer.post(place, {**CONFIRMED, "reason": "because"})

    assert response.status_code == 403
    assert AuditEntry.objects.count() == audits
    assert Exchange.objects.get(pk="kraken").is_collected


DJANGOS_OWN = ("_changelist", "_add", "_history", "_delete", "_change")


def test_every_button_of_the_admin_refuses_a_viewer(as_, world):
    """Also those that are made after this test."""
    viewer = as_("viewer")
    resolvers = [each for each in admin.site.urls[0] if isinstance(each, URLResolver)]
    patterns = [
        (f"/admin/{resolver.pattern}{pattern.pattern}", pattern)
        for resolver in resolvers
        for pattern in resolver.url_patterns
        if isinstance(pattern, URLPattern) and pattern.name and not pattern.name.endswith(DJANGOS_OWN)
    ]
    answers = {
        path: viewer.post(re.sub("<[^>]+>", "1", path), CONFIRMED).status_code
        for path, pattern in patterns
        if "now" not in str(pattern.pattern).split("/")
    }

    assert len(answers) > 20
    assert {path: status for path, status in answers.items() if status not in (403, 405)} == {}


@pytest.mark.parametrize(
    ("page", "action", "key"),
    [
        ("exchanges/exchange", "disable_selected", "kraken"),
        ("exchanges/exchange", "blacklist_selected", "kraken"),
        ("django_celery_beat/periodictask", "switch_off", "task"),
        ("django_celery_beat/periodictask", "disable_tasks", "task"),
        ("django_celery_beat/periodictask", "delete_selected", "task"),
    ],
)
def test_a_viewers_action_on_a_selection_does_nothing(as_, world, page, action, key):
    task = PeriodicTask.objects.create(name="t", task="t", interval=IntervalSchedule.objects.create(every=1))
    viewer = as_("viewer")

    viewer.post(
        f"/admin/{page}/",
        {"action": action, "_selected_action": str(task.pk) if key == "task" else key, **CONFIRMED, "reason": "x"},
    )

    assert Exchange.objects.get(pk="kraken").is_collected
    assert PeriodicTask.objects.get(name="t").enabled
    assert not AuditEntry.objects.exists()


def test_a_viewer_is_refused_by_the_operators_api(as_, world, settings):
    settings.ADMIN_API_KEY = "k9Xw2mQ7vB4nR8tY1uZ6pL3sD5fG0hJa"
    viewer = as_("viewer")

    response = viewer.post("/api/v1/exchanges/workers/kraken/restart")

    assert response.status_code == 403, response.content


# --- an operator --------------------------------------------------------------------------------------------------


def test_an_operator_restarts_and_it_is_audited(as_, world):
    operator = as_("operator")
    generation = Worker.objects.get(pk="kraken").generation

    response = operator.post("/admin/collectors/worker/kraken/restart/", CONFIRMED)

    assert response.status_code in (200, 302)
    assert Worker.objects.get(pk="kraken").generation == generation + 1
    audit = AuditEntry.objects.get()
    assert (audit.who, audit.verb, audit.exchange) == ("operator", "restart", "kraken")


def test_an_operator_blacklists_and_lifts(as_, world):
    operator = as_("operator")

    operator.post("/admin/exchanges/exchange/kraken/blacklist/", {**CONFIRMED, "reason": "odd prices"})
    assert Exchange.objects.get(pk="kraken").blacklisted

    operator.post("/admin/exchanges/exchange/kraken/lift/", CONFIRMED)
    assert not Exchange.objects.get(pk="kraken").blacklisted
    assert list(AuditEntry.objects.order_by("id").values_list("verb", flat=True)) == ["blacklist", "lift"]


@pytest.mark.parametrize(
    "path",
    ["auth/user/", "auth/group/", "access/apikey/", "access/apikey/add/", "access/creditentry/", "auditlog/logentry/"],
)
def test_an_operator_sees_neither_users_nor_keys(as_, path):
    assert as_("operator").get(f"/admin/{path}").status_code == 403


def test_an_operator_does_not_change_the_schedule(as_, world):
    task = PeriodicTask.objects.create(name="t", task="t", interval=IntervalSchedule.objects.create(every=1))
    operator = as_("operator")

    operator.post("/admin/django_celery_beat/periodictask/", {"action": "switch_off", "_selected_action": str(task.pk)})
    assert operator.post(f"/admin/django_celery_beat/periodictask/{task.pk}/change/", {}).status_code == 403

    assert PeriodicTask.objects.get(name="t").enabled


# --- an administrator ---------------------------------------------------------------------------------------------


def test_switching_a_task_off_leaves_a_trace(db, client):
    client.force_login(User.objects.create_superuser("olga"))
    task = PeriodicTask.objects.create(name="t", task="t", interval=IntervalSchedule.objects.create(every=1))

    client.post("/admin/django_celery_beat/periodictask/", {"action": "switch_off", "_selected_action": str(task.pk)})

    assert not PeriodicTask.objects.get(name="t").enabled
    trace = LogEntry.objects.get(object_id=str(task.pk))
    assert (trace.user.get_username(), trace.change_message) == ("olga", "Disabled.")
    assert clock.now() >= trace.action_time
