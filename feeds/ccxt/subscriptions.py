"""What may go into one subscription, and what an exchange has told of its subscriptions by refusing them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from feeds.base import Unsupported

SMALLEST_GROUP = 5  # no exchange is known to take less; a smaller one is refused for another reason
REFUSED_FOR_OTHERS = frozenset({"AuthenticationError", "OnMaintenance", "RateLimitExceeded", "NetworkError"})


class NotStreamed(Unsupported):
    """The exchange pushes none of the wanted markets. A fact about it: to ask again changes nothing."""


@dataclass(slots=True)
class Learned:
    """What one exchange has told, by kind of market: the size of a subscription, and why a kind is not pushed."""

    sizes: dict[str, int] = field(default_factory=dict)
    unstreamed: dict[str, str] = field(default_factory=dict)
    streams_nothing: bool = False  # of what is wanted of it


_learned: dict[str, Learned] = {}


def learned_of(exchange_id: str) -> Learned:
    """Returns what this process has learned, to be read and added to."""
    return _learned.setdefault(exchange_id, Learned())


def forget_learned(exchange_id: str) -> None:
    _learned.pop(exchange_id, None)


def kind_of(market: Mapping[str, Any]) -> str:
    """Returns the kind that subscriptions are made by: type, and what contracts settle in: "spot", "swap USDT",
    "swap inverse"."""
    settle = "inverse" if market.get("inverse") else market.get("settle")
    return f"{market.get('type')} {settle}" if settle else str(market.get("type"))


def by_kind(markets: Mapping[str, Mapping[str, Any]], symbols: Collection[str]) -> dict[str, list[str]]:
    """Returns the symbols of each kind, in order."""
    found: dict[str, list[str]] = {}
    for symbol in sorted(symbols):
        found.setdefault(kind_of(markets[symbol]), []).append(symbol)
    return dict(sorted(found.items()))


def in_groups(symbols: Collection[str], size: int) -> list[list[str]]:
    ordered = sorted(symbols)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def is_not_supported(error: BaseException) -> bool:
    return "NotSupported" in _classes(error)


def is_refusal(error: BaseException) -> bool:
    """Says whether the exchange has read a subscription and not liked it."""
    classes = _classes(error)
    return "ExchangeError" in classes and not classes & REFUSED_FOR_OTHERS


def may_be_halved(group: Collection[str], *, accepted: int) -> bool:
    """Says whether halves of a refused group are worth a try. `accepted` is the size of the largest of the same kind
    that was accepted: where there is one, the market that is refused is looked for."""
    return len(group) > (1 if accepted else SMALLEST_GROUP)


def halves(group: list[str]) -> list[list[str]]:
    middle = (len(group) + 1) // 2
    return [group[:middle], group[middle:]]


def _classes(error: BaseException) -> set[str]:
    """Returns names, as ccxt's classes are not imported before an exchange needs them."""
    return {each.__name__ for each in type(error).__mro__}
