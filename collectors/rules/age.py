"""How old an exchange's answer was by its own word: its newest stamp, how long a cache held it, its server's clock.

An answer is judged as a whole, against what is usual of its source, never a single row: quiet pairs and oracles stamp
their last trade. `answer_stamps` says how much an answer's stamps prove. Clocks are ours where nothing else is said;
all times are Unix seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, median_low
from typing import Any, Final

from collectors.rules.answer_stamps import APART, FEW, TOGETHER

ASSUMED_SECONDS = 60.0  # what is usual until LEAST_ANSWERS are known
LEAST_ANSWERS = 20
OLD_FACTOR, OLD_MORE_SECONDS = 3.0, 60.0
# Times of last trades come at random: one in eight pauses is three times the usual one, one in a million twenty times.
APART_FACTOR = 20.0
PROMPT_SECONDS = 30.0  # the longest rest of stamps that come with each answer, also of a single market
SLOT_SECONDS, SLOTS = 900, 96  # a day in quarters of an hour, of each its median
SLOT_SAMPLES = 20
# Between two samples: stamps that stand still must not become usual before they are old, however often we ask.
SAMPLE_SECONDS = SLOT_SECONDS / SLOT_SAMPLES
# Old answers teach nothing at first: an hour of them would become the usual of a source that we have known for less.
LEARN_OLD_AFTER_SECONDS = 12 * 3600.0
LEAST_SKEW_SECONDS = 2.0  # a `Date` has whole seconds
LEAST_SKEWS = 5
SAME_DATE_SECONDS = 5.0  # after so long the clock of a server that answers has moved
PUSHED_MEMORY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """What one answer says of its age. `made_at` is its newest stamp or its own time, `served_at` the server's clock,
    `cached_seconds` how long a cache has held it. `stamps` is a word of `answer_stamps`; empty: as they were before."""

    received_at: float
    made_at: float | None
    cached_seconds: float | None = None
    served_at: float | None = None
    stamps: str = TOGETHER


@dataclass(frozen=True, slots=True)
class AnswerState:
    """What is known of a source's answers: the last one, whether it was old since when and why, and what is usual.

    `lag_seconds` is the last one's age by the exchange's word, None where it says nothing. The server's clock is
    `skew_seconds` behind ours. `rested_seconds` is the longest time of a day in which the newest stamp stood still.
    """

    received_at: float
    made_at: float | None = None
    served_at: float | None = None
    lag_seconds: float | None = None
    usual_seconds: float | None = None
    skew_seconds: float | None = None
    old_since: float | None = None
    reason: str = ""
    count: int = 0
    sampled_at: float = 0.0
    slot: int = 0
    samples: tuple[float, ...] = ()
    slots: tuple[tuple[int, float], ...] = ()
    skews: tuple[float, ...] = field(default=())
    stamps: str = ""
    rested_seconds: float = 0.0
    rested_slot: int = 0
    moves: int = 0  # of the newest stamp, as far as they count

    @property
    def is_prompt(self) -> bool:
        """Says whether stamps have long come with each answer, so that one standing still is news."""
        return self.moves >= LEAST_ANSWERS and self.rested_seconds <= PROMPT_SECONDS

    @property
    def is_old(self) -> bool:
        return self.old_since is not None

    @property
    def shown_at(self) -> float:
        """Returns the exchange's own time of the answer."""
        return self.received_at - (self.lag_seconds or 0.0)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name in STORED if (value := getattr(self, name)) not in (None, (), "", 0)}

    @classmethod
    def from_json(cls, stored: Any) -> AnswerState | None:
        """Returns the state as it was stored; None for what is none, as of a release with other fields."""
        if not isinstance(stored, Mapping) or not isinstance(stored.get("received_at"), int | float):
            return None
        try:
            known = {name: value for name, value in stored.items() if name in STORED}
            for name in ("samples", "skews"):
                known[name] = tuple(map(float, known.get(name, ())))
            known["slots"] = tuple((int(slot), float(middle)) for slot, middle in known.get("slots", ()))
            return cls(**known)
        except (TypeError, ValueError):
            return None


