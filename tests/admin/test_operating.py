"""Operators at work in the admin: adding, configuring, checking, previewing, undoing; and who may not."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from collectors.models import Worker
from exchanges import secrets
from exchanges.connectivity import ConnectivityReport, Finding, store
from exchanges.models import SANDBOX_PLACEHOLDER, AuditEntry, Exchange, Market, MarketBlacklistEntry
from lib import valkey
from operations import commands, progress, tasks
from tests.api.conftest import Fill, make_exchange
from tests.sandbox_client import Sandbox

LIST = "/admin/exchanges/exchange/"
KRAKEN = f"{LIST}kraken/"
ADD = f"{LIST}add/"
CONFIRMED = {"_form_submitted": "True"}
NEW = {"exchange": "binance", "poll_interval_seconds": "10", "transport": "poll", "priority": "5"}


@pytest.fixture(autouse=True)
def quiet_queue() -> None:
    valkey.client().flushdb()


@pytest.fixture
def staff(client: Client) -> Any:
    """Signs in somebody who may do just what is named."""

    def sign_in(*codenames: str) -> Client:
        user, _ = User.objects.get_or_create(username="rita", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return sign_in


def queued() -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of the tasks that pages have sent."""
    names = [key for key in valkey.client().keys("*") if valkey.client().type(key) == b"list"]
    messages = [json.loads(raw) for name in names for raw in valkey.client().lrange(name, 0, -1)]
    return [
        (each["headers"]["task"], json.loads(base64.b64decode(each["body"]))[1])
        for each in messages
        if "task" in each["headers"]  # not what a probe sends to see whether the broker takes it
    ]


def form_of(operator: Client, **changes: Any) -> dict[str, Any]:
    form = operator.get(f"{KRAKEN}change/").context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    kept = {
        name: value for name, value in values.items() if isinstance(value, str | int | float) and value is not False
    }
    return {**kept, **changes}


def save(operator: Client, **changes: Any) -> Exchange:
    response = operator.post(f"{KRAKEN}change/", form_of(operator, **changes))
    assert response.status_code == 302, response.context["adminform"].form.errors
    return Exchange.objects.get(pk="kraken")


def audited(verb: str) -> AuditEntry:
    return AuditEntry.objects.filter(verb=verb).latest("id")


def undo_url(verb: str) -> str:
    return f"/admin/exchanges/auditentry/{audited(verb).pk}/undo/"


# --- adding ---------------------------------------------------------------------------------------------------------


def test_what_is_not_collected_yet_is_suggested(operator: Client, world: Fill) -> None:
    page = operator.get(ADD).content.decode()

    assert '<option value="bitstamp">' in page
    assert '<option value="kraken">' not in page


