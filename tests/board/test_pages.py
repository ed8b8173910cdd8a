"""The pages around the board: rules at their edges, fixed queries, and symbols that no page may believe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from board import gap_rows, gaps_page, links, search, series
from board.rules import comparison
from board.rules.comparison import ComparedSource
from board.series import Shade
from collectors.models import Backfill, Gap, Pipeline, Rollup, Run, Switch, Tick, Transition, Worker
from exchanges.models import Exchange, Market
from tests.board.conftest import make_pipelines

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


# --- which source is an outlier ------------------------------------------------------------------------------------


def source(
    price: float | None = 100.0, *, age_seconds: float = 5, kind: str = "spot", is_collected: bool = True
) -> ComparedSource:
    received_at = NOON - timedelta(seconds=age_seconds)
    return ComparedSource(kind, price, 99.0, 101.0, received_at, expected_seconds=10, is_collected=is_collected)


def judged(*sources: ComparedSource) -> list[comparison.Judged]:
    return comparison.compare(sources, now=NOON, outlier_share=0.05)[1]


@pytest.mark.parametrize(
    ("price", "is_outlier"), [(105.0, False), (105.01, True), (95.0, False), (94.99, True), (100.0, False)]
)
def test_a_source_further_from_the_median_than_allowed_stands_apart(price: float, is_outlier: bool) -> None:
    found = judged(source(100.0), source(100.0), source(price))

    assert found[2].is_outlier is is_outlier
    assert found[2].distance == pytest.approx(price / 100 - 1)
    assert [each.is_outlier for each in found[:2]] == [False, False]


def test_of_two_fresh_sources_nobody_can_tell_which_is_wrong() -> None:
    middle, found = comparison.compare([source(100.0), source(200.0)], now=NOON, outlier_share=0.05)

    assert middle is None
    assert [(each.distance, each.is_outlier) for each in found] == [(None, None)] * 2
    assert found[0].reason == "only 2 fresh sources: 3 are needed to judge"
    assert judged(source())[0].reason == "only 1 fresh source: 3 are needed to judge"


@pytest.mark.parametrize(("age_seconds", "is_fresh"), [(20, True), (20.001, False)])
def test_a_source_is_fresh_for_two_expected_intervals(age_seconds: float, is_fresh: bool) -> None:
    found = judged(source(), source(), source(), source(500.0, age_seconds=age_seconds))

    assert found[3].is_fresh is is_fresh
    assert found[3].is_outlier is (True if is_fresh else None)
    assert (found[3].reason == "silent: older than two expected intervals") is not is_fresh


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [
        (source(900.0, kind="option"), "a market of kind option has a price of its own"),
        (source(900.0, is_collected=False), "not collected"),
        (source(None), "no price stored"),
        (source(0.0), "no price stored"),
    ],
    ids=["another kind", "stopped on purpose", "no price", "a price of zero"],
)
def test_what_cannot_be_compared_is_left_out_of_the_median(left_out: ComparedSource, reason: str) -> None:
    middle, found = comparison.compare(
        [source(100.0), source(102.0), source(104.0), left_out], now=NOON, outlier_share=0.05
    )

    assert middle == 102.0
    assert (found[3].distance, found[3].reason) == (None, reason)


@pytest.mark.parametrize(
    ("bid", "ask", "share"),
    [(99.0, 101.0, 0.02), (100.0, 100.0, 0.0), (None, 101.0, None), (101.0, 99.0, None), (0.0, 1.0, None)],
)
def test_a_spread_is_a_share_of_the_middle(bid: float | None, ask: float | None, share: float | None) -> None:
    assert comparison.spread_share(bid, ask) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, "-"), (65966.8, "65,966.8"), (1.2e-7, "0.00000012"), (100.0, "100"), (1e12, "1,000,000,000,000")],
)
def test_a_price_is_written_without_exponent_and_empty_digits(number: float | None, words: str) -> None:
    assert comparison.digits(number) == words


# --- charts -------------------------------------------------------------------------------------------------------


def shade(start: float, end: float, *, filled_until: float | None = None) -> Shade:
    return Shade(start, end, is_open=False, cause="unknown", words="", filled_until=filled_until)


def test_the_line_breaks_where_a_gap_lies() -> None:
    rows = [(0.0, 1.0, None, None, False), (10.0, 1.1, None, None, False), (60.0, 1.2, None, None, False)]

    columns = series.columns(rows, [shade(10, 60)])

    assert columns["at"] == [0.0, 10.0, 35.0, 60.0]
    assert columns["price"] == [1.0, 1.1, None, 1.2]


def test_backfilled_rows_have_a_line_of_their_own_up_to_where_filling_reached() -> None:
    rows = [(float(at), 1.0, None, None, False) for at in (0, 10, 20, 30, 40)]

    columns = series.columns(rows, [shade(0, 40, filled_until=20)])

    assert list(zip(columns["at"], columns["price"], columns["filled"], strict=True)) == [
        (0.0, 1.0, None),
        (5.0, None, None),
        (10.0, None, 1.0),
        (20.0, None, 1.0),
        (25.0, None, None),
        (30.0, 1.0, None),
        (35.0, None, None),
        (40.0, 1.0, None),
    ]


def test_a_row_that_says_itself_that_it_came_later_is_backfilled() -> None:
    columns = series.columns([(0.0, 1.0, None, None, True)], [])

    assert (columns["price"], columns["filled"]) == ([None], [1.0])


@pytest.mark.parametrize("span", series.SPANS.values(), ids=series.SPANS)
def test_no_chart_has_more_points_than_the_bound(span: series.ChartSpan) -> None:
    assert span.length.total_seconds() / span.step_seconds <= series.MOST_POINTS


def test_sources_are_put_on_one_line_of_time() -> None:
    body = series.aligned([(1, 60, 5.0), (2, 120, 6.0), (1, 120, 5.5)], {1: "a", 2: "b"})

    assert body == {
        "at": [60, 120],
        "lines": [{"name": "a", "values": [5.0, 5.5]}, {"name": "b", "values": [None, 6.0]}],
    }


def test_short_spans_are_made_of_ticks_and_long_ones_of_minutes(day: datetime, now: datetime, operator: Client) -> None:
    (market,) = make_pipelines(Exchange.objects.create(id="kraken"), ["BTC/USD"], now)
    minute = now.replace(second=0, microsecond=0)
    ticks = [Tick(pipeline_id=market.pk, received_at=minute - timedelta(seconds=ago), last=ago) for ago in (5, 65, 125)]
    Tick.objects.bulk_create([*ticks, Tick(pipeline_id=market.pk, received_at=now - timedelta(hours=30), last=1)])
    Rollup.objects.create(pipeline_id=market.pk, minute_at=minute - timedelta(hours=23), samples=6, close=77.0)
    Rollup.objects.create(pipeline_id=market.pk, minute_at=minute - timedelta(minutes=2), samples=6, close=88.0)

    short = operator.get(f"/board/chart/{market.pk}?span=1h").json()
    long = operator.get(f"/board/chart/{market.pk}?span=24h").json()

    assert short["price"] == [125.0, 65.0, 5.0]
    assert long["price"] == [77.0, 88.0, 5.0]  # the minute after the last one that is rolled up comes from its tick


def test_a_chart_knows_its_gaps_with_cause_and_evidence(day: datetime, now: datetime, operator: Client) -> None:
    (market,) = make_pipelines(Exchange.objects.create(id="kraken"), ["BTC/USD"], now)
    make_gap(market, now, cause="rate limited", evidence="3 runs throttled", filled_count=4)

    (gap,) = operator.get(f"/board/chart/{market.pk}?span=6h").json()["gaps"]

    assert (gap["cause"], gap["open"]) == ("rate limited", False)
    assert gap["words"] == "3 runs throttled; backfill waiting, 4 rows from the exchange's history"
    assert gap["end"] - gap["start"] == 1800


@pytest.mark.parametrize("path", ["/board/chart/999999", "/board/chart/pair/999999"])
def test_a_chart_of_nothing_is_not_found(path: str, operator: Client) -> None:
    assert operator.get(path).status_code == 404


# --- gaps ---------------------------------------------------------------------------------------------------------


def make_gap(market: Market, now: datetime, *, ended: bool = True, **fields: object) -> Gap:
    ended_at = now - timedelta(minutes=30) if ended else None
    started_at = now - timedelta(hours=1)
    return Gap.objects.create(
        pipeline_id=market.pk, started_at=started_at, ended_at=ended_at, missed_count=5, detected_at=now, **fields
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h 0 min"),
        (172_799, "47 h 59 min"),
        (172_800, "2 d 0 h"),
    ],
)
def test_a_length_is_said_in_at_most_two_units(seconds: float, words: str) -> None:
    assert gap_rows.lasted(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("requests", "per_minute", "words"),
    [
        (0, 6, "nothing left to ask"),
        (1, 6, "1 request, about 60 s"),
        (7, 6, "7 requests, about 2 min"),
        (1, 0, "backfill is off"),
    ],
)
def test_a_forecast_is_the_requests_over_what_a_minute_allows(requests: int, per_minute: int, words: str) -> None:
    assert gaps_page.forecast(requests, per_minute) == words


def test_gaps_are_narrowed_by_state_cause_exchange_and_whether_they_last(
    day: datetime, now: datetime, operator: Client
) -> None:
    first, second = (Exchange.objects.create(id=name) for name in ("kraken", "luno"))
    (quiet,) = make_pipelines(first, ["AAA/USD"], now)
    (lost,) = make_pipelines(second, ["BBB/USD"], now)
    make_gap(quiet, now, ended=False, cause="market quiet")
    make_gap(lost, now, cause="our outage", state="filled")

    def shown(query: str) -> list[str]:
        body = operator.get(f"/board/gaps?{query}").content.decode()
        return [name for name in ("AAA/USD", "BBB/USD") if name in body]

    assert shown("") == ["AAA/USD", "BBB/USD"]
    assert shown("lasting=yes") == shown("cause=market+quiet") == shown("exchange=kraken") == ["AAA/USD"]
    assert shown("lasting=no") == shown("state=filled") == shown("exchange=luno&cause=our+outage") == ["BBB/USD"]
    assert shown("exchange=nobody") == []
    assert shown("state=nonsense&cause='%22") == ["AAA/USD", "BBB/USD"]


def test_backfill_progress_counts_what_waits_and_what_was_done(day: datetime, now: datetime) -> None:
    markets = make_pipelines(Exchange.objects.create(id="kraken"), ["A/USD", "B/USD", "C/USD", "D/USD"], now)
    for market, state, rows in zip(markets, ("open", "filled", "filled", "expired"), (0, 20, 10, 0), strict=True):
        make_gap(market, now, state=state, filled_count=rows)

    (row,) = gaps_page.progress(now)

    assert (row["waiting"], row["done"], row["percent"], row["rows"]) == (1, 3, 75, 30)
    assert row["forecast"] == "1 request, about 60 s"


@pytest.mark.parametrize(("minutes", "is_paused"), [(5, True), (-5, False)])
def test_a_backfill_that_waits_says_until_when(minutes: int, is_paused: bool, day: datetime, now: datetime) -> None:
    exchange = Exchange.objects.create(id="luno")
    make_gap(make_pipelines(exchange, ["A/USD"], now)[0], now)
    Backfill.objects.create(exchange=exchange, paused_until=now + timedelta(minutes=minutes))

    (row,) = gaps_page.progress(now)

    assert row["paused_until"] == (now + timedelta(minutes=minutes) if is_paused else None)


# --- addresses and search -----------------------------------------------------------------------------------------

READABLE = [
    "BTC/USDT",
    "BTC/USDT:USDT",
    "BTC/USD:BTC-261225",
    "A B/USD",
    "50%/USD",
    "A?b#c/USD",
    "币安/USD",
    "\"'<b>/USD",
]
UNFIT = ["../admin", "A//B", "A\n/USD", "/USD", "A\\B/USD", "A/./USD"]


@pytest.mark.parametrize("symbol", READABLE)
def test_a_pipelines_address_leads_to_it(symbol: str, day: datetime, now: datetime, operator: Client) -> None:
    (market,) = make_pipelines(Exchange.objects.create(id="kraken"), [symbol], now)

    url = links.pipeline("kraken", symbol, number=market.pk)
    response = operator.get(url)

    assert unquote(url) == f"/board/pipelines/kraken/{symbol}"
    assert response.status_code == 200
    assert response.context["pipeline"].pk == market.pk


@pytest.mark.parametrize("symbol", UNFIT)
def test_a_symbol_that_cannot_stand_in_an_address_is_reached_by_its_number(
    symbol: str, day: datetime, now: datetime, operator: Client
) -> None:
    (market,) = make_pipelines(Exchange.objects.create(id="kraken"), [symbol], now)

    url = links.pipeline("kraken", symbol, number=market.pk)

    assert url == f"/board/pipelines/{market.pk}"
    assert operator.get(url).context["pipeline"].pk == market.pk


@pytest.mark.parametrize(
    ("base", "quote"), [("BTC", "USD"), ("A/B", "USD"), ("A", "B/USD"), ("A:B", "U?D"), ("A\n", "")]
)
def test_a_pairs_address_leads_to_all_its_sources(
    base: str, quote: str, day: datetime, now: datetime, operator: Client
) -> None:
    for name in ("kraken", "luno"):
        (market,) = make_pipelines(Exchange.objects.create(id=name), ["X/USD"], now)
        Market.objects.filter(pk=market.pk).update(base=base, quote=quote)

    response = operator.get(links.pair(base, quote, number=market.pk))

    assert [row["exchange"] for row in response.context["rows"]] == ["kraken", "luno"]


@pytest.mark.parametrize(
    "path",
    [
        "/board/pairs/NO/PAIR",
        "/board/pairs/x",
        "/board/pair",
        "/board/pair?market=x",
        "/board/pair?market=999999",
        "/board/pipelines/999999",
        "/board/pipelines/kraken/NO/PE",
        "/board/exchanges/nobody",
        "/board/pairs/" + "a/" * 50 + "b",
    ],
)
def test_what_is_not_there_is_not_found(path: str, operator: Client) -> None:
    assert operator.get(path).status_code == 404


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("kraken", "/board/exchanges/kraken"),
        ("KRAKEN", "/board/exchanges/kraken"),
        ("btc/usd", "/board/pairs/BTC/USD"),
        ("kraken:btc/usd", "/board/pipelines/kraken/BTC/USD"),
        ("kraken:BTC/USD:X", "/board/pipelines/kraken/BTC/USD:X"),
        (" BTC/USD ", "/board/pairs/BTC/USD"),
    ],
)
def test_a_whole_name_leads_straight_to_its_page(words: str, place: str, searchable: None, operator: Client) -> None:
    response = operator.get("/board/search", {"q": words})

    assert (response.status_code, response.headers.get("Location")) == (302, place)


@pytest.mark.parametrize(
    "words", ["", "   ", "b", "zzz", "%", "'", ":", "kraken:", "<script>alert(1)</script>", "x" * 999]
)
def test_anything_else_gives_a_list(words: str, searchable: None, operator: Client) -> None:
    response = operator.get("/board/search", {"q": words})

    assert response.status_code == 200
    assert "<script>alert" not in response.content.decode()


def test_the_beginning_of_a_name_finds_pairs_and_pipelines(searchable: None) -> None:
    found = search.find("b")

    assert found.pairs == [("BTC/USD", "/board/pairs/BTC/USD")]
    assert [name for name, _ in found.pipelines] == ["kraken:BTC/USD", "luno:BTC/USD", "kraken:BTC/USD:X"]
    assert [name for name, _ in search.find("luno:").pipelines] == ["luno:BTC/USD"]


@pytest.fixture
def searchable(day: datetime, now: datetime) -> None:
    make_pipelines(Exchange.objects.create(id="kraken"), ["BTC/USD", "BTC/USD:X", "ETH/USD"], now)
    make_pipelines(Exchange.objects.create(id="luno"), ["BTC/USD"], now)


# --- whole pages --------------------------------------------------------------------------------------------------

HOSTILE = "\"'`></title><script>alert(1)</script>\n/{{7*7}}:USD"
FILLED_PAGES = [
    "/board/exchanges/kraken",
    "/board/pipelines/{first}",
    "/board/pair?market={first}",
    "/board/gaps",
    "/board/gaps/progress",
    "/board/search?q=%22",
    "/board/heat",
    "/board/heat/kraken",
    "/board/heat/kraken?as=table",
]


@pytest.fixture
def kraken(day: datetime, now: datetime) -> Exchange:
    begun = now - timedelta(hours=2)
    exchange = Exchange.objects.create(id="kraken", name=HOSTILE)
    Worker.objects.create(
        exchange=exchange, resumed_at=begun, status_since=begun, heartbeat_at=now, stored_at=now, last_error=HOSTILE
    )
    return exchange


def fill(exchange: Exchange, now: datetime, count: int) -> Market:
    """So many hostile markets, and everything that a page can list; the first market."""
    markets = make_pipelines(exchange, [f"{HOSTILE}{number}" for number in range(count)], now)
    Market.objects.filter(exchange=exchange).update(base=HOSTILE, quote=HOSTILE)
    for number, market in enumerate(markets):
        make_gap(market, now, ended=number % 2 == 0, cause="unknown", evidence=HOSTILE)
        moment = now - timedelta(seconds=number)
        Run.objects.create(exchange=exchange, started_at=moment, duration_ms=5, outcome="bad_reply", error=HOSTILE)
        Transition.objects.create(
            exchange=exchange, happened_at=moment, from_status="running", to_status="error", reason=HOSTILE
        )
        Switch.objects.create(exchange=exchange, happened_at=moment, to_transport="poll", reason=HOSTILE)
    return markets[0]


@pytest.mark.parametrize("path", FILLED_PAGES)
def test_a_page_costs_the_same_queries_whatever_there_is(
    path: str, kraken: Exchange, now: datetime, operator: Client
) -> None:
    def queries(first: Market) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert operator.get(path.format(first=first.pk)).status_code == 200
        return len(captured)

    few = queries(fill(kraken, now, 2))
    Market.objects.all().delete()
    many = queries(fill(kraken, now, 30))

    assert few == many


@pytest.mark.parametrize("path", FILLED_PAGES)
def test_what_an_exchange_says_stays_text(path: str, kraken: Exchange, now: datetime, operator: Client) -> None:
    first = fill(kraken, now, 2)

    body = operator.get(path.format(first=first.pk)).content.decode()

    assert "<script>alert(1)" not in body
    assert "</title><script>" not in body
    if path not in ("/board/search?q=%22", "/board/heat", "/board/gaps/progress"):
        assert escape("<script>alert(1)</script>") in body


@pytest.mark.parametrize("path", [*FILLED_PAGES, "/board/chart/{first}", "/board/chart/pair/{first}"])
def test_only_who_may_see_it_sees_a_page(path: str, kraken: Exchange, now: datetime, client: Client) -> None:
    url = path.format(first=fill(kraken, now, 1).pk)
    is_part = any(word in path for word in ("/heat", "/chart", "/progress"))
    guest = User.objects.create_user("gwen", password="correct horse battery", is_staff=True)
    reader = User.objects.create_user("ruth", password="correct horse battery", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))

    signed_out = client.get(url)
    client.force_login(guest)
    refused = client.get(url)
    client.force_login(reader)
    shown = client.get(url)

    assert signed_out.status_code == (403 if is_part else 302)
    assert refused.status_code == 403
    assert shown.status_code == 200
    assert client.post(url).status_code in (403, 405)


def test_pages_run_no_inline_script_and_ask_nobody_else(kraken: Exchange, now: datetime, operator: Client) -> None:
    first = fill(kraken, now, 1)

    for path in FILLED_PAGES:
        response = operator.get(path.format(first=first.pk))
        policy = response.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
        assert "https://" not in response.content.decode().replace("https://www.w3.org", "")


def test_a_silent_pipeline_says_since_when_and_why(day: datetime, now: datetime, operator: Client) -> None:
    (market,) = make_pipelines(Exchange.objects.create(id="kraken"), ["BTC/USD"], now)
    make_gap(market, now, ended=False, cause="rate limited", evidence="the exchange asked us to wait")
    Pipeline.objects.filter(pk=market.pk).update(gap_open=True, received_at=now - timedelta(hours=1))

    state = operator.get(f"/board/pipelines/{market.pk}").context["state"]

    assert (state["tone"], state["said"]) == ("danger", "silent")
    assert state["since"] == now - timedelta(hours=1)
    assert state["why"] == "rate limited: the exchange asked us to wait"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frozen": True}, "frozen"),
        ({"received_at": None}, "never stored"),
        ({"gap_open": True, "frozen": True}, "silent"),
        ({"received_at": NOON - timedelta(days=9)}, "silent"),
        ({}, "fresh"),
    ],
    ids=["the same values", "no row ever", "silent, and the same values", "a pulse that is dead, too", "all is well"],
)
def test_a_pipelines_state_is_its_worst_news(
    change: dict[str, object], said: str, day: datetime, now: datetime, operator: Client
) -> None:
    (market,) = make_pipelines(Exchange.objects.create(id="kraken"), ["BTC/USD"], now)
    Pipeline.objects.filter(pk=market.pk).update(**change)

    assert operator.get(f"/board/pipelines/{market.pk}").context["state"]["said"] == said


def test_a_pipeline_that_nobody_wants_is_not_called_fresh(day: datetime, now: datetime, operator: Client) -> None:
    (market,) = make_pipelines(Exchange.objects.create(id="kraken", enabled=False), ["BTC/USD"], now)

    state = operator.get(f"/board/pipelines/{market.pk}").context["state"]

    assert (state["said"], state["why"]) == (
        "not collected",
        "the exchange is switched off or blacklisted by an operator",
    )


def test_a_pair_names_the_source_that_stands_apart(day: datetime, now: datetime, operator: Client) -> None:
    for name, price in (("binance", 100.0), ("kraken", 101.0), ("luno", 150.0)):
        (market,) = make_pipelines(Exchange.objects.create(id=name), ["BTC/USD"], now)
        Pipeline.objects.filter(pk=market.pk).update(last=price, received_at=now)

    context = operator.get("/board/pairs/BTC/USD").context

    assert context["verdict"]["more"] == "outlier: luno:BTC/USD"
    assert [row["is_outlier"] for row in context["rows"]] == [False, False, True]