STORED: Final = tuple(AnswerState.__dataclass_fields__)


def read_states(text: str | None) -> dict[str, AnswerState]:
    """Returns the states by kind of market, as `written` wrote them."""
    return of_json(json.loads(text) if text else {})


def of_json(stored: Any) -> dict[str, AnswerState]:
    states = {kind: AnswerState.from_json(each) for kind, each in stored.items()} if isinstance(stored, dict) else {}
    return {kind: state for kind, state in states.items() if state is not None}


def written(states: Mapping[str, AnswerState]) -> str:
    return json.dumps({kind: state.to_json() for kind, state in states.items()})


def written_old(states: Mapping[str, AnswerState]) -> str:
    """Returns what readers need to know of the kinds whose last answer was old; `{}` as a rule."""
    names = ("lag_seconds", "old_since", "reason")
    return json.dumps(
        {
            kind: {"made_at": state.shown_at, **{name: getattr(state, name) for name in names}}
            for kind, state in states.items()
            if state.is_old
        }
    )


def newest(stamps: Iterable[float | None]) -> float | None:
    return max((stamp for stamp in stamps if stamp is not None), default=None)


def after(known: AnswerState | None, answer: AnswerFacts, *, is_pushed: bool = False) -> AnswerState:
    """Returns what is known after an answer. What a stream pushes is one answer that goes on: its newest stamp counts,
    whichever of its frames brought it."""
    before = known or AnswerState(answer.received_at)
    made_at = _pushed(before, answer) if is_pushed else answer.made_at
    answer = replace(answer, made_at=made_at, stamps=answer.stamps or before.stamps or TOGETHER)
    skews = _with_skew(before, answer, is_first=known is None)
    skew = _skew_of(skews)
    by_stamp = None if made_at is None else answer.received_at - made_at - (skew or 0.0)
    by_header = _by_header(before, answer, skew, is_first=known is None)
    lag = max((told for told in (by_stamp, by_header) if told is not None), default=None)
    judged = lag if answer.stamps != FEW or before.is_prompt else by_header
    is_old = judged is not None and judged > limit_seconds(before.usual_seconds, stamps=answer.stamps)
    state = replace(
        _rested(before, answer),
        received_at=answer.received_at,
        made_at=made_at,
        served_at=answer.served_at,
        stamps=answer.stamps,
        lag_seconds=None if lag is None else round(lag, 3),
        skew_seconds=skew,
        skews=skews,
        old_since=(before.old_since or answer.received_at) if is_old else None,
        reason=_in_words(answer, lag or 0.0, before.usual_seconds) if is_old else "",
    )
    return state if lag is None else _learned(state, lag)


def limit_seconds(usual_seconds: float | None, *, stamps: str = TOGETHER) -> float:
    """Returns the age from which on an answer is old."""
    usual = ASSUMED_SECONDS if usual_seconds is None else usual_seconds
    return max((APART_FACTOR if stamps == APART else OLD_FACTOR) * usual, usual + OLD_MORE_SECONDS)


def in_words(state: AnswerState) -> str:
    """Returns the age of a source's newest answer, what is usual, and how wrong its server's clock is."""
    if state.is_old:
        return f"old: {state.reason}"
    if state.lag_seconds is None:
        said = "the exchange tells no time"
    else:
        usual = "not known yet" if state.usual_seconds is None else f"{state.usual_seconds:.1f} s"
        said = f"{state.lag_seconds:.1f} s (usual: {usual})"
    skew = state.skew_seconds or 0.0
    return f"{said}; its clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} ours" if skew else said


def is_behind(asked: float | None, pushed: float | None) -> bool:
    """Says whether an answer's newest stamp is far behind what was pushed before it: it must not overrule that."""
    return asked is not None and pushed is not None and pushed - asked > OLD_MORE_SECONDS / 2