def test_an_exchange_is_added_while_the_page_shows_its_checks(
    operator: Client, db: None, sandbox: Sandbox, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    wanted = {**NEW, "base_url": SANDBOX_PLACEHOLDER, "quotes": "usdt, EUR", "top": "50", "priority": "2"}

    response = operator.post(ADD, wanted)
    before = operator.get(f"{response['Location']}now/").content.decode()
    [(name, details)] = queued()
    tasks.add_exchange(**details)
    after = operator.get(f"{response['Location']}now/").content.decode()

    assert "waits for a free worker" in before
    assert "hx-get" in before
    assert name == "exchanges.tasks.add_exchange"
    exchange = Exchange.objects.get(pk="binance")
    assert (exchange.market_filter, exchange.priority) == ({"quotes": ["USDT", "EUR"], "top": 50}, 2)
    assert "binance is added" in after
    assert [row["result"] for row in operator.get(response["Location"]).context["check_rows"]] == [
        "ok", "ok", "ok", "started",
    ]  # fmt: skip
    assert "hx-get" not in after
    assert (audited("add").who, audited("add").origin) == ("olga", "admin, 127.0.0.1")


def test_a_proxys_password_never_lies_in_the_queue(operator: Client, db: None, settings: Any) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True

    operator.post(ADD, {**NEW, "proxy": "http://me:canary0123456789@127.0.0.1:3128"})

    [(_, details)] = queued()
    assert "canary0123456789" not in str(details)
    assert json.loads(secrets.unseal_text(details["sealed"]))["proxy"] == "http://me:canary0123456789@127.0.0.1:3128"


@pytest.mark.parametrize("login", ["canary0123456789", "me:canary0123456789", "me:a@canary0123456789"])
def test_no_part_of_a_proxys_login_is_shown(login: str, operator: Client, world: Fill, settings: Any) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True

    save(operator, proxy=f"http://{login}@127.0.0.1:3128")

    for page in (f"{KRAKEN}change/", "/api/v1/exchanges/kraken", "/api/v1/exchanges/kraken/settings"):
        shown = operator.get(page).content
        assert b"***@127.0.0.1:3128" in shown
        assert b"canary0123456789" not in shown


def test_a_hidden_login_is_not_saved_as_one(operator: Client, world: Fill, settings: Any) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    save(operator, proxy="http://me:canary0123456789@127.0.0.1:3128")

    response = operator.post(f"{KRAKEN}change/", form_of(operator, proxy="http://***@127.0.0.1:9999"))

    assert "Give user and password again" in str(response.context["adminform"].form.errors)


def test_the_checks_that_need_no_answer_are_shown_first(operator: Client, db: None) -> None:
    key = progress.begin("binance")
    progress.note(
        key, "binance", progress.RUNNING, findings=[Finding("capabilities", "ok"), Finding("health", "asking")]
    )

    page = operator.get(f"{LIST}adding/{key}/").content.decode()

    assert "binance is being checked" in page
    assert re.search(r"health.*asking.*capabilities.*ok.*rate limit.*asking.*worker.*asking", page, re.DOTALL)


def test_a_refused_add_says_why(operator: Client, db: None) -> None:
    key = progress.begin("nope")

    tasks.add_exchange(exchange_id="nope", by="olga", progress_key=key)

    page = operator.get(f"{LIST}adding/{key}/now/").content.decode()
    assert "nope was not added" in page
    assert "Unknown exchange: nope" in page
    assert not Exchange.objects.filter(pk="nope").exists()


def test_a_key_that_nobody_knows_is_no_error(operator: Client, db: None) -> None:
    assert "Nothing is known of this" in operator.get(f"{LIST}adding/abc/").content.decode()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("exchange", "", "required"),
        ("exchange", "../etc", "An exchange id is"),
        ("exchange", "krakn", "No feed of ours"),
        ("exchange", "kraken", "is blacklisted"),
        ("base_url", "http://127.0.0.1/", "private network"),
        ("base_url", SANDBOX_PLACEHOLDER, "private network"),
        ("proxy", "http://10.0.0.1:3128", "private network"),
        ("poll_interval_seconds", "0.1", "greater than or equal"),
        ("priority", "10", "less than or equal"),
        ("top", "0", "greater than or equal"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    operator: Client, world: Fill, settings: Any, field: str, value: str, said: str
) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = False
    Exchange.objects.filter(pk="kraken").update(blacklisted=True)

    response = operator.post(ADD, {**NEW, "exchange": "bitstamp", field: value})

    assert said in str(response.context["form"].errors[field])
    assert queued() == []


def test_adding_needs_its_permission_and_a_token(staff: Any, operator: Client, world: Fill) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post(ADD, NEW).status_code == 403

    reader = staff("view_exchange", "change_exchange")

    assert reader.get(ADD).status_code == 403
    assert reader.post(ADD, NEW).status_code == 403
    assert reader.get(f"{LIST}adding/abc/").status_code == 403
    assert reader.get(f"{LIST}adding/abc/now/").status_code == 403
    assert queued() == []


# --- settings -------------------------------------------------------------------------------------------------------


def test_settings_are_changed_by_the_verb(operator: Client, world: Fill) -> None:
    exchange = save(
        operator, transport="stream", priority="1", quotes="eur usd", only_markets="BTC/EUR\nETH/USD", top=7
    )

    assert (exchange.transport, exchange.priority) == ("stream", 1)
    assert exchange.market_filter == {"quotes": ["EUR", "USD"], "symbols": ["BTC/EUR", "ETH/USD"], "top": 7}
    entry = audited("configure")
    assert (entry.who, entry.origin) == ("olga", "admin, 127.0.0.1")
    assert set(entry.why.split(", ")) == {"transport", "priority", "market_filter"}


def test_a_form_that_changes_nothing_does_nothing(operator: Client, world: Fill) -> None:
    save(operator)

    assert not AuditEntry.objects.exists()
    assert Worker.objects.get(pk="kraken").generation == 1


def test_the_filter_is_shown_as_it_was_entered_and_can_be_emptied(operator: Client, world: Fill) -> None:
    save(operator, quotes="EUR, USD", top=7)
    form = operator.get(f"{KRAKEN}change/").context["adminform"].form

    assert (form["quotes"].value(), form["top"].value()) == ("EUR, USD", 7)
    assert save(operator, quotes="", top="").market_filter == {}


def test_credentials_go_in_and_never_come_out(operator: Client, world: Fill) -> None:
    save(operator, credential_apiKey="key-one", credential_secret="secret-two")
    exchange = save(operator, credential_password="word-three")

    assert secrets.unseal(exchange.credentials) == {
        "apiKey": "key-one",
        "secret": "secret-two",
        "password": "word-three",
    }
    pages = (
        operator.get(f"{KRAKEN}change/").content
        + operator.get(f"/admin/exchanges/auditentry/{audited('configure').pk}/change/").content
    )
    assert b"set: apiKey, password, secret" in pages
    for kept in (b"key-one", b"secret-two", b"word-three", exchange.credentials.encode()):
        assert kept not in pages

    assert save(operator, forget_credentials="on").credentials == ""
    assert "not set" in operator.get(f"{KRAKEN}change/").content.decode()


def test_a_proxys_password_is_never_shown_and_survives_another_change(
    operator: Client, world: Fill, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    save(operator, proxy="http://u:hunter2hunter2@127.0.0.1:3128")
    exchange = save(operator, priority="3")
    save(operator, proxy="")

    assert exchange.proxy_address == "http://u:hunter2hunter2@127.0.0.1:3128"
    assert "hunter2" not in exchange.proxy + exchange.proxy_login
    pages = operator.get(f"{KRAKEN}change/").content
    for entry in AuditEntry.objects.all():
        pages += operator.get(f"/admin/exchanges/auditentry/{entry.pk}/change/").content
    assert b"hunter2hunter2" not in pages


@pytest.mark.parametrize("login", ["me:canary0123456789", "canary0123456789"])
@pytest.mark.parametrize("field", ["proxy", "base_url"])
def test_a_form_that_is_refused_does_not_send_a_login_back(
    operator: Client, world: Fill, settings: Any, field: str, login: str
) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    wrong = {field: f"http://{login}@127.0.0.1:3128", "poll_interval_seconds": "0"}

    pages = [operator.post(f"{KRAKEN}change/", form_of(operator, **wrong)), operator.post(ADD, {**NEW, **wrong})]

    for page in pages:
        assert page.status_code == 200
        assert "canary0123456789" not in page.content.decode()
        assert "http://***@127.0.0.1:3128" in page.content.decode()


def test_an_interval_under_the_rate_limit_is_refused_at_its_field(operator: Client, world: Fill) -> None:
    Exchange.objects.filter(pk="kraken").update(rate_limit_ms=5000, capabilities={"fetchTickers": True})

    response = operator.post(f"{KRAKEN}change/", form_of(operator, poll_interval_seconds="3"))

    assert "allows 5 s and more" in str(response.context["adminform"].form.errors)


def test_a_private_address_needs_the_setting(operator: Client, world: Fill, settings: Any) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = False

    response = operator.post(f"{KRAKEN}change/", form_of(operator, base_url="http://169.254.169.254/"))

    assert "base_url" in response.context["adminform"].form.errors


def test_a_filter_of_too_many_names_is_refused(operator: Client, world: Fill) -> None:
    many = "\n".join(f"C{number}/USDT" for number in range(5001))
    form = form_of(operator, only_markets=many)

    response = operator.post(f"{KRAKEN}change/", form)

    assert "up to 5000 names" in str(response.context["adminform"].form.errors)
    assert Exchange.objects.get(pk="kraken").market_filter == {}


def test_a_verb_that_refuses_at_the_last_moment_leaves_no_word_of_success(
    operator: Client, world: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise commands.CommandRefused("somebody was faster")

    form = form_of(operator, priority="1")
    monkeypatch.setattr(commands, "configure", refuse)

    page = operator.post(f"{KRAKEN}change/", form, follow=True).content.decode()

    assert "Not saved: somebody was faster" in page
    assert "successfully" not in page


def test_a_change_of_credentials_cannot_be_undone_and_says_so(operator: Client, world: Fill) -> None:
    save(operator, credential_apiKey="key-one")

    page = operator.post(undo_url("configure"), CONFIRMED, follow=True).content.decode()

    assert "old credentials are not kept" in page
    assert undo_url("configure") not in operator.get(f"{KRAKEN}change/").content.decode()


def test_readers_see_settings_but_no_form_and_no_password(staff: Any, world: Fill) -> None:
    Exchange.objects.filter(pk="kraken").update(
        proxy="http://u:hunter2hunter2@p:1", market_filter={"quotes": ["EUR"], "top": 9}
    )

    page = staff("view_exchange").get(f"{KRAKEN}change/").content.decode()

    assert "quotes EUR, the 9 largest" in page
    assert "hunter2hunter2" not in page
    assert 'name="poll_interval_seconds"' not in page
    assert "Check now" not in page


# --- checks ---------------------------------------------------------------------------------------------------------


def report(result: str = "ok") -> ConnectivityReport:
    return ConnectivityReport(
        None, (Finding("health", result, "because <b>so</b>", 123), Finding("capabilities", "ok"))
    )


def test_the_page_shows_the_checks(operator: Client, world: Fill, now: datetime) -> None:
    store("kraken", report("failed"), occasion="add", now=now - timedelta(hours=3))
    store("kraken", report(), occasion="lift", now=now)

    page = operator.get(f"{KRAKEN}change/").content.decode()

    assert "123 ms" in page
    assert "because &lt;b&gt;so&lt;/b&gt;" in page
    assert ", lift" in page
    assert "health failed, capabilities ok" in page


def test_check_now_asks_and_waits_for_the_answer(operator: Client, world: Fill, now: datetime) -> None:
    here = {"HX-Request": "true"}
    waiting = operator.post(f"{KRAKEN}check-now/", headers=here).content.decode()
    address = re.search(r'hx-get="([^"]+)"', waiting)
    assert address is not None
    still_waiting = operator.get(address[1]).content.decode()
    store("kraken", report(), occasion="on demand", now=now + timedelta(seconds=5))
    answered = operator.get(address[1]).content.decode()

    assert queued() == [("exchanges.tasks.check_connectivity", {"exchange_id": "kraken"})]
    assert "hx-get" in still_waiting
    assert "123 ms" in answered
    assert "hx-get" not in answered


def test_what_was_well_a_moment_ago_is_not_asked_again(operator: Client, world: Fill, now: datetime) -> None:
    store("kraken", report(), occasion="add", now=now)

    page = operator.post(f"{KRAKEN}check-now/", headers={"HX-Request": "true"}).content.decode()

    assert queued() == []
    assert "half a minute ago" in page


def test_an_answer_that_never_comes_is_not_awaited_for_ever(operator: Client, world: Fill, now: datetime) -> None:
    long_ago = (now - timedelta(minutes=5)).isoformat().replace("+", "%2B")

    page = operator.get(f"{KRAKEN}checks/?since={long_ago}").content.decode()

    assert "No answer yet" in page
    assert "hx-get" not in page


@pytest.mark.parametrize("since", ["x", "2026-01-01", "2026-01-01T00:00:00", "9" * 50, "%00"])
def test_a_senseless_moment_is_no_error(operator: Client, world: Fill, since: str) -> None:
    assert operator.get(f"{KRAKEN}checks/?since={since}").status_code in (200, 400)


def test_checking_is_a_post_with_permission(staff: Any, operator: Client, world: Fill) -> None:
    assert operator.get(f"{KRAKEN}check-now/").status_code == 405
    assert operator.post(f"{LIST}nope/check-now/").status_code == 404
    assert staff("view_exchange").post(f"{KRAKEN}check-now/").status_code == 403
    assert queued() == []


def test_lifting_asks_for_checks_and_refreshing_is_a_task(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "x"})
    operator.post(f"{KRAKEN}lift/", CONFIRMED)
    operator.post(f"{KRAKEN}refresh/", CONFIRMED)
    operator.post(f"{LIST}refresh_all/", CONFIRMED)

    who = {"by": "olga", "origin": "admin, 127.0.0.1"}
    assert sorted(queued(), key=str) == sorted(
        [
            ("exchanges.tasks.check_connectivity", {"exchange_id": "kraken", "occasion": "lift"}),
            ("exchanges.tasks.refresh_exchanges", {**who, "exchange_ids": ["kraken"]}),
            ("exchanges.tasks.refresh_exchanges", {**who, "exchange_ids": None}),
        ],
        key=str,
    )


# --- before and after -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["blacklist", "disable", "remove"])
def test_the_dialog_shows_what_would_stop(operator: Client, world: Fill, verb: str) -> None:
    world(4)  # C1 and C3 on Kraken, C2 and C4 on Binance

    page = operator.get(f"{KRAKEN}{verb}/").content.decode()

    assert "C1/USDT, C3/USDT." in page
    assert "C2/USDT" not in page


def test_a_pair_with_another_source_is_not_lost_unless_both_stop(operator: Client, world: Fill) -> None:
    world(4)
    Market.objects.filter(base="C2").update(base="C1")  # of Binance

    alone = operator.get(f"{KRAKEN}blacklist/").content.decode()
    chosen = {"action": "disable_selected", "_selected_action": ["binance", "kraken"], "index": "0"}
    both = operator.post(LIST, chosen).content.decode()

    assert "Without any source: " in alone
    assert "C1/USDT" not in alone
    assert "C1/USDT, C3/USDT, C4/USDT" in both


def test_what_is_not_collected_stops_nothing(operator: Client, world: Fill) -> None:
    Exchange.objects.filter(pk="kraken").update(enabled=False)

    assert "nothing would stop" in operator.get(f"{KRAKEN}remove/").content.decode()
    assert "there is no exchange nope" in operator.get(f"{LIST}nope/remove/").content.decode()


def test_the_message_undoes_what_it_tells(operator: Client, world: Fill) -> None:
    page = operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "x"}, follow=True).content.decode()
    form = re.search(r'<form method="post" action="([^"]+/undo/)"', page)
    assert form is not None

    answer = operator.post(form[1], CONFIRMED, follow=True).content.decode()

    assert "Undone: blacklist kraken." in answer
    assert not Exchange.objects.get(pk="kraken").blacklisted


