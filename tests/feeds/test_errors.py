"""The whole error table: every class of ccxt, every status, what Python and aiohttp raise."""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from feeds import errors
from feeds.base import BadReply, Denied, FeedError, Throttled, Unreachable, Unsupported
from feeds.ccxt import lazy

NOW = 1_795_000_000.0

CCXT = {
    "BaseError": BadReply,
    "ExchangeError": BadReply,
    "AuthenticationError": Denied,
    "PermissionDenied": Denied,
    "AccountNotEnabled": Denied,
    "AccountSuspended": Denied,
    "ArgumentsRequired": Unsupported,
    "BadRequest": BadReply,
    "BadSymbol": Unsupported,
    "OperationRejected": BadReply,
    "NoChange": BadReply,
    "MarginModeAlreadySet": BadReply,
    "MarketClosed": Unsupported,
    "ManualInteractionNeeded": Denied,
    "RestrictedLocation": Denied,
    "InsufficientFunds": BadReply,
    "InvalidAddress": BadReply,
    "AddressPending": BadReply,
    "InvalidOrder": BadReply,
    "OrderNotFound": BadReply,
    "OrderNotCached": BadReply,
    "OrderImmediatelyFillable": BadReply,
    "OrderNotFillable": BadReply,
    "DuplicateOrderId": BadReply,
    "ContractUnavailable": Unsupported,
    "NotSupported": Unsupported,
    "InvalidProxySettings": Denied,
    "ExchangeClosedByUser": Unreachable,
    "OperationFailed": Unreachable,
    "NetworkError": Unreachable,
    "DDoSProtection": Throttled,
    "RateLimitExceeded": Throttled,
    "ExchangeNotAvailable": Unreachable,
    "OnMaintenance": Unreachable,
    "InvalidNonce": Denied,
    "ChecksumError": BadReply,
    "RequestTimeout": Unreachable,
    "BadResponse": BadReply,
    "NullResponse": BadReply,
    "CancelPending": Unreachable,
    "UnsubscribeError": BadReply,
}


@pytest.fixture(scope="module")
def ccxt_errors() -> Any:
    lazy.install()
    return importlib.import_module("ccxt.base.errors")


def test_no_class_of_ccxt_is_forgotten(ccxt_errors: Any) -> None:
    assert set(_names(ccxt_errors.error_hierarchy)) == set(CCXT)


@pytest.mark.parametrize(("name", "expected"), CCXT.items())
def test_a_ccxt_error_says_what_to_do_next(name: str, expected: type[FeedError], ccxt_errors: Any) -> None:
    found = errors.from_exception(getattr(ccxt_errors, name)("kraken said no"))

    assert type(found) is expected
    assert name in str(found)


PYTHON = {
    "a missing key": KeyError("symbol"),
    "a missing attribute": AttributeError("'str' object has no attribute 'keys'"),
    "a wrong type": TypeError("list indices must be integers"),
    "a wrong value": ValueError("could not convert string to float: 'abc'"),
    "a deep recursion": RecursionError("maximum recursion depth exceeded"),
    "a variable never set": UnboundLocalError("cannot access local variable"),
    "an index out of range": IndexError("list index out of range"),
    "an unknown codec": LookupError("unknown encoding"),
    "a number too large": OverflowError("int too large to convert to float"),
    "a failed assertion": AssertionError(),
}


@pytest.mark.parametrize("error", PYTHON.values(), ids=PYTHON.keys())
def test_what_a_parser_stumbles_over_is_a_bad_reply_that_names_it(error: Exception) -> None:
    found = errors.from_exception(error, status=200, excerpt="{}")

    assert type(found) is BadReply
    assert type(error).__name__ in str(found)
    assert found.status == 200


def _certificate_error() -> Exception:
    key = aiohttp.client_reqrep.ConnectionKey("kraken.com", 443, True, True, None, None, None)
    return aiohttp.ClientConnectorCertificateError(key, ssl.SSLCertVerificationError("self-signed certificate"))


TRANSPORT: dict[str, tuple[Exception, type[FeedError]]] = {
    "a timeout": (TimeoutError(), Unreachable),
    "a refused connection": (ConnectionRefusedError(), Unreachable),
    "a reset connection": (ConnectionResetError(), Unreachable),
    "no such name": (OSError("Name or service not known"), Unreachable),
    "a server that hangs up": (aiohttp.ServerDisconnectedError(), Unreachable),
    "a body cut short": (aiohttp.ClientPayloadError(), Unreachable),
    "a certificate": (_certificate_error(), Denied),
    "an address that is none": (aiohttp.InvalidURL("x"), BadReply),
}


@pytest.mark.parametrize(("error", "expected"), TRANSPORT.values(), ids=TRANSPORT.keys())
def test_a_transport_error_says_what_to_do_next(error: Exception, expected: type[FeedError]) -> None:
    assert type(errors.from_exception(error)) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [pair for pair in TRANSPORT.values() if isinstance(pair[0], aiohttp.ClientError)],
    ids=[name for name, pair in TRANSPORT.items() if isinstance(pair[0], aiohttp.ClientError)],
)
@pytest.mark.parametrize("wrapper", ["ExchangeNotAvailable", "ExchangeError"])
def test_the_cause_decides_whatever_ccxt_wraps_it_in(
    error: Exception, expected: type[FeedError], wrapper: str, ccxt_errors: Any
) -> None:
    raised = getattr(ccxt_errors, wrapper)("kraken GET https://api.kraken.com")
    raised.__cause__ = error

    assert type(errors.from_exception(raised)) is expected


STATUSES = (
    dict.fromkeys((401, 403, 407, 451, 511), Denied)
    | dict.fromkeys((418, 429), Throttled)
    | dict.fromkeys((408, 500, 501, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 529, 530, 599), Unreachable)
    | dict.fromkeys((300, 302, 304, 400, 402, 404, 405, 406, 409, 410, 413, 414, 422, 431), BadReply)
)


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_a_status_says_what_to_do_next(status: int, expected: type[FeedError]) -> None:
    found = errors.from_status(status, reason="", url="https://x.test/", body="no", headers={}, now=NOW)

    assert type(found) is expected
    assert found.status == status
    assert found.excerpt == "no"


def test_only_418_is_a_ban() -> None:
    bans = [_throttled(status).banned for status in (418, 429)]

    assert bans == [True, False]


def _throttled(status: int) -> Throttled:
    found = errors.from_status(status, reason="", url="", body="", headers={"retry-after": "120"}, now=NOW)
    assert isinstance(found, Throttled)
    assert found.retry_after_seconds == 120.0
    return found


def test_a_message_is_one_short_printable_line() -> None:
    found = errors.from_exception(ValueError("first\nsecond\x1b[31m" + "x" * 1_000_000), excerpt="y" * 1_000_000)

    assert "\n" not in str(found)
    assert "\x1b" not in str(found)
    assert len(str(found)) <= 300
    assert len(found.excerpt) == 500


SECRETS = {
    "in an address": "https://x.test/order?apiKey=abc123&signature=deadbeef&symbol=BTC",
    "in JSON": '{"api_key": "abc123", "secret":"deadbeef", "symbol": "BTC"}',
    "in a header": "X-MBX-APIKEY: abc123, Sign: deadbeef, symbol=BTC",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_what_looks_like_a_key_is_blacked_out(text: str) -> None:
    said = errors.redact(text)

    assert "abc123" not in said
    assert "deadbeef" not in said
    assert "BTC" in said


def _names(tree: dict[str, Any]) -> Iterator[str]:
    for name, below in tree.items():
        yield name
        yield from _names(below)
