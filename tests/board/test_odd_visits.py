"""Unusual visits: signed out meanwhile, another slash, a database that is away, bytes that come from no form."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from board import fragments, gap_rows, live, tiles
from board.drills import runner
from board.drills.faults import FAULTS
from board.fragments import Fragment
from board.gap_rows import GapRow
from board.models import Drill, DrillState
from collectors.models import Gap, Worker
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from lib import clock, valkey
from operations.commands import CommandRefused
from tests.board.boards import forgetful
from tests.board.conftest import make_pipelines

__all__ = ["forgetful"]

SIMPLE = next(iter(FAULTS))


# --- who is signed out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/board/gaps", "/board/exchanges/kraken"])
def test_a_page_that_renews_itself_asks_the_signed_out_to_sign_in(path: str, db: None, client: Client) -> None:
    """htmx followed the redirect, found no facts in the sign-in form, and took those on the page away."""
    Exchange.objects.create(id="kraken")

    answer = client.get(path, headers={"HX-Request": "true"})

    assert (answer.status_code, answer.headers["HX-Refresh"]) == (403, "true")
    assert client.get(path).status_code == 302


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/board/pairs/BTC/USD",
        "/board/pipelines/kraken/BTC/USD",
        "/board/chart/{first}",
        "/board/chart/pair/{first}",
        "/board/drills/newest",
    ],
)
def test_a_slash_at_the_end_changes_nothing(path: str, day: datetime, now: datetime, operator: Client) -> None:
    (market,) = make_pipelines(Exchange.objects.create(id="kraken"), ["BTC/USD"], now)
    url = path.format(first=market.pk)

    assert [operator.get(each).status_code for each in (url, f"{url}/")] == [200, 200]


@pytest.mark.parametrize(("field", "value"), [("exchange", "kra\x00ken"), ("symbol", "BTC\x00/USD"), ("fault", "\x00")])
def test_a_drill_with_a_control_character_is_refused_in_words(
    field: str, value: str, day: datetime, now: datetime, operator: Client
) -> None:
    exchange = Exchange.objects.create(id="kraken", base_url=SANDBOX_PLACEHOLDER)
    Worker.objects.create(exchange=exchange, resumed_at=now, status_since=now, status="running")
    wanted = {"exchange": "kraken", "fault": "html", "symbol": "BTC/USD"} | {field: value}

    answer = operator.post(reverse("board-drill-start"), wanted, headers={"HX-Request": "true"})

    assert answer.status_code == 200
    assert 'role="alert"' in answer.content.decode()


def test_a_drill_that_is_over_is_not_stopped_again(db: None, now: datetime) -> None:
    """Its fault's number may be another fault's by now."""
    exchange = Exchange.objects.create(id="kraken", base_url=SANDBOX_PLACEHOLDER)
    over = Drill.objects.create(
        exchange=exchange, fault=SIMPLE, seconds=5, started_at=now, state=DrillState.PASSED, fault_number=7
    )

    with pytest.raises(CommandRefused, match="over"):
        runner.stop(over, now=now, by="ann")


# --- the live board ------------------------------------------------------------------------------------------------


def test_with_the_database_away_the_live_board_says_that_nobody_knows(
    operator: Client, forgetful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(now: datetime) -> Any:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(tiles, "read", away)

    answer = operator.get("/board/live")

    assert answer.status_code == 503
    assert "nobody knows" in answer.json()["message"]
    assert "server closed" not in answer.content.decode()


def test_a_part_that_was_replaced_between_two_looks_is_not_kept_under_the_old_ones_name(
    forgetful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was: when the old content came back, browsers went on showing what was brought in between."""
    old, new = (Fragment(fragments.hash_of("verdict", text), text) for text in ("all is well", "nothing is well"))
    hmget = redis.Redis.hmget

    def look_while_it_changes(client: redis.Redis, key: str, names: list[str]) -> Any:
        if names[0].startswith("part:"):
            put(new)
        return hmget(client, key, names)

    def put(fragment: Fragment) -> None:
        hashes = f'[["verdict","{fragment.hash}"]]'
        fields = {"taken_at": clock.now().timestamp(), "etag": fragment.hash, "hashes": hashes}
        valkey.client().hset(live.KEY, mapping={**fields, "part:verdict": fragment.html})

    put(old)
    monkeypatch.setattr(redis.Redis, "hmget", look_while_it_changes)
    between = live.fetch(None)
    monkeypatch.setattr(redis.Redis, "hmget", hmget)
    put(old)
    after = live.fetch(between)

    assert between is not None
    assert after is not None
    assert after.parts["verdict"] == old


# --- public words --------------------------------------------------------------------------------------------------


def test_a_name_is_written_in_letters_that_every_font_has(db: None, now: datetime, client: Client) -> None:
    exchange = Exchange.objects.create(id="binanceusdm", name="Binance USDⓈ-M")
    Worker.objects.create(exchange=exchange, resumed_at=now, status_since=now)

    page, data = client.get("/status").content.decode(), client.get("/status.json").json()

    assert "Binance USDS-M" in page
    assert [each["name"] for each in data["exchanges"]] == ["Binance USDS-M"]