def test_a_get_of_undo_changes_nothing(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}disable/", CONFIRMED)

    operator.get(undo_url("disable"))
    operator.post(undo_url("disable"), {})

    assert not Exchange.objects.get(pk="kraken").enabled


def test_after_ten_minutes_there_is_no_way_back(operator: Client, world: Fill, now: datetime) -> None:
    operator.post(f"{KRAKEN}disable/", CONFIRMED)
    AuditEntry.objects.update(happened_at=now - timedelta(minutes=11))

    page = operator.post(undo_url("disable"), CONFIRMED, follow=True).content.decode()

    assert "more than ten minutes" in page
    assert not Exchange.objects.get(pk="kraken").enabled
    assert undo_url("disable") not in operator.get(f"{KRAKEN}change/").content.decode()


@pytest.mark.parametrize(
    ("verb", "permission", "allowed"),
    [
        ("disable", "change_exchange", True),
        ("disable", "change_market", False),
        ("remove", "change_exchange", False),
        ("remove", "add_exchange", True),
    ],
)
def test_undoing_needs_what_its_opposite_needs(
    staff: Any, operator: Client, world: Fill, verb: str, permission: str, allowed: bool
) -> None:
    operator.post(f"{KRAKEN}{verb}/", CONFIRMED)

    response = staff("view_auditentry", permission).post(undo_url(verb), CONFIRMED)

    assert response.status_code == (302 if allowed else 403)
    assert Exchange.objects.get(pk="kraken").enabled is allowed


