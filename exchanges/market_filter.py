"""Selects the markets of an exchange that are collected: by quote, by list, and the largest by volume. A pure rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError

MOST_NAMES = 5000
NAME_CHARACTERS = 100
KEYS = ("quotes", "symbols", "top")


class Candidate(NamedTuple):
    """A listed market. `volume` is the newest known, of all markets in one currency, None before its first poll. One
    that no price converts is not comparable: it comes after all that are."""

    symbol: str
    quote: str
    volume: float | None
    is_comparable: bool = True


@dataclass(frozen=True, slots=True)
class MarketFilter:
    """Conditions that all must hold; an empty one lets everything through."""

    quotes: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    top: int | None = None

    def selected(self, markets: Iterable[Candidate]) -> frozenset[str]:
        """Returns the symbols to collect. A market without a known volume is let through until it has one."""
        allowed = [market for market in markets if self._allows(market)]
        if self.top is None:
            return frozenset(market.symbol for market in allowed)
        measured = [market for market in allowed if market.volume is not None]
        largest = sorted(measured, key=_by_size)[: self.top]
        return frozenset(market.symbol for market in [*largest, *(m for m in allowed if m.volume is None)])

    def _allows(self, market: Candidate) -> bool:
        if self.quotes and market.quote not in self.quotes:
            return False
        return not self.symbols or market.symbol in self.symbols


def _by_size(market: Candidate) -> tuple[bool, float, str]:
    return not market.is_comparable, -(market.volume or 0.0), market.symbol


def parse(wanted: Mapping[str, Any]) -> MarketFilter:
    return MarketFilter(
        frozenset(wanted.get("quotes") or ()), frozenset(wanted.get("symbols") or ()), wanted.get("top")
    )


def validate(wanted: Any) -> None:
    """Checks a filter. Raises ValidationError for anything that `parse` could not use."""
    if not isinstance(wanted, dict):
        raise ValidationError("A market filter is an object with quotes, symbols and top.")
    strangers = sorted(set(map(str, wanted)) - set(KEYS))
    if strangers:
        raise ValidationError(f"A market filter has quotes, symbols and top, no {strangers[0][:50]!r}.")
    for key in ("quotes", "symbols"):
        if not are_names(wanted.get(key, []), most=MOST_NAMES):
            raise ValidationError(f"{key} is a list of up to {MOST_NAMES} names.")
    top = wanted.get("top")
    if top is not None and (type(top) is not int or not 1 <= top <= 1_000_000):
        raise ValidationError("top is a whole number from 1.")


def are_names(names: Any, *, most: int) -> bool:
    """Says whether this is a list of texts without control characters, which JSON may hold and PostgreSQL's may not."""
    return isinstance(names, list) and len(names) <= most and all(map(_is_name, names))


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= NAME_CHARACTERS and name.isprintable()
