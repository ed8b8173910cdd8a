"""Where the pages are: addresses that a person can read, unless a symbol cannot stand in one."""

from __future__ import annotations

import re

from django.urls import reverse

# Browsers resolve `.` and `..` and some servers merge `//`; control characters are refused on their way.
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|(^|/)\.{0,2}(/|$)")


def exchange(exchange_id: str) -> str:
    return reverse("board-exchange", args=[exchange_id])


def pipeline(exchange_id: str, symbol: str, *, number: int) -> str:
    if UNFIT.search(symbol):
        return reverse("board-pipeline-by-number", args=[number])
    return reverse("board-pipeline", args=[exchange_id, symbol])


def pair(base: str, quote: str, *, number: int) -> str:
    """`number` is a market of the pair."""
    name = f"{base}/{quote}"
    if UNFIT.search(name):
        return f"{reverse('board-pair-of')}?market={number}"
    return reverse("board-pair", args=[name])


def look(exchange_id: str, kind: str) -> str:
    """Where an advice of the board is followed: an exchange's settings, its runs or its gaps."""
    if kind == "settings":
        return reverse("admin:exchanges_exchange_change", args=[exchange_id])
    if kind == "gaps":
        return f"{reverse('board-gaps')}?exchange={exchange_id}"
    return f"{exchange(exchange_id)}#x-runs"
