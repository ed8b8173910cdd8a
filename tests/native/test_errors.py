"""What each venue's refusals mean to a caller."""

from __future__ import annotations

import time
from typing import Any

import pytest

from feeds.base import BadReply, FeedError, Superseded, Throttled, Unreachable, Unsupported
from tests.sandbox_client import Sandbox

from .conftest import NATIVE, OpenFeed


def fetch(feed: Any, *, deadline_seconds: float = 5.0) -> Any:
    symbols = [market.symbol for market in feed.load_markets(deadline_seconds=10)]
    return lambda: feed.fetch_quotes(symbols, deadline_seconds=deadline_seconds)


def outcome(ask: Any) -> type[FeedError]:
    """A poll with nothing but rejected rows is a bad reply to its caller."""
    try:
        poll = ask()
    except FeedError as error:
        return type(error)
    assert not poll.quotes
    assert poll.rejected
    return BadReply


EVERYWHERE: dict[str, tuple[str, dict[str, Any], type[FeedError]]] = {
    "429": ("status", {"code": 429, "retry_after": 7}, Throttled),
    "500": ("status", {"code": 500}, Unreachable),
    "503": ("status", {"code": 503}, Unreachable),
    "524": ("status", {"code": 524}, Unreachable),
    "HTML": ("html", {}, BadReply),
    "an empty body": ("empty", {}, BadReply),
    "null": ("null", {}, BadReply),
    "half a body": ("truncated", {}, BadReply),
    "an empty object": ("json", {}, BadReply),
    "a text": ("json", {"body": '"no"'}, BadReply),
    "a list of nothing": ("json", {"body": "[null, 5]"}, BadReply),
    "a reset": ("reset", {}, Unreachable),
    "bad gzip": ("bad_gzip", {}, Unreachable),
    "elsewhere": ("redirect", {"location": "http://127.0.0.1:1/"}, BadReply),
}


@pytest.mark.parametrize("case", EVERYWHERE)
@pytest.mark.parametrize("exchange_id", NATIVE)
def test_an_answer_without_data_is_named(
    open_on_sandbox: OpenFeed, sandbox: Sandbox, exchange_id: str, case: str
) -> None:
    kind, params, expected = EVERYWHERE[case]
    ask = fetch(open_on_sandbox(exchange_id))
    sandbox.fault(exchange_id, kind, params=params)

    assert outcome(ask) is expected


@pytest.mark.parametrize("exchange_id", NATIVE)
def test_the_deadline_holds_whatever_the_venue_does(
    open_on_sandbox: OpenFeed, sandbox: Sandbox, exchange_id: str
) -> None:
    ask = fetch(open_on_sandbox(exchange_id), deadline_seconds=0.5)
    sandbox.fault(exchange_id, "hang")
    began = time.monotonic()

    with pytest.raises(Unreachable):
        ask()

    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("exchange_id", NATIVE)
def test_a_stopped_call_sends_nothing(open_on_sandbox: OpenFeed, sandbox: Sandbox, exchange_id: str) -> None:
    feed = open_on_sandbox(exchange_id)
    symbols = [market.symbol for market in feed.load_markets(deadline_seconds=10)]
    began = time.time()

    with pytest.raises(Superseded):
        feed.fetch_quotes(symbols, deadline_seconds=5, may_call=lambda: False)

    assert sandbox.requests_of(exchange_id, since=began) == []


@pytest.mark.parametrize("exchange_id", NATIVE)
def test_it_says_that_it_is_alive_and_when_it_is_not(
    open_on_sandbox: OpenFeed, sandbox: Sandbox, exchange_id: str
) -> None:
    feed = open_on_sandbox(exchange_id)
    feed.ping(deadline_seconds=5)
    sandbox.fault(exchange_id, "status", params={"code": 503})

    with pytest.raises(Unreachable):
        feed.ping(deadline_seconds=5)


