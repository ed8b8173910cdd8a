"""What the verbs do to the collection: nobody called after a stop, one loop after any storm, no gap for a silence
that somebody wanted, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from collectors import lease
from collectors.gaps import ledger
from collectors.models import Gap, Pipeline, Run, Worker
from collectors.polling import poll
from exchanges.models import AuditEntry, Exchange, Market, MarketBlacklistEntry
from lib import clock
from operations import commands
from tests import world
from tests.operations.conftest import KEY, JsonClient, Make
from tests.sandbox_client import Sandbox

pytestmark = pytest.mark.django_db(transaction=True)

Collect = Callable[[str], Exchange]


def by() -> dict[str, Any]:
    return {"by": "test", "now": clock.now()}


# --- storms -----------------------------------------------------------------------------------------------------


def test_fifty_verbs_at_once_leave_one_collector(collected: Collect) -> None:
    collected("kraken")
    calls = [("post", "workers/kraken/restart"), ("post", "blacklist/kraken"), ("delete", "blacklist/kraken")]

    def send(number: int) -> tuple[int, dict[str, Any]]:
        method, path = calls[number % 3]
        try:
            answer = getattr(JsonClient(headers={"X-Admin-Key": KEY}), method)(f"/api/v1/exchanges/{path}")
            return answer.status_code, answer.json()
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(50)))

    for status, body in answers:
        assert status == 200 or (status == 500 and "blacklisted" in body["message"]), (status, body)
    commands.lift("kraken", **by())
    taken = [lease.take("kraken", lease_seconds=5, repeat=True) for _ in range(5)]
    assert sum(permit is not None for permit in taken) == 1


def test_a_blacklist_while_a_poll_runs_stops_it(sandbox: Sandbox, collected: Collect) -> None:
    collected("kraken")
    permit = lease.take("kraken", lease_seconds=5, repeat=True)
    assert permit is not None

    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(_in_thread, commands.blacklist, "kraken", by="test", now=clock.now())
        while lease.is_current("kraken", permit.generation):
            pass
        lease.release(permit)

    assert stopping.result().was_delivered
    assert poll.collect_once("kraken", now=clock.now()) == "skipped"


def _in_thread(verb: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return verb(*arguments, **named)
    finally:
        connection.close()


# --- time lifts -------------------------------------------------------------------------------------------------


def test_an_entry_lifts_itself_when_its_time_is_over(make: Make) -> None:
    make("kraken")
    now = clock.now()
    commands.blacklist("kraken", by="test", now=now, reason="x", expires_at=now + timedelta(seconds=10))

    too_early = commands.lift_expired(now + timedelta(seconds=9.9))
    in_time = commands.lift_expired(now + timedelta(seconds=10))
    again = commands.lift_expired(now + timedelta(seconds=11))

    assert (too_early, in_time, again) == (0, 1, 0)
    assert Exchange.objects.get(pk="kraken").is_collected
    entry = Exchange.objects.get(pk="kraken").blacklist_entries.get()
    assert entry.lifted_by == "expiry"


def test_looking_for_expired_entries_is_two_queries(make: Make, django_assert_num_queries: Any) -> None:
    make("kraken")
    commands.blacklist("kraken", **by())

    with django_assert_num_queries(2):
        lifted = commands.lift_expired(clock.now())

    assert lifted == 0


# --- single markets ---------------------------------------------------------------------------------------------


def test_a_blacklisted_market_is_not_stored_and_is_no_gap(collected: Collect, operator: Client) -> None:
    collected("kraken")
    symbol = "BTC/USD"

    answer = operator.post(f"/api/v1/exchanges/blacklist/Kraken:{symbol}")

    pipeline = Pipeline.objects.get(market__exchange="kraken", market__symbol=symbol)
    last = pipeline.received_at
    assert last is not None
    assert answer.json()["blacklistedMarkets"] == ["kraken:BTC/USD"]
    assert answer.json()["activeExchanges"] == ["kraken"]
    Worker.objects.update(cycle_started_at=None)
    assert poll.collect_once("kraken", now=clock.now()) == "stored"
    pipeline.refresh_from_db()
    assert pipeline.received_at == last
    Worker.objects.update(resumed_at=last - timedelta(hours=2))
    ledger.open_silent(clock.now() + timedelta(hours=1))
    assert not Gap.objects.filter(pipeline=pipeline).exists()
    assert Gap.objects.exclude(pipeline=pipeline).exists()  # the others are silent, and that is one


def test_a_market_that_is_collected_again_has_no_gap_for_the_time_between(collected: Collect) -> None:
    collected("kraken")
    commands.blacklist_market("kraken", "BTC/USD", **by())
    long_ago = clock.now() - timedelta(hours=1)
    pipelines = Pipeline.objects.filter(market__exchange="kraken")
    pipelines.update(received_at=long_ago, resumed_at=long_ago)
    Worker.objects.update(resumed_at=long_ago, cycle_started_at=None)

    commands.lift_market("kraken", "BTC/USD", **by())
    assert poll.collect_once("kraken", now=clock.now()) == "stored"

    assert not Gap.objects.filter(pipeline__market__symbol="BTC/USD").exists()
    assert Gap.objects.filter(pipeline__market__symbol="ETH/USD").exists()


@pytest.mark.parametrize("place", ["kraken:NOPE/USD", "luno:BTC/USD", "kraken:", "kraken:../../etc"])
def test_a_market_that_is_not_there_is_400(collected: Collect, operator: Client, place: str) -> None:
    collected("kraken")

    assert operator.post(f"/api/v1/exchanges/blacklist/{place}").status_code == 400


def test_a_market_that_is_bad_in_every_poll_is_taken_out_for_a_while(collected: Collect) -> None:
    collected("kraken")
    now = clock.now()
    bad = [{"symbol": "BTC/USD", "reason": "bid above ask", "excerpt": ""}]
    _runs(now, 11, bad)
    assert commands.blacklist_bad_markets(now) == []
    _runs(now, 1, bad)

    assert commands.blacklist_bad_markets(now) == ["kraken:BTC/USD"]

    entry = MarketBlacklistEntry.objects.get()
    assert (entry.is_automatic, entry.expires_at) == (True, now + timedelta(hours=1))
    assert commands.blacklist_bad_markets(now) == []
    assert commands.lift_expired(now + timedelta(hours=1)) == 1
    assert Market.objects.get(exchange="kraken", symbol="BTC/USD").blacklisted is False
    assert commands.blacklist_bad_markets(now + timedelta(hours=1)) == ["kraken:BTC/USD"]
    second = MarketBlacklistEntry.objects.running().get()
    assert second.expires_at - second.listed_at == timedelta(hours=2)


def test_one_good_poll_among_the_last_saves_a_market(collected: Collect) -> None:
    collected("kraken")
    now = clock.now()
    bad = [{"symbol": "BTC/USD", "reason": "bid above ask", "excerpt": ""}]
    _runs(now, 6, bad)
    _runs(now, 1, [])
    _runs(now, 6, bad)

    assert commands.blacklist_bad_markets(now) == []


def test_a_symbol_that_the_exchange_does_not_know_goes_sooner(collected: Collect) -> None:
    collected("kraken")
    _runs(clock.now(), 3, [{"symbol": "BTC/USD", "reason": "BadSymbol: no such pair", "excerpt": ""}])

    assert commands.blacklist_bad_markets(clock.now()) == ["kraken:BTC/USD"]


_number = iter(range(10_000))


def _runs(now: Any, count: int, quarantine: list[dict[str, str]]) -> None:
    """`count` runs, each newer than all before."""
    for _ in range(count):
        at = now + timedelta(milliseconds=next(_number))
        Run.objects.create(exchange_id="kraken", started_at=at, duration_ms=1, outcome="stored", quarantine=quarantine)


# --- filters ----------------------------------------------------------------------------------------------------


def test_a_filter_decides_what_is_collected_and_leaves_no_gaps(collected: Collect) -> None:
    collected("binance")  # which tells volumes
    before = Market.objects.collected().filter(exchange="binance").count()

    commands.configure("binance", {"market_filter": {"quotes": ["USDT"], "top": 1}}, **by())

    left = Market.objects.collected().get(exchange="binance")
    assert (left.quote, Worker.objects.get(pk="binance").symbols_tracked) == ("USDT", 1)
    largest = (
        Pipeline.objects.filter(market__exchange="binance", market__quote="USDT").order_by("-quote_volume").first()
    )
    assert largest is not None
    assert largest.market_id == left.pk
    Worker.objects.update(cycle_started_at=None)
    assert poll.collect_once("binance", now=clock.now()) == "stored"
    assert Run.objects.order_by("-pk").values_list("rows_stored", flat=True)[0] == 1
    commands.configure("binance", {"market_filter": {}}, **by())
    assert Market.objects.collected().filter(exchange="binance").count() == before


# --- preview, undo, removal -------------------------------------------------------------------------------------


def test_a_preview_names_pairs_that_lose_their_last_source(collected: Collect) -> None:
    collected("kraken")
    alone = commands.preview_stop("kraken")
    collected("coinbase")

    together = commands.preview_stop("kraken")

    pairs = Market.objects.collected().filter(exchange="kraken").values_list("base", "quote")
    assert alone.lost_pair_count == len(set(pairs))
    assert "AAVE/USD" in alone.lost_pairs
    assert "AAVE/USD" not in together.lost_pairs
    commands.blacklist("coinbase", **by())
    assert commands.preview_stop("kraken").lost_pair_count == alone.lost_pair_count


UNDOABLE = {
    "blacklist": lambda: commands.blacklist("kraken", **by()),
    "disable": lambda: commands.disable("kraken", **by()),
    "remove": lambda: commands.remove("kraken", **by()),
    "configure": lambda: commands.configure("kraken", {"poll_interval_seconds": 60.0, "priority": 1}, **by()),
}


@pytest.mark.parametrize("verb", UNDOABLE)
def test_a_verb_is_undone_within_ten_minutes(make: Make, verb: str) -> None:
    make("kraken")
    wanted = _desired_state()
    UNDOABLE[verb]()
    assert _desired_state() != wanted
    entry = AuditEntry.objects.get(verb=verb)

    commands.undo(entry.pk, by="test", now=entry.happened_at + timedelta(minutes=10))

    assert _desired_state() == wanted
    with pytest.raises(commands.CommandRefused, match="undone already"):
        commands.undo(entry.pk, **by())


def _desired_state() -> Any:
    fields = ("enabled", "blacklisted", "removed_at", "poll_interval_seconds", "priority")
    return Exchange.objects.values(*fields).get(pk="kraken")


def test_after_ten_minutes_it_is_too_late(make: Make) -> None:
    make("kraken")
    commands.disable("kraken", **by())
    entry = AuditEntry.objects.get(verb="disable")

    with pytest.raises(commands.CommandRefused, match="ten minutes"):
        commands.undo(entry.pk, by="test", now=entry.happened_at + timedelta(minutes=10, seconds=1))


def test_a_lift_undone_brings_reason_and_end_back(make: Make) -> None:
    make("kraken")
    ends = clock.now() + timedelta(hours=1)
    commands.blacklist("kraken", **by(), reason="maintenance", expires_at=ends)
    commands.lift("kraken", **by())

    commands.undo(AuditEntry.objects.get(verb="lift").pk, **by())

    entry = Exchange.objects.get(pk="kraken").blacklist_entries.running().get()
    assert (entry.reason, entry.expires_at) == ("maintenance", ends)


def test_the_newer_change_is_undone_first(make: Make) -> None:
    make("kraken")
    commands.disable("kraken", **by())
    commands.blacklist("kraken", **by())

    with pytest.raises(commands.CommandRefused, match="undo that first"):
        commands.undo(AuditEntry.objects.get(verb="disable").pk, **by())


def test_a_removed_exchange_is_gone_from_all_answers_and_comes_back_with_its_history(
    collected: Collect, operator: Client, sandbox: Sandbox
) -> None:
    collected("kraken")
    collected("luno")
    known = Market.objects.filter(exchange="kraken").count()

    commands.remove("kraken", **by())

    assert operator.get("/api/v1/exchanges/supported").json()["exchanges"] == ["luno"]
    assert list(operator.get("/api/v1/exchanges/workers/status").json()["workers"]) == ["luno"]
    assert [one["id"] for one in operator.get("/api/v1/exchanges/config").json()["exchanges"]] == ["luno"]
    assert operator.post("/api/v1/exchanges/workers/kraken/restart").status_code == 500
    assert poll.collect_once("kraken", now=clock.now()) == "skipped"
    back = operator.post("/api/v1/exchanges/add/kraken", {"base_url": "{SANDBOX_URL}"})
    assert (back.status_code, back.json()["activeExchanges"]) == (200, ["kraken", "luno"])
    assert Market.objects.filter(exchange="kraken").count() == known


# --- audit ------------------------------------------------------------------------------------------------------


def test_every_call_is_in_the_audit_with_its_place(make: Make, operator: Client) -> None:
    make("kraken")

    operator.post(
        "/api/v1/exchanges/blacklist/kraken",
        {"reason": "they are rebuilding"},
        headers={"X-Correlation-ID": "ticket-4711"},
    )

    entry = AuditEntry.objects.get(verb="blacklist")
    told = (entry.who, entry.exchange, entry.why, entry.origin, entry.correlation_id)
    assert told == ("admin key", "kraken", "they are rebuilding", "127.0.0.1", "ticket-4711")


# --- the command ------------------------------------------------------------------------------------------------


def say(*words: str) -> list[str]:
    out = StringIO()
    call_command("exchange", *words, stdout=out)
    return out.getvalue().splitlines()


def test_the_command_knows_every_verb(sandbox: Sandbox) -> None:
    added = say("add", "kraken", "--base-url", "{SANDBOX_URL}", "--quotes", "USD")

    assert [line.split()[:3] for line in added] == [
        ["kraken", "health:", "ok"],
        ["kraken", "capabilities:", "ok"],
        ["kraken", "rate_limit:", "ok"],
        ["kraken", "worker:", "started"],
    ]
    assert say("refresh") == ["kraken: refreshed"]
    assert say("list")[0].startswith("kraken  stopped  every 10 s")
    assert "AAVE/USD" in " ".join(say("preview", "kraken"))
    assert say("blacklist", "kraken:BTC/USD") == ["kraken:BTC/USD is not collected any more"]
    assert say("lift", "kraken:BTC/USD") == ["kraken:BTC/USD is collected again"]
    assert say("blacklist", "kraken", "--reason", "test") == ["kraken: nobody calls it any more"]
    with pytest.raises(CommandError, match="blacklisted"):
        say("restart", "kraken")
    assert say("lift", "kraken")[-1] == "kraken  worker: started"
    assert say("restart", "kraken") == ["restarted"]
    assert say("disable", "kraken") == ["disabled"]
    entry = say("history", "kraken")[0].split()[0]
    assert say("undo", entry) == ["undone: disable kraken"]
    assert say("enable", "kraken") == ["enabled"]
    assert say("remove", "kraken")[0].startswith("removed")
    with pytest.raises(CommandError, match="Unknown exchange: krakn"):
        say("add", "krakn")


def test_plan_shows_and_apply_changes_only_what_differs(sandbox: Sandbox, make: Make, tmp_path: Path) -> None:
    make("kraken")
    make("luno")
    make("coinbase")
    generation = Worker.objects.get(pk="coinbase").generation
    file = tmp_path / "exchanges.yaml"
    file.write_text(
        """
