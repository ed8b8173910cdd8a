"""The words of incidents: what they are, how grave, how far, and what is told of them."""

from __future__ import annotations

from enum import StrEnum


class IncidentKind(StrEnum):
    """Kinds in the order of the tree of causes: each may be explained by those before it."""

    SYSTEM = "system"
    LINE = "line"  # all exchanges behind one outgoing address
    EXCHANGE = "exchange"
    TRANSPORT = "transport"
    MARKETS = "markets"
    PAIR = "pair"
    MARKET_DATA = "market data"
    BUDGET = "budget"
    DRILL = "drill"


class Level(StrEnum):
    """Severities from the least on."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Stage(StrEnum):
    """How far people or signs have come with an incident; `monitoring`: its signs are gone, and it is watched."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"


class MessageEvent(StrEnum):
    """What a message tells."""

    OPENED = "opened"
    GREW = "grew"
    ACKNOWLEDGED = "acknowledged"
    HEALED = "healed"
    REMINDER = "reminder"
    TEST = "test"


LEVELS = tuple(Level)


def is_graver(one: str, other: str) -> bool:
    return LEVELS.index(Level(one)) > LEVELS.index(Level(other))