@pytest.mark.parametrize("number", ["0", "999999", "x", "9" * 30])
def test_undoing_nothing_is_no_error(operator: Client, world: Fill, number: str) -> None:
    response = operator.post(f"/admin/exchanges/auditentry/{number}/undo/", CONFIRMED)

    assert response.status_code == 302


def test_a_removed_exchange_is_gone_from_every_list(operator: Client, world: Fill) -> None:
    world(4)

    response = operator.post(f"{KRAKEN}remove/", {**CONFIRMED, "reason": "closed"}, headers={"HX-Request": "true"})

    assert response["HX-Redirect"] == LIST
    for name in ("exchanges/exchange", "exchanges/market", "collectors/pipeline", "collectors/worker"):
        rows = operator.get(f"/admin/{name}/").context["cl"].result_list
        assert rows
        assert "kraken" not in str(list(rows))
        assert all(getattr(row, "exchange_id", "binance") == "binance" for row in rows)
    assert (audited("remove").why, audited("remove").who) == ("closed", "olga")


def test_removing_needs_its_own_permission(staff: Any, world: Fill) -> None:
    response = staff("view_exchange", "change_exchange").post(f"{KRAKEN}remove/", CONFIRMED)

    assert response.status_code == 403
    assert Exchange.objects.get(pk="kraken").removed_at is None