# --- gaps of one outage --------------------------------------------------------------------------------------------


def row(number: int, started: int, ended: int | None, *, exchange: str = "kraken", cause: str = "unknown") -> GapRow:
    begun = datetime.fromisoformat("2026-03-04T12:00:00Z")
    return GapRow(
        number, exchange, f"C{number}/USD", "/there", begun + timedelta(seconds=started),
        None if ended is None else begun + timedelta(seconds=ended), "a while", 3, cause, "no answer",
        "open" if ended is None else "filled", filled_count=2, percent=50, forecast="",
    )  # fmt: skip


def grouped(*rows: GapRow, most: int = 50) -> tuple[list[int | list[int]], int]:
    """Numbers of single rows, and lists of numbers of groups."""
    entries, used = gap_rows.grouped(rows, now=datetime.fromisoformat("2026-03-04T13:00:00Z"), most=most)
    shown = [[each.number for each in entry.members] or entry.number for entry in entries]
    return shown, used


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(n, n, 600 + n) for n in range(1, 5)], [[1, 2, 3, 4]]),
        ([row(1, 0, 600), row(2, 1, 600)], [1, 2]),
        ([row(n, 0, None) for n in range(1, 4)], [[1, 2, 3]]),
        ([row(1, 0, None), row(2, 0, None), row(3, 0, 600)], [1, 2, 3]),
        ([row(1, 0, 600), row(2, 0, 600), row(3, 0, 600, cause="our outage")], [1, 2, 3]),
        ([row(1, 0, 600), row(2, 0, 600), row(3, 0, 600, exchange="luno")], [1, 2, 3]),
        ([row(1, 0, 600), row(2, 61, 600), row(3, 0, 661)], [1, 2, 3]),
        (
            [row(1, 0, 600), row(9, 0, 600, exchange="luno"), row(2, 0, 600), row(3, 0, 600)],
            [[1, 2, 3], 9],
        ),
    ],
    ids=[
        "one outage", "two are no crowd", "all still lasting", "one is over", "another cause", "another exchange",
        "another span", "others between",
    ],
)  # fmt: skip
def test_gaps_of_one_outage_are_one_row(rows: list[GapRow], expected: list[int | list[int]]) -> None:
    assert grouped(*rows) == (expected, len(rows))


def test_a_group_that_was_not_read_to_its_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(1, 900, 950), row(2, 0, 600), row(3, 0, 600), row(4, 0, 600)]
    monkeypatch.setattr(gap_rows, "MOST_READ", 4)

    entries, _ = gap_rows.grouped(rows, now=clock.now(), most=50)

    assert [entry.symbol for entry in entries] == ["C1/USD", "3 or more pipelines"]


def test_a_page_ends_before_the_row_that_would_be_one_too_many() -> None:
    rows = [row(1, 900, 950), row(2, 500, 560), row(3, 500, 560), row(4, 500, 560), row(5, 0, 60)]

    assert grouped(*rows, most=2) == ([1, [2, 3, 4]], 4)


def test_forty_gaps_of_one_outage_unfold_from_one_row(day: datetime, now: datetime, operator: Client) -> None:
    markets = make_pipelines(Exchange.objects.create(id="kraken"), [f"C{n}/USD" for n in range(40)], now)
    for place, market in enumerate(markets):
        started_at = now - timedelta(hours=1, seconds=place % 5)
        Gap.objects.create(
            pipeline_id=market.pk, started_at=started_at, ended_at=now - timedelta(minutes=50), missed_count=6,
            cause="exchange outage", evidence="no answer", detected_at=now,
        )  # fmt: skip

    page = operator.get("/board/gaps").content.decode()

    assert page.count("<tr") == 2
    assert "40 pipelines" in page
    assert all(f"{market.symbol}</a>" in page for market in markets)


def test_a_page_of_gaps_goes_on_where_the_last_one_ended(day: datetime, now: datetime, operator: Client) -> None:
    markets = make_pipelines(Exchange.objects.create(id="kraken"), [f"C{n}/USD" for n in range(60)], now)
    for place, market in enumerate(markets):
        started_at = now - timedelta(minutes=10 * place + 5)
        Gap.objects.create(
            pipeline_id=market.pk, started_at=started_at, ended_at=started_at + timedelta(minutes=1), missed_count=6,
            cause="unknown", evidence="", detected_at=now,
        )  # fmt: skip

    first = operator.get("/board/gaps").content.decode()
    second = operator.get("/board/gaps?skip=50").content.decode()

    assert "?skip=50" in first
    assert ("C49/USD</a>" in first, "C50/USD</a>" in first) == (True, False)
    assert ("C50/USD</a>" in second, "C59/USD</a>" in second, "Older" in second) == (True, True, False)


@pytest.mark.parametrize("place", ["VERB/EXCHANGE", "VERB/kraken", "restart/EXCHANGE"])
def test_the_words_that_stand_for_a_verb_are_none(place: str, operator: Client) -> None:
    """The page's own address for its buttons, pressed before anything was put in: it was a 500."""
    assert operator.post(f"/board/act/{place}").status_code == 404
