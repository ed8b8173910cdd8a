"""A row belongs to a market by the venue's own id: two ids of one name are told apart, and a name is no id."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

_NO_LETTERS = re.compile(r"[^A-Z0-9]+")
# Where answers name the market that they are of.
ID_KEYS = (
    "symbol", "pair", "market", "instId", "product_id", "ticker_id", "instrument_name", "currency_pair", "contract",
    "currencyPair", "contract_code",
)  # fmt: skip


def tell_apart(rows: Sequence[Any]) -> Sequence[Any]:
    """Rows with `id` and `symbol`; of several ids of one symbol all but one get the symbol NAME#ID.

    The plain name stays with the id that spells it, else with the first by alphabet, whatever order they came in.
    """
    listed = [row for row in rows if isinstance(row, dict)]
    ids: dict[Any, set[str]] = defaultdict(set)
    for row in listed:
        ids[row["symbol"]].add(str(row["id"]))
    for row in listed:
        symbol, id_ = row["symbol"], str(row["id"])
        if isinstance(symbol, str) and len(ids[symbol]) > 1 and id_ != _plain(symbol, ids[symbol]):
            row["symbol"] = f"{symbol}#{id_}"
    return rows


def _plain(symbol: str, ids: Collection[str]) -> str:
    letters = _letters(symbol.partition(":")[0])
    return min(ids, key=lambda id_: (_letters(id_) != letters, id_))


def _letters(text: str) -> str:
    return _NO_LETTERS.sub("", text.upper())


def is_another(market_id: str, other_id: str, delimiter: str) -> bool:
    """Two ids that are written alike and differ. An id of another form than the list's may be the same market's."""
    return delimiter in other_id and market_id.casefold() != other_id.casefold()


def foreign_id(answer: Any, market: Mapping[str, Any], known: Mapping[Any, Any]) -> str:
    """The listed id of another market that an answer for `market` names as its own; empty where it names none."""
    own = {market.get("id"), market.get("alias"), market.get("symbol"), market.get("baseName")}
    for id_ in _named(answer, depth=3):
        if id_ not in own and id_ in known:
            return id_
    return ""


def _named(content: Any, *, depth: int) -> Iterable[str]:
    """Ids at the top of an answer and in its first row: a page's rows are all of one market."""
    if depth and isinstance(content, dict):
        for key in ID_KEYS:
            if isinstance(content.get(key), str):
                yield content[key]
        for key in ("result", "data"):
            yield from _named(content.get(key), depth=depth - 1)
    elif depth and isinstance(content, list) and content:
        yield from _named(content[0], depth=depth - 1)
