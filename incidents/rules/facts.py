"""What the rules of incidents are given, the signs of one moment, and what they find: troubles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from incidents.rules.conditions import Condition
from incidents.rules.verdict import Alarm
from incidents.rules.words import IncidentKind, Level


@dataclass(frozen=True, slots=True)
class ExchangeSigns:
    """What the rules know of one exchange. `streamed_short_since`: a stream is wanted, and does not deliver since."""

    condition: Condition
    address: str = ""
    is_streamed: bool = False
    is_stream_wanted: bool = False
    stream_short_since: datetime | None = None
    stream_why: str = ""
    stored_at: datetime | None = None
    markets: int = 0
    fresh: int = 0


@dataclass(frozen=True, slots=True)
class GapSigns:
    exchange: str
    cause: str
    lasting: int
    since: datetime


@dataclass(frozen=True, slots=True)
class PairSigns:
    """A watched pair with silent markets: of which exchanges, since when, and of how many it still comes."""

    pair: str
    exchanges: tuple[str, ...]
    since: datetime
    fresh: int


@dataclass(frozen=True, slots=True)
class BudgetSigns:
    """An objective: whether its budget burns, by whose losses, and what is left of it in minutes.

    `is_known`: it was looked at a short while ago.
    """

    number: int
    name: str
    burn: str
    exchanges: tuple[str, ...] = ()
    left_minutes: float = 0.0
    budget_minutes: float = 0.0
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class FindableSigns:
    """The signs of one moment. `is_off`: nothing is collected on purpose, so nothing can be told of exchanges.

    `is_beat_late`: the scheduler has given no sign, or sent nothing, for longer than usual, which alone may be chance.
    `is_starting`: whoever looks has only just begun, perhaps with all other processes; their absence means nothing yet.
    """

    exchanges: Sequence[ExchangeSigns] = ()
    alarms: Sequence[Alarm] = ()
    gaps: Sequence[GapSigns] = ()
    pairs: Sequence[PairSigns] = ()
    budgets: Sequence[BudgetSigns] = ()
    is_off: bool = False
    is_valkey_away: bool = False
    is_beat_late: bool = False
    is_starting: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. `explained_by`: keys of possible causes, the deepest first.

    `is_alone`: others behind the same address and machine work, so no common cause has to be waited for.
    """

    key: str
    kind: IncidentKind
    cause: str
    severity: Level
    title: str
    since: datetime
    exchanges: tuple[str, ...] = ()
    detail: str = ""
    advice: str = ""
    affected: int = 0
    explained_by: tuple[str, ...] = ()
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """All troubles, and the keys of which nothing could be learned: these neither begin nor end.

    `is_partial`: only these troubles were looked for, so nothing else is known.
    """

    troubles: tuple[Trouble, ...] = ()
    unknown: frozenset[str] = field(default_factory=frozenset)
    is_partial: bool = False
