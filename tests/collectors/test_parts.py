"""An exchange in parts: what one poll goes without costs its own markets, and says why."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db.models import Max
from django.test import Client
from django.urls import reverse

from board import tiles
from collectors.gaps import parts, sweep
from collectors.history import partitions
from collectors.lease import Permit, UnknownRows
from collectors.models import Gap, PartOutage, Pipeline, Run, Worker
from collectors.polling import market_list
from collectors.streaming import comparison_poll
from collectors.streaming.ownership import StreamTarget
from exchanges.models import Market
from feeds.base import MissingPart, Poll
from lib import clock, valkey
from tests.world import onboard_and_poll, permit, poll


@pytest.fixture
def collect(transactional_db, sandbox, settings):
    settings.POLL_DEADLINE_SECONDS = 5.0
    valkey.client().flushdb()
    partitions.ensure(clock.now())
    sandbox.reset()
    yield onboard_and_poll
    sandbox.reset()


def counts(exchange_id: str) -> dict[str, int]:
    of_kind = {kind: Market.objects.collected().filter(exchange=exchange_id, kind=kind) for kind in ("spot", "swap")}
    return {kind: found.count() for kind, found in of_kind.items()}


# --- one of two requests fails ----------------------------------------------------------------------------------------


def test_a_request_that_fails_costs_its_own_markets_and_their_gaps_say_so(collect, sandbox, client: Client):
    assert collect("hyperliquid") == "stored"
    known = counts("hyperliquid")
    sandbox.fault("hyperliquid", "status", count=1, params={"code": 502})

    assert collect("hyperliquid") == "stored"

    outage, worker = PartOutage.objects.get(), Worker.objects.get()
    lost = "spot" if Run.objects.latest("id").rows_stored == known["swap"] else "swap"
    assert (outage.outcome, outage.ended_at, len(outage.pipelines)) == ("unreachable", None, known[lost])
    assert (worker.status, worker.error_count, worker.missing_markets) == ("running", 0, known[lost])
    assert f"({known[lost]} markets): unreachable" in Run.objects.latest("id").excerpt
    [told] = client.get("/api/v1/workers/").json()["results"]
    assert [(part["outcome"], part["markets"]) for part in told["missing_parts"]] == [("unreachable", known[lost])]
    page = client.get("/status.json").json()["exchanges"][0]
    assert (page["status"], page["message"]) == ("degraded", "Part of the data is missing")

    began = Pipeline.objects.filter(pk__in=outage.pipelines).earliest("received_at").received_at
    PartOutage.objects.update(started_at=began + timedelta(seconds=10))
    others = Pipeline.objects.exclude(pk__in=outage.pipelines)
    now = began + timedelta(seconds=45)
    others.update(received_at=now)
    Run.objects.update(started_at=began + timedelta(seconds=10), duration_ms=100)
    Worker.objects.update(heartbeat_at=now, stored_at=now)
    sweep.run(now)

    assert set(Gap.objects.values_list("pipeline_id", flat=True)) == set(outage.pipelines)
    said = {(gap.cause, gap.evidence.partition(":")[0]) for gap in Gap.objects.all()}
    assert said == {("exchange outage", f"polls went without {outage.part} (unreachable)")}


def test_a_part_that_comes_again_ends_its_outage(collect, sandbox):
    collect("hyperliquid")
    sandbox.fault("hyperliquid", "status", count=1, params={"code": 502})
    collect("hyperliquid")

    assert collect("hyperliquid") == "stored"

    outage, worker = PartOutage.objects.get(), Worker.objects.get()
    assert outage.started_at < outage.seen_at <= outage.ended_at
    assert (worker.missing_markets, worker.left_out_markets) == (0, 0)


# --- the ledger of parts ----------------------------------------------------------------------------------------------


def missing(world, *numbers: int, part: str = "swap", kind: str = "unreachable", reason: str = "HTTP 502") -> list:
    return [MissingPart(part, kind, reason, tuple(world.markets[number].symbol for number in numbers))]


def note(world, told, at) -> None:
    pipelines = {market.symbol: market.pk for market in world.markets}
    parts.note("kraken", 1, told, pipelines, started_at=at, seen_at=at)


def test_one_row_for_all_polls_that_miss_a_part_in_the_same_way(world, after):
    note(world, missing(world, 0), after(0))
    note(world, missing(world, 1, reason="HTTP 503"), after(10))

    outage = PartOutage.objects.get()
    assert (outage.started_at, outage.seen_at, outage.ended_at) == (after(0), after(10), None)
    assert outage.reason == "HTTP 503"
    assert outage.pipelines == sorted([world.markets[0].pk, world.markets[1].pk])  # they are asked for in turn
    assert world.worker.missing_markets == 1


def test_another_outcome_is_another_outage(world, after):
    note(world, missing(world, 0), after(0))
    note(world, missing(world, 0, kind="throttled"), after(10))

    rows = PartOutage.objects.order_by("started_at").values_list("outcome", "ended_at")
    assert list(rows) == [("unreachable", after(10)), ("throttled", None)]


def test_what_no_way_gives_is_left_out_and_degrades_nothing(world, after, admin_client):
    note(world, missing(world, 0, kind="unsupported", reason="swap markets only"), after(0))

    assert (world.worker.missing_markets, world.worker.left_out_markets) == (0, 1)
    world.store(at=after(1))
    [tile] = tiles.read(after(2)).tiles
    assert (tile.condition.state, tile.notes) == (
        "delivers",
        ("left out, as it cannot be asked for: swap (1 market)",),
    )
    page = admin_client.get(reverse("board-exchange", args=["kraken"])).content.decode()
    assert "left out" in page
    assert "swap markets only" in page


def test_what_is_asked_for_in_turn_is_noted_and_no_trouble(world, after):
    note(world, missing(world, 0, 1, kind="held_back", reason="1 of 3 fitted into this poll"), after(0))
    note(world, missing(world, 1, 2, kind="held_back", reason="1 of 3 fitted into this poll"), after(10))

    outage = PartOutage.objects.get()
    assert (outage.is_in_turn, len(outage.pipelines)) == (True, 3)
    assert (world.worker.missing_markets, world.worker.left_out_markets) == (0, 0)
    assert permit("kraken").lacks_parts


def test_the_board_says_which_part_is_missing_since_when_and_why(world, after):
    world.store(at=after(0))
    note(world, missing(world, 0), after(0))

    [tile] = tiles.read(after(2)).tiles

    assert (tile.condition.state, tile.condition.why) == ("degraded", "without swap (1 market)")
    assert (tile.condition.since, tile.condition.detail) == (after(0), "unreachable: HTTP 502")


def test_a_part_without_a_market_of_ours_is_missed_by_nobody(world, after):
    parts.note("kraken", 1, [MissingPart("swap", "bad_reply", "x", ("NO/NE:NE",))], {}, started_at=after(0),
               seen_at=after(0))  # fmt: skip

    assert not PartOutage.objects.exists()


def test_an_old_generation_notes_nothing(world, after):
    Worker.objects.update(generation=2)

    note(world, missing(world, 0), after(0))

    assert not PartOutage.objects.exists()


def test_what_nobody_has_asked_for_lately_is_over(world, after):
    note(world, missing(world, 0), after(0))

    assert [parts.end_forgotten(after(590)), parts.end_forgotten(after(610))] == [0, 1]

    assert PartOutage.objects.get().ended_at == after(0)
    assert world.worker.missing_markets == 0


def test_a_poll_beside_a_stream_notes_what_neither_brings(world, after):
    wish = StreamTarget("kraken", world.exchange.feed_spec(), "auto", 1, 10.0, 0, None)
    answer = Poll((), 5, missing=tuple(missing(world, 0, 1)))

    comparison_poll.note_poll(wish, answer, 1, {world.markets[0].symbol})

    assert PartOutage.objects.get().pipelines == [world.markets[1].pk]


# --- rows of markets that the list does not have ----------------------------------------------------------------------


def test_a_new_market_is_stored_by_the_poll_after_the_one_that_met_it(collect, sandbox, client: Client):
    assert collect("luno") == "stored"
    sandbox.move_markets("luno", list=["FRESH/ZAR"])

    assert poll("luno") == "stored"

    worker = Worker.objects.get()
    assert (worker.unknown_rows, worker.accepted_unknown) == (1, 0)
    assert "1 rows of markets that are not in the list" in Run.objects.latest("id").excerpt
    assert client.get("/api/v1/workers/").json()["results"][0]["unknown_rows"] == 1

    assert poll("luno") == "stored"

    assert Pipeline.objects.get(market__symbol="FRESH/ZAR").received_at is not None
    assert Worker.objects.values_list("unknown_rows", "accepted_unknown").get() == (0, 0)


def test_rows_that_no_list_explains_do_not_make_us_ask_for_it_again_and_again(collect, sandbox):
    collect("luno")
    Worker.objects.update(unknown_rows=3, accepted_unknown=3)
    began = time.time()

    assert poll("luno") == "stored"

    paths = {request["path"].rpartition("/")[2] for request in sandbox.requests_of("luno", since=began)}
    assert paths == {"tickers"}


@pytest.mark.parametrize(
    ("seen", "version", "loaded_minutes_ago", "remembered"),
    [
        (4, 7, 10, UnknownRows(4, 3, 7)),
        (4, 8, 10, UnknownRows(4, 4, 8)),
        (1, 8, 10, UnknownRows(1, 3, 8)),
        (1, 8, 61, UnknownRows(1, 1, 8)),
    ],
    ids=["the same list", "a list out of turn", "takes none back", "the usual list begins anew"],
)
def test_what_is_remembered_of_rows_that_no_list_has(world, seen, version, loaded_minutes_ago, remembered):
    permit = Permit(
        world.exchange, world.worker.exchange_id, 1, None, world.now, "stored", 0, 7,
        world.now - timedelta(minutes=loaded_minutes_ago), 0, unknown=UnknownRows(3, 3, 7),
    )  # fmt: skip

    assert market_list.unknown_rows(permit, seen, version, now=world.now) == remembered


def test_beside_a_stream_such_rows_ask_for_the_list_too(world, after):
    Worker.objects.update(markets_version=7, markets_loaded_at=after(-600))

    first = market_list.note_unknown("kraken", 1, 2, after(0))
    second = market_list.note_unknown("kraken", 1, 3, after(10))

    assert (first, second) == (False, True)
    Worker.objects.update(markets_version=8, markets_loaded_at=after(20))
    assert not market_list.note_unknown("kraken", 1, 3, after(30))
    assert world.worker.accepted_unknown == 3


# --- rows that are stored without a part of them ----------------------------------------------------------------------


def test_a_row_without_a_believable_time_is_stored_and_counted(collect, sandbox):
    collect("binance")
    sandbox.fault(
        "binance", "override", params={"symbol": "BTC/USDT", "field": "closeTime", "value": 9_999_999_999_999}
    )

    assert collect("binance") == "stored"

    run = Run.objects.latest("id")
    assert (run.rows_repaired, run.rows_quarantined) == (1, 0)
    assert "BTC/USDT" in run.excerpt
    assert Pipeline.objects.get(market__symbol="BTC/USDT").exchange_at is None


def test_a_run_ends_after_its_rows(collect):
    collect("luno")

    run, newest = Run.objects.latest("id"), Pipeline.objects.aggregate(at=Max("received_at"))["at"]

    assert run.started_at + timedelta(milliseconds=run.duration_ms + 1) >= newest
