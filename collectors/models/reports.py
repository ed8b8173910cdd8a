"""The columns that a run of tickers and a run of market data share: the result of one round of asking an exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models

from feeds.base import OrderBook, RejectedRow

MOST_SAMPLES = 20
MOST_CHARACTERS = 2000
MOST_NAMES = 3


class RunReport(models.Model):
    """The report of a run: what was asked, what came, what was stored, and why not more."""

    started_at = models.DateTimeField()
    duration_ms = models.IntegerField()
    outcome = models.CharField(max_length=20)
    rows_answered = models.IntegerField(default=0)
    rows_stored = models.IntegerField(default=0)
    rows_quarantined = models.IntegerField(default=0)
    rows_repaired = models.IntegerField(default=0, db_default=0)  # stored without a part of them that made no sense
    quarantine = models.JSONField(default=list, blank=True)
    http_status = models.SmallIntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    excerpt = models.TextField(blank=True)

    class Meta:
        abstract = True

    @property
    def is_listened(self) -> bool:
        """Says whether rows came all the while and nobody was asked: `duration_ms` is no length of a call then."""
        return False


def samples(rejected: Sequence[RejectedRow]) -> list[dict[str, Any]]:
    """Returns some of the rows that were put aside, with the reasons."""
    return [row._asdict() for row in rejected[:MOST_SAMPLES]]


def put_right(books: Mapping[str, OrderBook]) -> dict[str, int]:
    """Returns how many levels of each book were put right, of those that had any."""
    return {symbol: book.repaired for symbol, book in books.items() if book.repaired}


def of_levels(repaired: Mapping[str, int]) -> str:
    """Says whose levels were put right; empty where none had to be."""
    if not repaired:
        return ""
    named = ", ".join(list(repaired)[:MOST_NAMES])
    more = f" and {len(repaired) - MOST_NAMES} more" if len(repaired) > MOST_NAMES else ""
    return f"{sum(repaired.values())} levels without an amount, or at one price, were put right: {named}{more}"


def clean(text: str) -> str:
    """Replaces NUL, which exchanges do send and PostgreSQL refuses in text; cuts the text to MOST_CHARACTERS."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:MOST_CHARACTERS]
