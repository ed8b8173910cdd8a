"""Badges on other people's pages."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import datetime, timedelta

import pytest

from board import badges
from board.badges import Badge
from collectors.models import Pipeline, Worker
from exchanges.models import Exchange, Market
from lib import clock

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def now(db: None) -> datetime:
    return clock.now()


@pytest.fixture
def kraken(now: datetime) -> Worker:
    exchange = Exchange.objects.create(id="kraken", name="Kraken")
    return Worker.objects.create(
        exchange=exchange, resumed_at=now - timedelta(days=1), status_since=now, heartbeat_at=now,
        stored_at=now - timedelta(seconds=30), symbols_tracked=1, status="running",
    )  # fmt: skip


def list_market(exchange: str, base: str, quote: str, received_at: datetime | None) -> Market:
    market = Market.objects.create(
        exchange_id=exchange, symbol=f"{base}/{quote}", base=base, quote=quote, kind="spot", venue_id=base,
        source=exchange, listed_at=clock.now(),
    )  # fmt: skip
    Pipeline.objects.create(market=market, received_at=received_at, expected_seconds=10)
    return market


def title(response) -> str:
    found = ElementTree.fromstring(response.content).find(f"{SVG}title")
    assert found is not None
    return found.text or ""


def test_an_exchange_shows_its_state_and_age(client, kraken):
    response = client.get("/badge/exchange/kraken.svg")

    assert response.status_code == 200
    assert response["Content-Type"] == "image/svg+xml"
    assert title(response) in ("kraken: operational · 30 s ago", "kraken: operational · 31 s ago")
    assert badges.GREEN in response.content.decode()


def test_a_failing_exchange_is_red(client, kraken):
    Worker.objects.update(error_count=3)

    response = client.get("/badge/exchange/kraken.svg")

    assert title(response).startswith("kraken: down · ")
    assert badges.RED in response.content.decode()


@pytest.mark.parametrize(
    ("age_seconds", "words", "colour"),
    [
        (599, "fresh · 9 min ago", badges.GREEN),
        (600, "stale · 10 min ago", badges.AMBER),
        (1800, "stale · 30 min ago", badges.AMBER),
        (1801, "unavailable · 30 min ago", badges.RED),
        (None, "unavailable · no data yet", badges.RED),
    ],
)
def test_a_pair_is_as_fresh_as_in_its_document(now, kraken, age_seconds, words, colour):
    list_market("kraken", "BTC", "USD", now - timedelta(seconds=age_seconds) if age_seconds is not None else None)

    assert badges.of_pair("BTC-USD", now) == Badge("BTC/USD", words, colour)


def test_a_pair_is_as_fresh_as_its_newest_source(now, kraken):
    luno = Exchange.objects.create(id="luno")
    list_market("kraken", "BTC", "USD", now - timedelta(hours=1))
    list_market(luno.id, "BTC", "USD", now - timedelta(seconds=5))

    assert badges.of_pair("BTC-USD", now).value == "fresh · 5 s ago"


def test_a_badge_may_be_read_by_any_page(client, kraken):
    response = client.get("/badge/exchange/kraken.svg", headers={"Origin": "https://else.example"})

    assert response["Access-Control-Allow-Origin"] == "*"
    assert "Origin" not in response.get("Vary", "")


def test_what_is_not_collected_is_unknown(now, kraken):
    market = list_market("kraken", "BTC", "USD", now)
    Market.objects.filter(pk=market.pk).update(blacklisted=True)

    assert not badges.of_pair("BTC-USD", now).is_known


@pytest.mark.parametrize("path", ["/badge/exchange/nobody.svg", "/badge/pair/NO-SUCH.svg", "/badge/pair/nodash.svg"])
def test_an_unknown_name_is_a_grey_badge_with_404(client, kraken, path):
    response = client.get(path)

    assert response.status_code == 404
    assert title(response).endswith(": unknown")
    assert badges.GREY in response.content.decode()


def test_other_sites_may_show_it_and_caches_keep_it_shortly(client, kraken):
    first = client.get("/badge/exchange/kraken.svg")
    second = client.get("/badge/exchange/kraken.svg", headers={"If-None-Match": first["ETag"]})

    assert first["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert first["Cache-Control"] == "public, max-age=10"
    assert not first.cookies
    assert second.status_code == 304


def test_a_name_is_text_and_nothing_else(client, kraken):
    response = client.get("/badge/exchange/%3Cscript%3Ealert(1)%26.svg")

    assert response.status_code == 404
    assert b"<script" not in response.content
    assert title(response) == "<script>alert(1)&: unknown"


def test_a_long_name_is_cut(client, kraken):
    response = client.get(f"/badge/pair/{'A' * 100}-USD.svg")

    assert float(ElementTree.fromstring(response.content).attrib["width"]) < 600


def test_text_has_room_in_any_font():
    svg = ElementTree.fromstring(badges.render(Badge("kraken", "operational · 3 s ago", badges.GREEN)))
    label, value = svg.iter(f"{SVG}text")

    left, right = (float(rect.attrib["width"]) for rect in svg.iter(f"{SVG}rect") if "fill" in rect.attrib)
    for text, width in ((label, left), (value, right)):
        assert float(text.attrib["textLength"]) + 2 * badges.PADDING == width
    assert left + right == float(svg.attrib["width"])


def test_many_names_do_not_fill_the_memory(now, monkeypatch):
    monkeypatch.setattr(badges, "MOST_HELD", 3)

    for number in range(10):
        badges._keep(f"pair {number}", Badge(str(number), "", badges.GREY))

    assert list(badges._held) == ["pair 7", "pair 8", "pair 9"]


def test_a_badge_is_asked_from_the_database_once_for_many(client, kraken, django_assert_num_queries):
    list_market("kraken", "BTC", "USD", clock.now())
    with django_assert_num_queries(1):
        answers = [client.get("/badge/pair/BTC-USD.svg") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
