"""The error table at its edges: which status decides, how long a wait is believed, how much of a text is kept."""

from __future__ import annotations

import pytest

from feeds import errors, waits
from feeds.base import BadReply, Denied, FeedError, Throttled, Unreachable

NOW = 1_795_000_000.0  # Wed, 18 Nov 2026 11:06:40 GMT


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, None), (299, None), (300, BadReply), (404, BadReply), (418, Throttled), (499, BadReply), (500, Unreachable),
     (511, Denied), (599, Unreachable)],
)  # fmt: skip
def test_what_a_status_alone_decides(status: int, kind: type[FeedError] | None) -> None:
    assert errors.class_for_status(status) is kind


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ValueError("x"), None, BadReply),
        (ValueError("x"), 399, BadReply),
        (TimeoutError("x"), 399, Unreachable),
        (TimeoutError("x"), 400, BadReply),
        (ValueError("x"), 429, Throttled),
        (TimeoutError("x"), 403, Denied),
        (ValueError("x"), 503, Unreachable),
    ],
)
def test_a_status_of_400_or_more_says_more_than_an_error_of_ours(
    error: Exception, status: int | None, kind: type[FeedError]
) -> None:
    assert type(errors.from_exception(error, status=status)) is kind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("0.5", 0.5), ("-3", 0.0), ("", None), (" ", None), ("nan", None), ("soon", None),
     (str(NOW + 7), 7.0), (str(1000 * NOW + 7000), 7.0),
     ("Wed, 18 Nov 2026 11:07:40 GMT", 60.0), ("Wed, 18 Nov 2026 13:07:40 +0200", 60.0),
     ("Wed, 18 Nov 2026 11:07:40 -0000", 60.0)],
)  # fmt: skip
def test_how_long_a_venue_asks_us_to_wait(text: str, seconds: float | None) -> None:
    assert waits.retry_after({"retry-AFTER": text}, now=NOW) == seconds


def test_a_venue_that_names_no_time_is_given_none() -> None:
    assert waits.retry_after({}, now=NOW) is None


@pytest.mark.parametrize(("length", "shown"), [(299, "x" * 299), (300, "x" * 300), (301, "x" * 299 + "…")])
def test_a_message_has_three_hundred_characters(length: int, shown: str) -> None:
    assert errors.shorten("x" * length) == shown


@pytest.mark.parametrize(("secret", "shown"), [("abc", "key abc"), ("abcd", "key ***")])
def test_a_secret_of_four_letters_is_one(secret: str, shown: str) -> None:
    assert errors.redact(f"key {secret}", (secret,)) == shown


def test_an_error_of_our_own_keeps_its_class_and_loses_its_secrets() -> None:
    found = errors.from_exception(Unreachable("no way to hidden", excerpt="hidden"), status=429, secrets=("hidden",))

    assert (type(found), str(found), found.excerpt) == (Unreachable, "no way to ***", "***")


def test_five_hundred_characters_of_an_answer_are_kept() -> None:
    by_error = errors.from_exception(ValueError("x"), excerpt="y" * 501)
    by_status = [
        errors.from_status(status, reason="", url="", body="y" * 501, headers={}, now=NOW) for status in (429, 404)
    ]

    assert [len(found.excerpt) for found in (by_error, *by_status)] == [500, 500, 500]
