"""Incidents on rows made for them: troubles are handed to the ledger as the pulse does, once a second of a story."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from incidents import addresses, ledger
from incidents.models import AlertChannel, AlertRoute, Delivery
from incidents.rules.facts import Found, Trouble
from incidents.rules.words import IncidentKind, Level

START = datetime(2026, 12, 1, 12, tzinfo=UTC)


def trouble(key: str = "exchange:kraken", *, explained_by: Sequence[str] = (), **facts: Any) -> Trouble:
    """One thing that is wrong, as `find` would say."""
    kind, _, name = key.partition(":")
    usual: dict[str, Any] = {
        "kind": IncidentKind(kind),
        "cause": "unreachable",
        "severity": Level.CRITICAL,
        "title": f"{name} is unreachable",
        "since": START,
        "exchanges": (name,) if kind in ("exchange", "markets") else (),
    }
    return Trouble(key=key, explained_by=tuple(explained_by), **{**usual, **facts})


@dataclass(slots=True)
class Story:
    """A clock and the ledger; `see` is one pulse after so many seconds."""

    now: datetime = START
    told: list[str] = field(default_factory=list)

    def see(self, *troubles: Trouble, after: float = 1, unknown: Sequence[str] = ()) -> int:
        self.now += timedelta(seconds=after)
        return ledger.apply(Found(troubles, frozenset(unknown)), self.now)

    def due(self) -> list[str]:
        """What is due by now and waits, sent by this call: event and key of each."""
        waiting = Delivery.objects.filter(state="queued", next_try_at__lte=self.now).order_by("pk")
        found = [f"{row.event} {row.incident.key}" for row in waiting.select_related("incident")]
        waiting.update(state="sent", sent_at=self.now, attempts=1)
        self.told += found
        return found


@pytest.fixture
def story(db: None) -> Story:
    return Story()


def make_channel(
    name: str = "ops", kind: str = "email", address: str = "ops@example.com", **facts: Any
) -> AlertChannel:
    parts = addresses.parsed(kind, address)
    return AlertChannel.objects.create(
        name=name, kind=kind, address=addresses.seal(parts), shown=addresses.shown(kind, parts), **facts
    )


def make_route(name: str = "all", *, steps: Sequence[dict[str, Any]] = (), **facts: Any) -> AlertRoute:
    usual = [{"after_seconds": 0, "channels": ["ops"], "repeat_seconds": 0}]
    return AlertRoute.objects.create(name=name, steps=list(steps) or usual, **facts)


@pytest.fixture
def route(db: None) -> AlertRoute:
    """Everything is told to one mail address at once."""
    make_channel()
    return make_route()
