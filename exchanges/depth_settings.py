"""Settings of what is collected besides tickers: order books, trades and funding rates. A pure rule.

{"books": {"markets": ["BTC/USDT"], "top": 5, "levels": 10, "seconds": 10}, "trades": {"top": 3},
 "funding": {"seconds": 60}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from exchanges.market_filter import are_names

BOOKS, TRADES, FUNDING = "books", "trades", "funding"
KINDS = (BOOKS, TRADES, FUNDING)
KEYS = {
    BOOKS: ("markets", "top", "seconds", "levels"),
    TRADES: ("markets", "top", "seconds"),
    FUNDING: ("markets", "seconds"),
}
USUAL_SECONDS = {BOOKS: 10.0, TRADES: 10.0, FUNDING: 60.0}
USUAL_LEVELS = 10
MOST_LEVELS = 100
MOST_MARKETS = 200  # each is a request of its own
LEAST_SECONDS, MOST_SECONDS = 1.0, 3600.0


@dataclass(frozen=True, slots=True)
class WantedData:
    """One kind as an operator wants it: the markets named, and the `top` largest.

    Of funding rates, without any named, all perpetuals.
    """

    kind: str
    markets: frozenset[str]
    top: int
    seconds: float
    levels: int


def parse(settings: Mapping[str, Any]) -> tuple[WantedData, ...]:
    """Returns the kinds that are switched on."""
    return tuple(_wanted(kind, settings[kind]) for kind in KINDS if settings.get(kind) is not None)


def validate(settings: Any) -> None:
    """Checks the settings. Raises ValidationError for anything that `parse` could not use."""
    if not isinstance(settings, dict):
        raise ValidationError(f"This is an object with some of {', '.join(KINDS)}.")
    strangers = sorted(set(map(str, settings)) - set(KINDS))
    if strangers:
        raise ValidationError(f"There are {', '.join(KINDS)}, no {strangers[0][:50]!r}.")
    for kind, wanted in settings.items():
        if wanted is not None:
            _validate(kind, wanted)


def _wanted(kind: str, given: Mapping[str, Any]) -> WantedData:
    return WantedData(
        kind,
        frozenset(given.get("markets") or ()),
        given.get("top") or 0,
        float(given.get("seconds") or USUAL_SECONDS[kind]),
        given.get("levels") or USUAL_LEVELS,
    )


def _validate(kind: str, given: Any) -> None:
    if not isinstance(given, dict) or set(map(str, given)) - set(KEYS[kind]):
        raise ValidationError(f"{kind} is an object with some of {', '.join(KEYS[kind])}.")
    if not are_names(given.get("markets") or [], most=MOST_MARKETS):
        raise ValidationError(f"{kind}: markets is a list of up to {MOST_MARKETS} symbols.")
    _validate_whole(f"{kind}: top", given.get("top"), MOST_MARKETS)
    _validate_whole(f"{kind}: levels", given.get("levels"), MOST_LEVELS)
    seconds = given.get("seconds")
    if seconds is not None and (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not LEAST_SECONDS <= seconds <= MOST_SECONDS
    ):
        raise ValidationError(f"{kind}: seconds is a number from {LEAST_SECONDS:g} to {MOST_SECONDS:g}.")
    if kind != FUNDING and not given.get("markets") and not given.get("top"):
        raise ValidationError(f"{kind}: name markets, or how many of the largest (top).")


def _validate_whole(name: str, value: Any, most: int) -> None:
    if value is not None and (type(value) is not int or not 1 <= value <= most):
        raise ValidationError(f"{name} is a whole number from 1 to {most}.")