def test_the_page_says_who_did_what_and_which_fields_changed(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "bad <i>prices</i>"})
    operator.post(f"{KRAKEN}lift/", CONFIRMED)
    save(operator, priority="2")

    page = operator.get(f"{KRAKEN}change/")

    assert [(row["who"], row["verb"]) for row in page.context["audit_rows"]] == [
        ("olga", "configure"),
        ("olga", "lift"),
        ("olga", "blacklist"),
    ]
    assert page.context["audit_rows"][2]["origin"] == "admin, 127.0.0.1"
    assert ("priority", "5", "2") in [(row["field"], row["old"], row["new"]) for row in page.context["change_rows"]]
    assert "bad &lt;i&gt;prices&lt;/i&gt;" in page.content.decode()


# --- single markets -------------------------------------------------------------------------------------------------


@pytest.fixture
def market(world: Fill) -> Market:
    world(4)
    return Market.objects.get(symbol="C1/USDT")


def test_a_market_is_blacklisted_with_reason_and_end_and_lifted(
    operator: Client, market: Market, now: datetime
) -> None:
    ends = (now + timedelta(hours=2)).replace(second=0, microsecond=0)
    details = {**CONFIRMED, "reason": "wick", "expires_at": f"{ends:%Y-%m-%dT%H:%M}"}

    page = operator.post(f"/admin/exchanges/market/{market.pk}/blacklist/", details, follow=True).content.decode()
    entry = MarketBlacklistEntry.objects.get()

    assert "Undo" in page
    assert (entry.market_id, entry.reason, entry.listed_by, entry.expires_at) == (market.pk, "wick", "olga", ends)
    assert Market.objects.get(pk=market.pk).blacklisted

    operator.post(f"/admin/exchanges/marketblacklistentry/{entry.pk}/lift/", CONFIRMED)

    assert not Market.objects.get(pk=market.pk).blacklisted
    assert MarketBlacklistEntry.objects.get().lifted_by == "olga"