exchanges:
  binance: {base_url: "{SANDBOX_URL}", market_filter: {quotes: [USDT]}}
  coinbase: {}
  kraken: {poll_interval_seconds: 20}
others: remove
""",
        encoding="utf-8",
    )
    planned = [
        "+ binance: add base_url: '{SANDBOX_URL}', market_filter: {'quotes': ['USDT']}",
        "~ kraken: poll_interval_seconds: 10.0 -> 20",
        "- luno: remove",
    ]

    assert say("plan", str(file)) == [*planned, "3 changes"]
    assert sorted(Exchange.objects.known().values_list("id", flat=True)) == ["coinbase", "kraken", "luno"]
    assert say("apply", str(file)) == [*planned, "3 changed"]
    assert sorted(Exchange.objects.known().values_list("id", flat=True)) == ["binance", "coinbase", "kraken"]
    assert Worker.objects.get(pk="coinbase").generation == generation
    assert say("plan", str(file)) == ["nothing to change"]
    assert say("apply", str(file)) == ["nothing to change"]


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "exchanges: {krakn: {}}",
        "exchanges: {kraken: {speed: 1}}",
        "exchanges: {kraken: {credentials: {apiKey: x}}}",
        "exchanges: {kraken: {enabled: maybe}}",
        "others: burn",
        "a: [",
        "!!python/object/apply:os.system ['true']",
    ],
)
def test_a_plan_that_cannot_be_followed_changes_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(CommandError):
        say("apply", str(file))

    assert not Exchange.objects.exists()


# --- an operator's word against what was learned ------------------------------------------------------------------


def test_asking_again_ends_a_pause_that_an_exchange_asked_for(sandbox: Sandbox, collected: Collect) -> None:
    collected("luno")
    sandbox.fault("luno", "status", params={"code": 429, "retry_after": 600})
    assert world.poll("luno") == "throttled"
    sandbox.heal()
    commands.restart("luno", **by())
    assert world.poll("luno") == "held_back"

    assert commands.ask_again("luno", reason="they said that it was a mistake", **by())

    assert world.poll("luno") == "stored"
    entry = AuditEntry.objects.get(verb="ask again")
    assert (entry.who, entry.why, entry.changed) == ("test", "they said that it was a mistake", True)
    assert entry.before["pause_seconds"] > 500


def test_asking_again_where_nobody_waits_changes_nothing(collected: Collect) -> None:
    collected("luno")

    assert not commands.ask_again("luno", **by())

    assert not AuditEntry.objects.get(verb="ask again").changed


def test_one_that_is_switched_off_is_not_asked_again(collected: Collect) -> None:
    collected("luno")
    commands.disable("luno", **by())

    for verb in (commands.ask_again, commands.accept_list):
        with pytest.raises(commands.CommandRefused, match="disabled"):
            verb("luno", **by())


def test_an_operator_accepts_a_list_that_is_half_as_long(sandbox: Sandbox, collected: Collect) -> None:
    collected("luno")
    symbols = list(Market.objects.filter(exchange="luno", active=True).values_list("symbol", flat=True))
    sandbox.move_markets("luno", delist=symbols[3:])
    try:
        assert poll.refresh_markets("luno", now=clock.now()) == "bad_reply"
        said = StringIO()
        call_command("exchange", "accept-list", "luno", stdout=said)
    finally:
        sandbox.reset()

    assert "3 active markets" in said.getvalue()
    assert Market.objects.filter(exchange="luno", active=True).count() == 3
    assert AuditEntry.objects.get(verb="accept list").before == {"active_markets": len(symbols)}


def test_a_terminal_asks_again(collected: Collect) -> None:
    collected("luno")
    Worker.objects.update(retry_at=clock.now() + timedelta(hours=1))
    said = StringIO()

    call_command("exchange", "ask-again", "luno", stdout=said)

    assert "the pause is over" in said.getvalue()
    assert Worker.objects.get().retry_at is None
