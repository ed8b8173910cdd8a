"""An operator's verbs in the admin: confirmed by POST, never done by GET, each with a name in the history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from collectors.models import Worker
from exchanges.models import BlacklistEntry, Exchange
from tests.api.conftest import Fill

LIST = "/admin/exchanges/exchange/"
KRAKEN = f"{LIST}kraken/"
CONFIRMED = {"_form_submitted": "True"}
VERBS = ("blacklist", "lift", "enable", "disable", "restart")


def state(exchange_id: str = "kraken") -> tuple[bool, bool]:
    exchange = Exchange.objects.get(pk=exchange_id)
    return exchange.enabled, exchange.blacklisted


def generation() -> int:
    return Worker.objects.get(pk="kraken").generation


@pytest.mark.parametrize("verb", VERBS)
def test_a_get_shows_the_dialog_and_changes_nothing(operator: Client, world: Fill, verb: str) -> None:
    before = state(), generation()

    response = operator.get(f"{KRAKEN}{verb}/")

    assert response.status_code == 200
    assert "_form_submitted" in response.content.decode()
    assert (state(), generation()) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_post_without_token_or_confirmation_changes_nothing(operator: Client, world: Fill, verb: str) -> None:
    before = state(), generation()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies

    assert strict.post(f"{KRAKEN}{verb}/", {**CONFIRMED, "reason": "x"}).status_code == 403
    assert operator.post(f"{KRAKEN}{verb}/", {"reason": "x"}).status_code == 200
    assert (state(), generation()) == before


def test_blacklisting_stops_collection_and_keeps_the_reason(operator: Client, world: Fill) -> None:
    response = operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "bad prices"}, follow=True)

    entry = BlacklistEntry.objects.get()
    assert state() == (True, True)
    assert (entry.exchange_id, entry.reason, entry.listed_by, entry.expires_at) == (
        "kraken",
        "bad prices",
        "olga",
        None,
    )
    assert generation() == 2
    assert "kraken is blacklisted" in response.content.decode()


def test_a_blacklist_needs_a_reason_and_a_future_end(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": ""})
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "x", "expires_at": "2020-01-01T00:00"})

    assert state() == (True, False)


def test_a_blacklist_may_end_by_itself(operator: Client, world: Fill, now: datetime) -> None:
    ends = (now + timedelta(days=2)).replace(second=0, microsecond=0)

    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "x", "expires_at": f"{ends:%Y-%m-%dT%H:%M}"})

    assert BlacklistEntry.objects.get().expires_at == ends


def test_lifting_closes_the_entry(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "x"})

    operator.post(f"{KRAKEN}lift/", CONFIRMED)

    assert state() == (True, False)
    assert BlacklistEntry.objects.get().lifted_by == "olga"


def test_disable_and_enable(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}disable/", CONFIRMED)
    assert state() == (False, False)

    operator.post(f"{KRAKEN}enable/", CONFIRMED)
    assert state() == (True, False)


def test_restart_replaces_the_loop_from_either_page(operator: Client, world: Fill) -> None:
    Worker.objects.filter(pk="kraken").update(error_count=7)

    operator.post(f"{KRAKEN}restart/", CONFIRMED)
    Worker.objects.filter(pk="kraken").update(error_count=1)
    operator.post("/admin/collectors/worker/kraken/restart/", CONFIRMED)

    assert generation() == 3
    assert Worker.objects.get(pk="kraken").error_count == 0


def test_a_second_restart_at_once_is_told_apart(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}restart/", CONFIRMED)

    page = operator.post(f"{KRAKEN}restart/", CONFIRMED, follow=True).content.decode()

    assert "a moment ago" in page
    assert generation() == 2


def test_a_refusal_is_shown_in_its_own_words(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "x"})

    page = operator.post(f"{KRAKEN}restart/", CONFIRMED, follow=True).content.decode()

    assert "lift the blacklist first" in page


def test_an_exchange_that_does_not_exist_is_refused(operator: Client, world: Fill) -> None:
    page = operator.post(f"{LIST}nope/restart/", CONFIRMED, follow=True).content.decode()

    assert "not found" in page


def test_htmx_is_sent_back_to_the_page_it_came_from(operator: Client, world: Fill) -> None:
    here = {"HX-Request": "true", "HX-Current-URL": "http://testserver/admin/exchanges/exchange/?enabled__exact=1"}
    elsewhere = {"HX-Request": "true", "HX-Current-URL": "http://evil.example/"}

    assert operator.post(f"{KRAKEN}disable/", CONFIRMED, headers=here)["HX-Redirect"] == here["HX-Current-URL"]
    assert operator.post(f"{KRAKEN}enable/", CONFIRMED, headers=elsewhere)["HX-Redirect"] == LIST


@pytest.mark.parametrize("verb", VERBS)
def test_who_may_only_look_may_not_act(client: Client, world: Fill, verb: str) -> None:
    reader = User.objects.create_user("rita", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(reader)

    assert client.get(LIST).status_code == 200
    assert client.post(f"{KRAKEN}{verb}/", {**CONFIRMED, "reason": "x"}).status_code == 403
    assert client.post("/admin/collectors/worker/kraken/restart/", CONFIRMED).status_code == 403
    assert (state(), generation()) == ((True, False), 1)


def chosen(action: str, *ids: str, **more: str) -> dict[str, object]:
    return {"action": action, "_selected_action": ids, "index": "0", **more}


def test_several_at_once_are_confirmed_on_a_page_between(operator: Client, world: Fill) -> None:
    page = operator.post(LIST, chosen("blacklist_selected", "binance", "kraken")).content.decode()

    assert "binance, kraken" in page
    assert 'name="reason"' in page
    assert state() == state("binance") == (True, False)

    operator.post(LIST, chosen("blacklist_selected", "binance", "kraken", reason="both", **CONFIRMED))

    assert state() == state("binance") == (True, True)
    assert set(BlacklistEntry.objects.values_list("reason", flat=True)) == {"both"}


@pytest.mark.parametrize(
    ("action", "expected"), [("disable", (False, False)), ("enable", (True, False)), ("lift", (True, False))]
)
def test_the_other_verbs_for_several(operator: Client, world: Fill, action: str, expected: tuple[bool, bool]) -> None:
    operator.post(LIST, chosen(f"{action}_selected", "kraken", **CONFIRMED))

    assert state() == expected


# --- the form -----------------------------------------------------------------------------------------------------


def form_of(operator: Client, **changes: str) -> dict[str, str]:
    form = operator.get(f"{KRAKEN}change/").context["adminform"].form
    unchanged = {name: form[name].value() for name in form.fields}
    values = {
        name: value for name, value in unchanged.items() if value is not None and not isinstance(value, dict | list)
    }
    empty = {"blacklist_entries-TOTAL_FORMS": "0", "blacklist_entries-INITIAL_FORMS": "0"}
    return {**values, **empty, **changes}


def test_the_interval_is_changed_here_and_beat_follows(operator: Client, world: Fill) -> None:
    response = operator.post(f"{KRAKEN}change/", form_of(operator, poll_interval_seconds="30"))

    assert response.status_code == 302
    assert Exchange.objects.get(pk="kraken").poll_interval_seconds == 30
    assert PeriodicTask.objects.get(name="poll:kraken").interval.every == 30


@pytest.mark.parametrize("seconds", ["0", "0.4", "-1", "86401", "nan", "inf", "x", ""])
def test_an_interval_that_makes_no_sense_is_refused(operator: Client, world: Fill, seconds: str) -> None:
    response = operator.post(f"{KRAKEN}change/", form_of(operator, poll_interval_seconds=seconds))

    assert response.status_code == 200
    assert Exchange.objects.get(pk="kraken").poll_interval_seconds == 10


@pytest.mark.parametrize(
    ("field", "value"),
    [("base_url", "file:///etc/passwd"), ("base_url", "x"), ("proxy", "ftp://x"), ("ca_file", "ca.pem")],
)
def test_an_address_that_makes_no_sense_is_refused(operator: Client, world: Fill, field: str, value: str) -> None:
    response = operator.post(f"{KRAKEN}change/", form_of(operator, **{field: value}))

    assert response.status_code == 200
    assert getattr(Exchange.objects.get(pk="kraken"), field) != value


def test_saving_the_form_undoes_no_verb(operator: Client, world: Fill) -> None:
    form = form_of(operator, name="Payward", enabled="on", blacklisted="")
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "x"})

    operator.post(f"{KRAKEN}change/", form)

    assert Exchange.objects.get(pk="kraken").name == "Payward"
    assert state() == (True, True)


def test_a_change_is_kept_with_its_author_and_without_the_proxys_password(
    operator: Client, world: Fill, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    headers = {"X-Correlation-ID": "c-1", "X-Forwarded-For": "no address"}

    operator.post(f"{KRAKEN}change/", form_of(operator, proxy="http://u:hunter2hunter2@p:1"), headers=headers)

    entry = LogEntry.objects.filter(object_pk="kraken").latest("timestamp")
    assert (entry.actor.username, entry.cid, list(entry.changes)) == ("olga", "c-1", ["proxy"])
    assert "hunter2hunter2@" not in str(entry.changes)


def test_nobody_deletes_here(operator: Client, world: Fill) -> None:
    assert operator.post(f"{KRAKEN}delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in operator.get(LIST).content.decode()


def test_the_page_shows_the_blacklists_history(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "first <b>time</b>"})

    page = operator.get(f"{KRAKEN}change/").content.decode()

    assert "first &lt;b&gt;time&lt;/b&gt;" in page
    assert "Lift blacklist" in page
    assert "Blacklist…" not in page


def test_an_exchange_without_worker_does_not_break_the_page(operator: Client, world: Fill) -> None:
    Worker.objects.filter(pk="kraken").delete()

    assert operator.get(LIST).status_code == 200
    assert "no worker yet" in operator.get(f"{KRAKEN}change/").content.decode()


# --- beat's own page ------------------------------------------------------------------------------------------------


def test_beats_page_says_when_but_not_what(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}restart/", CONFIRMED)  # the verb brings beat's rows
    task = PeriodicTask.objects.get(name="poll:kraken")
    minute = IntervalSchedule.objects.create(every=60, period="seconds")
    form = {
        "enabled": "on",
        "interval": minute.pk,
        "expire_seconds": "10",
        "task": "os.system",
        "kwargs": '{"exchange_id": "x"}',
    }

    response = operator.post(f"/admin/django_celery_beat/periodictask/{task.pk}/change/", form)

    task.refresh_from_db()
    assert response.status_code == 302
    assert (task.task, task.kwargs) == ("collectors.tasks.collect_exchange", '{"exchange_id": "kraken"}')
    assert task.interval.every == 60
    assert Exchange.objects.get(pk="kraken").poll_interval_seconds == 60
    assert operator.get("/admin/django_celery_beat/periodictask/add/").status_code == 403


@pytest.mark.parametrize(
    ("obstacles", "verb", "said"),
    [
        ({"blacklisted": True}, "lift", "polled again within one interval"),
        ({"blacklisted": True, "enabled": False}, "lift", "It stays disabled"),
        ({"blacklisted": True, "enabled": False}, "enable", "It stays blacklisted"),
    ],
    ids=["the last obstacle", "one of two lifted", "one of two enabled"],
)
def test_a_message_promises_no_poll_while_something_else_forbids_it(
    operator: Client, world: Fill, obstacles: dict[str, bool], verb: str, said: str
) -> None:
    Exchange.objects.filter(pk="kraken").update(**obstacles)

    page = operator.post(f"/admin/exchanges/exchange/kraken/{verb}/", {"_form_submitted": "True"}, follow=True)

    assert said in page.content.decode()
