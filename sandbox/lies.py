"""Bends an exchange's data while it is rendered: rows left out, values replaced. Everything else is delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.assets import unit
from sandbox.market import Quote

EVERY_SYMBOL = "*"
MISSING = object()
CROSSED = "crossed"


@dataclass(frozen=True)
class Override:
    """A false value; `field` is one of Quote's, the venue's own key, or `crossed` (bid and ask change places)."""

    symbol: str
    field: str
    value: Any = None


@dataclass(frozen=True)
class Lies:
    dropped: frozenset[str] = frozenset()
    dropped_share: float = 0.0
    values: tuple[Override, ...] = ()

    def drops(self, symbol: str) -> bool:
        """Says whether a symbol is left out; a share always takes the same symbols."""
        return symbol in self.dropped or (self.dropped_share > 0 and unit("drop", symbol) < self.dropped_share)

    def told(self, symbol: str, quote: Quote) -> Quote:
        for override in self.values:
            if override.symbol not in (symbol, EVERY_SYMBOL):
                continue
            if override.field == CROSSED:
                quote = quote._replace(bid=quote.ask, ask=quote.bid)
            elif override.field in Quote._fields:
                quote = quote._replace(**{override.field: override.value})
        return quote

    def edit(self, payload: Any, ids: Mapping[str, str]) -> Any:
        """Returns the answer with the venue's own keys replaced and missing values gone. `ids` are by symbol."""
        for override in self.values:
            if override.field != CROSSED and override.field not in Quote._fields:
                _put(payload, ids.get(override.symbol), override)
        return _without_missing(payload) if self.values else payload


HONEST = Lies()


def _put(node: Any, id_: str | None, override: Override) -> None:
    """Puts the value into every object that names the market, or is kept under its name."""
    if isinstance(node, dict):
        children = list(node.items())
        if id_ in node and isinstance(node[id_], dict):
            node[id_][override.field] = override.value
        if override.field in node and (override.symbol == EVERY_SYMBOL or id_ in node.values()):
            node[override.field] = override.value
        for _, child in children:
            _put(child, id_, override)
    elif isinstance(node, list | tuple):
        for child in node:
            _put(child, id_, override)


def _without_missing(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_missing(value) for key, value in node.items() if value is not MISSING}
    if isinstance(node, list | tuple):
        return [_without_missing(value) for value in node if value is not MISSING]
    return node
