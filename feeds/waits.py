"""The time for which an exchange asks us to stay away, in whatever words: one reader of headers and texts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

LONGEST_WAIT_SECONDS = 900.0  # of a limit: more is a broken header, or milliseconds for seconds
LONGEST_BAN_SECONDS = 86_400.0
LONGEST_MAINTENANCE_SECONDS = 3600.0  # and of whatever else names its end
BANNED_STATUS = 418  # binance: the address is banned
SEARCHED_CHARACTERS = 4000
LONGEST_RESET_SECONDS = 86_400.0  # of a header on an answer: what is further off is no reset of a limit

RATE_WORDS = re.compile(
    r"(?i)too[ _-]many[ _-](?:requests?|visits|connections)|too much request weight|too frequent|rate[ _-]?limit"
    r"|request limit|requests? over limit|requests? (?:count )?(?:limit )?exceeded|over rate limit|limit exhausted"
    r"|frequency limit|requests? too fast|being rate limited|breached the ip|slow down|ip banned|banned until"
    r"|\b429\b too many|error code: 1015\b"
)
BAN_WORDS = re.compile(r"(?i)\bbanned\b|temporary lockout|ip ban\b")
_UNTIL = re.compile(r"(?i)\buntil\D{0,20}(\d{13}|\d{10})\b")
_IN = re.compile(
    r"(?i)\b(?:in|after|for|within)\s*+(?::\s*+)?(\d++(?:\.\d++)?)\s*+(ms|milliseconds?|s|sec|secs|seconds?|m|min|mins|minutes?"
    r"|h|hours?)\b"
)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# Headers that tell when a limit begins anew: seconds from now, or a moment in seconds or milliseconds.
_RESETS = (
    "x-ratelimit-reset-after", "ratelimit-reset-after", "ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset",
    "x-bapi-limit-reset-timestamp", "x-gate-ratelimit-reset-timestamp",
)  # fmt: skip
_RESETS_IN_MILLISECONDS = ("gw-ratelimit-reset",)


class Wait(NamedTuple):
    """The time to stay away: `seconds` until the exchange may be asked again, None where it names no time. `remark`
    says what was told where it was beyond reason and cut."""

    seconds: float | None
    banned: bool = False
    remark: str = ""


def asks_to_wait(text: str) -> bool:
    return RATE_WORDS.search(text[:SEARCHED_CHARACTERS]) is not None


def read(status: int | None, headers: Mapping[str, str], text: str, *, now: float, is_limit: bool = True) -> Wait:
    """Returns the longest wait that an answer names in any way. `is_limit`: the answer is about a limit, so that
    headers about its reset count as well."""
    text = text[:SEARCHED_CHARACTERS]
    until = [at - now for at in map(_moment, _UNTIL.findall(text)) if at > now] if is_limit else []
    told = [*until, retry_after(headers, now=now)]
    if is_limit:
        told += _by_words(text)
    found = [seconds for seconds in told if seconds is not None]
    if is_limit and not found:
        found = _by_reset(headers, now)
    banned = status == BANNED_STATUS or (is_limit and BAN_WORDS.search(text) is not None)
    if not found:
        return Wait(None, banned)
    longest = LONGEST_WAIT_SECONDS if is_limit else LONGEST_MAINTENANCE_SECONDS
    return _capped(max(found), LONGEST_BAN_SECONDS if banned else longest, banned)


def of_text(text: str, *, now: float) -> Wait:
    return read(None, {}, text, now=now)


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Returns seconds from now, by seconds or an HTTP date; None where the exchange did not say or said nonsense."""
    text = _header(headers, "retry-after")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text, now)
    if not math.isfinite(seconds):
        return None
    return max(_from_now(seconds, now), 0.0)


def _capped(seconds: float, longest: float, banned: bool) -> Wait:
    if seconds <= longest:
        return Wait(seconds, banned)
    return Wait(longest, banned, f"it asks for {seconds:.0f} s, which is beyond reason; we wait {longest:.0f} s")


def _by_words(text: str) -> list[float]:
    return [float(count) * _UNIT_SECONDS[_unit(unit)] for count, unit in _IN.findall(text)]


def _unit(word: str) -> str:
    word = word.lower()
    return "ms" if word == "ms" or word.startswith("milli") else word[0]


def _by_reset(headers: Mapping[str, str], now: float) -> list[float]:
    plain = [_reset(_header(headers, name), now) for name in _RESETS]
    fine = [_reset(_header(headers, name), now, factor=0.001) for name in _RESETS_IN_MILLISECONDS]
    return [seconds for seconds in (*plain, *fine) if seconds is not None and 0 < seconds <= LONGEST_RESET_SECONDS]


def _reset(text: str, now: float, *, factor: float = 1.0) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return _from_now(value * factor, now) if math.isfinite(value) else None


def _from_now(value: float, now: float) -> float:
    """Returns a delta as it is; what can only be a moment, in seconds or milliseconds, as the time until then."""
    if value > 1e12:
        return value / 1000 - now
    return value - now if value > 1e9 else value


def _moment(digits: str) -> float:
    return float(digits) / 1000 if len(digits) == 13 else float(digits)


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "").strip()


def _seconds_until(http_date: str, now: float) -> float:
    try:
        at = parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return math.nan
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.fromtimestamp(now, UTC).timestamp()
