"""Which markets are the largest: by what the exchange has told of their volumes, or the reason why nobody can say."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from collectors import lease
from collectors.models import Pipeline
from collectors.models.market_data import DepthSeries
from collectors.streaming import blocking_calls, ownership
from feeds.base import Quote
from lib import clock

TOP = {"top": 2, "levels": 1}


def stream(exchange_id: str) -> dict[str, float]:
    """Each market's ticker as a stream brings it that tells no volumes; the volumes that polls had told."""
    polled = Pipeline.objects.filter(market__exchange=exchange_id, last__gt=0).select_related("market")
    told = {row.market.symbol: row.quote_volume or 0.0 for row in polled}
    now, nothing = clock.now(), (None,) * 6
    quotes = [Quote(row.market.symbol, row.last, *nothing, None, now.timestamp()) for row in polled]
    permit = blocking_calls.take(exchange_id)
    assert permit is not None
    pipelines = {row.market.symbol: row.pk for row in polled}
    written = blocking_calls.write(permit, quotes, pipelines, blocking_calls.Batch(started_at=now))
    assert written is not None
    lease.release(written.permit)
    return told


def chosen(exchange_id: str) -> set[str | None]:
    rows = DepthSeries.objects.filter(exchange=exchange_id, kind="books").select_related("market")
    return {row.market.symbol if row.market else None for row in rows}


def largest(volumes: dict[str, float]) -> set[str]:
    return set(sorted(volumes, key=lambda symbol: -volumes[symbol])[:2])


@pytest.mark.parametrize("exchange_id", ["coinbase", "hyperliquid"])
def test_a_stream_without_volumes_does_not_wipe_out_those_that_polls_told(place, exchange_id):
    place.open(exchange_id, books=TOP)

    told = stream(exchange_id)

    assert place.collect(exchange_id) == {"books": 2}
    assert chosen(exchange_id) == largest(told)


@pytest.mark.parametrize("exchange_id", ["coinbase", "hyperliquid"])
def test_a_poll_beside_a_stream_brings_the_volumes_that_the_stream_does_not_tell(place, exchange_id):
    place.open(exchange_id, books=TOP)
    told = stream(exchange_id)
    Pipeline.objects.filter(market__exchange=exchange_id).update(quote_volume=None)
    wish = ownership.wishes()[exchange_id]
    pipelines = dict(Pipeline.objects.filter(market__exchange=exchange_id).values_list("market__symbol", "pk"))

    blocking_calls.compare(wish, list(pipelines), wish.generation, pipelines, {})

    assert place.collect(exchange_id) == {"books": 2}
    assert chosen(exchange_id) == largest(told)


def test_a_venue_that_counts_only_what_was_traded_is_ranked_by_what_that_is_worth(place):
    place.open("luno", books=TOP)
    polled = Pipeline.objects.filter(market__exchange="luno", last__gt=0).select_related("market")
    assert not polled.filter(quote_volume__isnull=False).exists()

    assert place.collect("luno") == {"books": 2}

    assert chosen("luno") == largest({row.market.symbol: row.base_volume * row.last for row in polled})


def test_without_volumes_the_operator_reads_why_there_are_no_books(place, client):
    for name in ("base_volume", "quote_volume"):
        place.sandbox.fault("coinbase", "override", params={"field": name, "missing": True})
    place.open("coinbase", books=TOP)

    assert place.collect("coinbase") == {}

    [row] = DepthSeries.objects.filter(exchange="coinbase")
    assert (row.market, row.last_outcome) == (None, "unsupported")
    assert "coinbase tells no volumes" in row.last_error
    client.force_login(User.objects.create_superuser("olga", password="x"))
    page = client.get("/admin/collectors/depthseries/").content.decode()
    assert "the 2 largest" in page
    assert "coinbase tells no volumes" in page


def test_once_volumes_are_told_the_reason_is_gone(place):
    for name in ("base_volume", "quote_volume"):
        place.sandbox.fault("coinbase", "override", params={"field": name, "missing": True})
    place.open("coinbase", books=TOP)
    place.collect("coinbase")
    place.sandbox.heal()
    place.poll("coinbase")

    assert place.collect("coinbase") == {"books": 2}

    assert None not in chosen("coinbase")


def test_before_the_first_ticker_nothing_is_said_of_volumes(place):
    place.open("coinbase", books=TOP)
    Pipeline.objects.filter(market__exchange="coinbase").update(received_at=None, quote_volume=None, base_volume=None)

    assert place.collect("coinbase") == {}

    assert chosen("coinbase") == set()