def test_several_markets_at_once(operator: Client, market: Market) -> None:
    others = [*Market.objects.values_list("pk", flat=True)]
    chosen = {"action": "blacklist_selected", "_selected_action": others, "index": "0"}

    page = operator.post("/admin/exchanges/market/", chosen).content.decode()
    assert "kraken:C1/USDT" in page
    assert not Market.objects.filter(blacklisted=True).exists()

    operator.post("/admin/exchanges/market/", {**chosen, **CONFIRMED, "reason": "all"})
    assert Market.objects.filter(blacklisted=True).count() == 4


def test_automatic_entries_are_visible_and_reversible(operator: Client, market: Market, now: datetime) -> None:
    commands.blacklist_market(
        "kraken", market.symbol, by="quarantine", now=now, reason="bad", is_automatic=True
    )  # fmt: skip
    path = "/admin/exchanges/marketblacklistentry/?automatic=yes&running=yes"

    page = operator.get(path).content.decode()
    operator.post(f"/admin/exchanges/marketblacklistentry/{MarketBlacklistEntry.objects.get().pk}/lift/", CONFIRMED)

    assert "automatic" in page
    assert market.symbol in operator.get("/admin/exchanges/market/?q=C1/").content.decode()
    assert list(operator.get(path).context["cl"].result_list) == []
    assert not Market.objects.get(pk=market.pk).blacklisted