OWN_WORDS: dict[str, tuple[str, dict[str, Any], type[FeedError], str]] = {
    "valr says when it limits": (
        "valr",
        {"status": 403, "body": '{"code":-1,"message":"x"}', "headers": {"x-valr-ratelimited": "true"}},
        Throttled,
        "limit",
    ),
    "quidax refuses with 200": (
        "quidax",
        {"body": '{"status":"error","message":"Something went wrong","data":null}'},
        BadReply,
        "Something went wrong",
    ),
    "quidax limits with 200": (
        "quidax",
        {"body": '{"status":"error","message":"Too many requests","data":null}'},
        Throttled,
        "Too many",
    ),
    "quidax is maintained": (
        "quidax",
        {"body": '{"status":"error","message":"Under maintenance"}'},
        Unreachable,
        "maintenance",
    ),
    "quidax without its envelope": ("quidax", {"body": '{"btcngn":{}}'}, BadReply, "None"),
    "a node's limit for a batch": (
        "chainlink",
        {"body": '{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"limit exceeded"}}'},
        Throttled,
        "limit exceeded",
    ),
    "a node's limit for one call": (
        "chainlink",
        {"body": '[{"jsonrpc":"2.0","id":3,"error":{"code":-32005,"message":"limit exceeded"}}]'},
        Throttled,
        "limit exceeded",
    ),
    "a node that breaks": (
        "chainlink",
        {"body": '{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"internal error"}}'},
        Unreachable,
        "internal",
    ),
    "a node that reverts": (
        "chainlink",
        {"body": '[{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"execution reverted"}}]'},
        BadReply,
        "reverted",
    ),
    "a node without the block": (
        "chainlink",
        {"body": '[{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"header not found"}}]'},
        Unreachable,
        "header",
    ),
    "kalshi breaks": (
        "kalshi",
        {"status": 500, "body": '{"error":{"code":"internal_server_error","message":"no"}}'},
        Unreachable,
        "500",
    ),
    "polymarket knows no such book": (
        "polymarket",
        {"status": 404, "body": '{"error":"No orderbook exists for the requested token id"}'},
        Unsupported,
        "No orderbook",
    ),
}


@pytest.mark.parametrize("case", OWN_WORDS)
def test_a_venues_own_words_are_understood(open_on_sandbox: OpenFeed, sandbox: Sandbox, case: str) -> None:
    exchange_id, answer, expected, words = OWN_WORDS[case]
    ask = fetch(open_on_sandbox(exchange_id))
    sandbox.fault(exchange_id, "body", params=answer)

    with pytest.raises(FeedError) as caught:
        ask()

    assert (type(caught.value), words in str(caught.value)) == (expected, True), caught.value


def test_valrs_limit_ends_with_the_minute(open_on_sandbox: OpenFeed, sandbox: Sandbox) -> None:
    ask = fetch(open_on_sandbox("valr"))
    sandbox.fault("valr", "status", params={"code": 429, "headers": {"x-valr-ratelimited": "true"}})

    with pytest.raises(Throttled) as caught:
        ask()

    wait = caught.value.retry_after_seconds
    assert wait is not None
    assert 0 < wait <= 60
    assert (time.time() + wait) % 60 == pytest.approx(0, abs=2) or (time.time() + wait) % 60 > 58


def test_kalshis_limit_says_nothing_about_its_end(open_on_sandbox: OpenFeed, sandbox: Sandbox) -> None:
    ask = fetch(open_on_sandbox("kalshi"))
    sandbox.fault("kalshi", "status", params={"code": 429})

    with pytest.raises(Throttled) as caught:
        ask()

    assert caught.value.retry_after_seconds is None
    assert "too many requests" in caught.value.excerpt


@pytest.mark.parametrize("exchange_id", NATIVE)
def test_a_market_it_does_not_list_is_unsupported_without_a_request(
    open_on_sandbox: OpenFeed, sandbox: Sandbox, exchange_id: str
) -> None:
    feed = open_on_sandbox(exchange_id)
    began = time.time()

    with pytest.raises(Unsupported):
        feed.fetch_quotes(["NOPE/USD"], deadline_seconds=5)

    assert sandbox.requests_of(exchange_id, since=began) == []
