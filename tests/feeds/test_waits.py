"""Until when an exchange asks us to stay away, in whatever words."""

from __future__ import annotations

from typing import Any

import pytest

from feeds import errors, waits
from feeds.base import BadReply, Denied, FeedError, Throttled, Unreachable
from feeds.native.chainlink import _refusal

NOW = 1_795_000_000.0
BANNED_UNTIL = f"Way too much request weight used; IP banned until {int((NOW + 7200) * 1000)}. Please use WebSocket"

SAID: dict[str, tuple[int, dict[str, str], str, waits.Wait]] = {
    "a ban's end in the body": (418, {}, BANNED_UNTIL, waits.Wait(7200.0, True)),
    "the same with status 429": (429, {}, BANNED_UNTIL, waits.Wait(7200.0, True)),
    "a ban that names no end": (418, {}, "banned", waits.Wait(None, True)),
    "a header": (429, {"Retry-After": "7"}, "", waits.Wait(7.0)),
    "a header and a later end": (418, {"Retry-After": "0"}, BANNED_UNTIL, waits.Wait(7200.0, True)),
    "in minutes": (403, {}, "access too frequent. Please try again in 5 minutes", waits.Wait(300.0)),
    "in seconds": (429, {}, "Too many requests, retry in 10s", waits.Wait(10.0)),
    "in an hour": (418, {}, "banned for 1 hour", waits.Wait(3600.0, True)),
    "in milliseconds": (429, {}, "retry after 1500 ms", waits.Wait(1.5)),
    "a reset in seconds from now": (429, {"RateLimit-Reset": "12"}, "", waits.Wait(12.0)),
    "a reset at a second": (429, {"X-RateLimit-Reset": str(int(NOW) + 40)}, "", waits.Wait(40.0)),
    "a reset at a millisecond": (
        429, {"X-Bapi-Limit-Reset-Timestamp": str(int(NOW + 3) * 1000)}, "", waits.Wait(3.0)
    ),
    "a reset after milliseconds": (429, {"gw-ratelimit-reset": "2500"}, "", waits.Wait(2.5)),
    "a reset gone by": (429, {"X-RateLimit-Reset": str(int(NOW) - 40)}, "", waits.Wait(None)),
    "a reset of nothing": (429, {"X-RateLimit-Reset": "soon"}, "", waits.Wait(None)),
    "a told time before a reset": (429, {"Retry-After": "5", "RateLimit-Reset": "60"}, "", waits.Wait(5.0)),
    "nothing": (429, {}, "", waits.Wait(None)),
}  # fmt: skip


@pytest.mark.parametrize(("status", "headers", "text", "wait"), SAID.values(), ids=SAID.keys())
def test_a_told_time_is_read(status: int, headers: dict[str, str], text: str, wait: waits.Wait) -> None:
    assert waits.read(status, headers, text, now=NOW) == wait


@pytest.mark.parametrize(
    ("status", "told", "kept"),
    [
        (429, 899, 899),
        (429, 900, 900),
        (429, 901, 900),
        (429, 100_000, 900),
        (418, 86_400, 86_400),
        (418, 86_401, 86_400),
    ],
)
def test_what_is_beyond_reason_is_cut_and_named(status: int, told: int, kept: float) -> None:
    found = waits.read(status, {"Retry-After": str(told)}, "", now=NOW)

    assert found.seconds == kept
    assert (str(told) in found.remark) is (told > kept)


def test_a_cut_time_is_named_in_the_error() -> None:
    found = errors.from_status(429, reason="", url="u", body="", headers={"Retry-After": "100000"}, now=NOW)

    assert found.retry_after_seconds == 900.0
    assert str(found).startswith("it asks for 100000 s, which is beyond reason; we wait 900 s")


ANSWERS: dict[str, tuple[int, str, dict[str, str], type[FeedError], float | None]] = {
    "a page that says too frequent": (
        403, "<html><h1>403</h1>access too frequent. Please try again in 5 minutes</html>", {}, Throttled, 300.0
    ),
    "a text that does": (403, "403: access too frequent. Please try again in 5 minutes.", {}, Throttled, 300.0),
    "JSON that does": (403, '{"retCode":10018,"retMsg":"You have breached the ip rate limit."}', {}, Throttled, None),
    "a firewall's challenge": (403, "<html>Just a moment...</html>", {}, Unreachable, None),
    "a firewall that is told": (403, "<html>You are being rate limited</html>", {}, Throttled, None),
    "a region": (403, "<html>block access from your country</html>", {}, Denied, None),
    "a permission": (403, '{"message":"Forbidden"}', {}, Denied, None),
    "a key, whatever it says": (401, "too many requests", {}, Denied, None),
    "maintenance with an end": (503, '{"msg":"maintenance"}', {"Retry-After": "1800"}, Unreachable, 1800.0),
    "maintenance of days": (503, "", {"Retry-After": "100000"}, Unreachable, 3600.0),
    "a gateway that is asked too much": (503, "rate limit exceeded", {}, Throttled, None),
    "a page that is not there": (404, "<html>", {}, BadReply, None),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "headers", "kind", "seconds"), ANSWERS.values(), ids=ANSWERS.keys())
def test_words_go_before_the_number(
    status: int, body: str, headers: dict[str, str], kind: type[FeedError], seconds: float | None
) -> None:
    found = errors.from_status(status, reason="", url="u", body=body, headers=headers, now=NOW)

    assert type(found) is kind
    assert found.retry_after_seconds == seconds


NODES: dict[str, tuple[dict[str, Any], float | None]] = {
    "a number a second": ({"code": -32007, "message": "50/second request limit reached - reduce calls"}, None),
    "a time": ({"code": -32090, "message": "Too many requests, reason: limit exhausted, retry in 10s"}, 10.0),
    "words alone": ({"code": -32000, "message": "429 Too Many Requests: over rate limit"}, None),
    "the code alone": ({"code": -32005, "message": "no"}, None),
    "a text for an error": ({}, None),
}


@pytest.mark.parametrize(("error", "seconds"), NODES.values(), ids=NODES.keys())
def test_a_node_that_asks_to_wait_is_believed(error: dict[str, Any], seconds: float | None) -> None:
    found = _refusal({"error": error or "rate limit exceeded"})

    assert isinstance(found, Throttled)
    assert found.retry_after_seconds == seconds


@pytest.mark.parametrize("message", ["execution reverted", "invalid argument 0", "limited support for this call"])
def test_a_nodes_other_errors_are_no_wish_to_wait(message: str) -> None:
    assert not isinstance(_refusal({"error": {"code": -32000, "message": message}}), Throttled)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, "error code: 1015"),
        (400, '{"error":"too_many_requests"}'),
        (400, '{"err-code":"too-many-request","err-msg":"Too many request"}'),
        (400, '{"code":"30007","msg":"request over limit, connection close"}'),
        (400, '{"code":-1003,"msg":"Too much request weight used; the limit is 1200 in 1 MINUTE."}'),
        (500, '["error",11010,"ratelimit: error"]'),
    ],
)
def test_a_wish_to_wait_is_heard_in_any_spelling(status: int, body: str) -> None:
    assert isinstance(errors.from_status(status, reason="", url="u", body=body, headers={}, now=NOW), Throttled)