def test_markets_are_operated_by_those_who_may(staff: Any, market: Market, now: datetime) -> None:
    commands.blacklist_market("kraken", "C3/USDT", by="olga", now=now)
    entry = MarketBlacklistEntry.objects.get()
    reader = staff("view_market", "view_marketblacklistentry")

    for path in (
        f"market/{market.pk}/blacklist/",
        f"market/{market.pk}/lift/",
        f"marketblacklistentry/{entry.pk}/lift/",
    ):
        assert reader.post(f"/admin/exchanges/{path}", {**CONFIRMED, "reason": "x"}).status_code == 403
    assert Market.objects.filter(blacklisted=True).count() == 1


@pytest.mark.parametrize("number", ["999999", "x"])
def test_a_market_that_does_not_exist_is_no_error(operator: Client, world: Fill, number: str) -> None:
    path = f"/admin/exchanges/market/{number}/blacklist/"

    assert operator.post(path, {**CONFIRMED, "reason": "x"}).status_code == 302


def test_running_entries_of_exchanges_are_listed_and_lifted(operator: Client, world: Fill) -> None:
    operator.post(f"{KRAKEN}blacklist/", {**CONFIRMED, "reason": "x"})
    path = "/admin/exchanges/blacklistentry/"
    [entry] = operator.get(f"{path}?running=yes").context["cl"].result_list

    operator.post(f"{path}{entry.pk}/lift/", CONFIRMED)

    assert not Exchange.objects.get(pk="kraken").blacklisted
    assert list(operator.get(f"{path}?running=yes").context["cl"].result_list) == []


# --- pages and parts of them ----------------------------------------------------------------------------------------


def test_an_exchanges_page_costs_the_same_with_a_long_past(operator: Client, world: Fill, now: datetime) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as found:
            assert operator.get(path).status_code == 200
        return len(found)

    few = queries(f"{KRAKEN}change/")
    for number in range(20):
        make_exchange(f"venue{number}", now)
        commands.disable("kraken", by="olga", now=now)
        commands.enable("kraken", by="olga", now=now)
        store("kraken", report(), occasion="add", now=now + timedelta(seconds=number))

    assert queries(f"{KRAKEN}change/") == few


@pytest.mark.parametrize("path", [f"{KRAKEN}checks/", f"{LIST}adding/abc/now/"])
def test_a_fragment_sends_the_signed_out_to_sign_in(client: Client, world: Fill, path: str) -> None:
    response = client.get(path)

    assert (response.status_code, response["HX-Refresh"]) == (403, "true")
    assert response.content == b""