def _pushed(before: AnswerState, answer: AnswerFacts) -> float | None:
    is_remembered = answer.received_at - before.received_at < PUSHED_MEMORY_SECONDS
    return newest((answer.made_at, before.made_at if is_remembered else None))


def _by_header(before: AnswerState, answer: AnswerFacts, skew: float | None, *, is_first: bool) -> float | None:
    """Returns the age that headers tell: of a cache, or where no row has a stamp, of a server's clock that stands."""
    told = [] if answer.cached_seconds is None else [answer.cached_seconds]
    if answer.made_at is None and answer.served_at is not None and not is_first and _stands_still(before, answer):
        told.append(answer.received_at - answer.served_at - (skew or 0.0))
    return max(told, default=None)


def _rested(before: AnswerState, answer: AnswerFacts) -> AnswerState:
    """Notes how long the newest stamp had stood still, once another one has come; a rest is forgotten after a day."""
    if before.made_at is None or answer.made_at is None or answer.made_at == before.made_at:
        return before
    slot, rest = int(answer.received_at // SLOT_SECONDS), before.lag_seconds or 0.0
    is_longest = rest > before.rested_seconds or slot - before.rested_slot >= SLOTS
    return replace(
        before,
        moves=min(before.moves + 1, LEAST_ANSWERS),
        rested_seconds=rest if is_longest else before.rested_seconds,
        rested_slot=slot if is_longest else before.rested_slot,
    )


def _stands_still(before: AnswerState, answer: AnswerFacts) -> bool:
    """Says whether the server's clock has not moved since the answer before: it is that answer, out of a cache."""
    return before.served_at == answer.served_at and answer.received_at - before.received_at > SAME_DATE_SECONDS


def _with_skew(before: AnswerState, answer: AnswerFacts, *, is_first: bool) -> tuple[float, ...]:
    if answer.served_at is None or (not is_first and before.served_at == answer.served_at):
        return before.skews
    skew = answer.received_at - answer.served_at - (answer.cached_seconds or 0.0)
    return (*before.skews, round(skew, 1))[-SLOT_SAMPLES:]


def _skew_of(skews: Sequence[float]) -> float | None:
    if len(skews) < LEAST_SKEWS:
        return None
    middle = median(skews)
    return round(middle, 1) if abs(middle) >= LEAST_SKEW_SECONDS else 0.0


def _learned(state: AnswerState, lag: float) -> AnswerState:
    """Adds an answer's age to what is usual: the median of a day, each quarter of an hour counting once."""
    if state.old_since is not None and state.received_at - state.old_since < LEARN_OLD_AFTER_SECONDS:
        return state
    count = min(state.count + 1, LEAST_ANSWERS)
    slot = int(state.received_at // SLOT_SECONDS)
    slots, samples, sampled_at = state.slots, state.samples, state.sampled_at
    if slot != state.slot:
        if samples:
            slots = (*slots, (state.slot, median_low(samples)))
        samples = ()
        slots = tuple(each for each in slots if slot - SLOTS < each[0] < slot)
    if not samples or not 0 <= state.received_at - sampled_at < SAMPLE_SECONDS:
        samples, sampled_at = (*samples, round(lag, 1))[-SLOT_SAMPLES:], state.received_at
    usual = median_low([middle for _, middle in slots] + [median_low(samples)]) if count >= LEAST_ANSWERS else None
    return replace(
        state, slot=slot, samples=samples, sampled_at=sampled_at, slots=slots, count=count, usual_seconds=usual
    )


def _in_words(answer: AnswerFacts, lag: float, usual: float | None) -> str:
    if answer.cached_seconds is not None and answer.cached_seconds >= lag:
        return f"a cache has held the exchange's answer for {lag:.0f} s"
    usually = f"{usual:.0f} s are usual" if usual is not None else f"{ASSUMED_SECONDS:.0f} s are assumed to be usual"
    return f"the exchange's answer is {lag:.0f} s old by its own time; {usually}"
