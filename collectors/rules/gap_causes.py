"""The rule that decides the cause of a gap or an outage from the runs of the silence; `gaps/causes.py` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

OUR_OUTAGE = "our outage"
EXCHANGE_OUTAGE = "exchange outage"
RATE_LIMITED = "rate limited"
MARKET_QUIET = "market quiet"
NEVER_CAME = "never came"
DELISTED = "delisted"
HALTED = "halted"
REJECTED = "rejected"
UNKNOWN = "unknown"

# No fault of anybody, and without an end of their own: they are on record and not in the count of 24 hours.
UNCOUNTED = (HALTED, NEVER_CAME)
UNCOUNTED_SQL = ", ".join(f"'{cause}'" for cause in UNCOUNTED)
LABELS = {HALTED: "halted by the exchange"}  # where the word alone would leave doubts

AWAITED = "awaited"  # in the place of an outcome: the poll whose rows ended the silence, until it was answered
CAUSE_OF_OUTCOME = {
    "throttled": (RATE_LIMITED, "the exchange asked us to wait"),
    "held_back": (RATE_LIMITED, "we held requests back to stay within the exchange's limit"),
    "unreachable": (EXCHANGE_OUTAGE, "the exchange did not answer"),
    "bad_reply": (EXCHANGE_OUTAGE, "the exchange answered no data"),
    "denied": (UNKNOWN, "refused until somebody acts: key, region or certificate"),
    "not_connected": (UNKNOWN, "not connected: its address leads into a private network"),
    "failed": (OUR_OUTAGE, "our own runs failed"),
    "unsupported": (UNKNOWN, "the exchange said that it cannot do that"),
}


def cause_of(last_outcome: str) -> tuple[str, str]:
    """Returns a first guess at cause and reason, from the last run alone, until all runs of the silence are read."""
    if last_outcome in CAUSE_OF_OUTCOME:
        cause, _ = CAUSE_OF_OUTCOME[last_outcome]
        return cause, f"the last run ended {last_outcome}"
    return UNKNOWN, "runs were stored, this market was not in them or was quarantined"


class AbsentPart(NamedTuple):
    """The part of an exchange that a market belongs to, while polls went without it: for how long, and why."""

    part: str
    outcome: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """The known facts of one silence.

    `seconds` are by the outcome of the run that covers them: until the next run, but no longer than itself, its pause
    or two intervals. What no run covers, nobody collected. `counts` are the runs.
    """

    length_seconds: float
    slack_seconds: float
    seconds: dict[str, float]
    counts: dict[str, int]
    delisted_at: datetime | None = None
    quarantined_count: int = 0
    quarantine_reason: str = ""
    never_came: bool = False  # no row of this market was stored before
    halted_at: datetime | None = None
    halt: str = ""  # the exchange's word for it
    halted_before: str = ""  # the evidence of a silence that was judged so, and ended with the halt
    absent_part: AbsentPart | None = None


def judge(evidence: Evidence) -> tuple[str, str]:
    """Returns the cause of a silence and the evidence in words. What fills the larger part of it decides."""
    if evidence.halted_before and evidence.halted_at is None:
        return HALTED, evidence.halted_before
    if evidence.halted_at is not None:
        return HALTED, halted_in_words(evidence.halted_at, evidence.halt)
    if evidence.delisted_at is not None:
        return DELISTED, f"the exchange no longer lists this market since {evidence.delisted_at:%Y-%m-%d %H:%M:%S} UTC"
    absent = _absent_seconds(evidence)
    failed = {name: seconds for name, seconds in evidence.seconds.items() if name not in ("stored", AWAITED)}
    stored = evidence.seconds.get("stored", 0.0)
    if absent > 0 and absent >= max([stored, sum(failed.values())]):
        runs = sum(evidence.counts.values())
        done = "no run was finished" if runs == 0 else f"only {_counted(runs, 'run')} finished"
        return OUR_OUTAGE, f"{done} during the silence; nobody collected for {absent:.0f} s of {_length(evidence)}"
    if failed and sum(failed.values()) >= stored:
        return _of_failures(evidence, failed)
    return _of_one_market(evidence)


def halted_in_words(halted_at: datetime, halt: str) -> str:
    return f"the exchange lists this market and does not trade it: {halt}, seen at {halted_at:%Y-%m-%d %H:%M:%S} UTC"


def _absent_seconds(evidence: Evidence) -> float:
    """Returns the uncovered seconds, without what the row before covers, and without small rounding differences."""
    covered = sum(evidence.seconds.values()) + min(evidence.slack_seconds, evidence.length_seconds / 2)
    absent = evidence.length_seconds - covered
    return absent if absent > 0.05 * evidence.length_seconds else 0.0


def _of_failures(evidence: Evidence, failed: dict[str, float]) -> tuple[str, str]:
    by_cause: dict[str, float] = {}
    for outcome, seconds in failed.items():
        cause, _ = CAUSE_OF_OUTCOME.get(outcome, (UNKNOWN, ""))
        by_cause[cause] = by_cause.get(cause, 0.0) + seconds
    cause = max(by_cause, key=lambda name: by_cause[name])
    outcomes = sorted(name for name in failed if CAUSE_OF_OUTCOME.get(name, (UNKNOWN, ""))[0] == cause)
    words = ", ".join(f"{_counted(evidence.counts.get(name, 0), 'run')} {name}" for name in outcomes)
    why = CAUSE_OF_OUTCOME.get(outcomes[0], (UNKNOWN, "runs brought nothing"))[1]
    return cause, f"{why}: {words} in {_length(evidence)}"


def _of_one_market(evidence: Evidence) -> tuple[str, str]:
    """Returns cause and evidence where others came and this one did not."""
    stored = evidence.counts.get("stored", 0)
    part = evidence.absent_part
    if part is not None and part.seconds >= (evidence.length_seconds - evidence.slack_seconds) / 2:
        return _of_part(evidence, part)
    if evidence.quarantined_count:
        times = _counted(evidence.quarantined_count, "time")
        return REJECTED, f"its quotes were rejected {times}: {evidence.quarantine_reason}"
    if stored and evidence.never_came:
        return NEVER_CAME, f"listed, never came: {_counted(stored, 'run')} stored other markets"
    if stored:
        return MARKET_QUIET, f"{_counted(stored, 'run')} stored other markets, the exchange sent nothing of this one"
    if AWAITED in evidence.seconds:
        return UNKNOWN, f"the run that ended it took {evidence.seconds[AWAITED]:.1f} s of {_length(evidence)}"
    return UNKNOWN, f"no run explains {_length(evidence)}"


def _of_part(evidence: Evidence, part: AbsentPart) -> tuple[str, str]:
    """Returns the part's own cause: what the exchange cannot do for one kind of market is no outage of it."""
    cause = CAUSE_OF_OUTCOME.get(part.outcome, (UNKNOWN, ""))[0]
    if cause == UNKNOWN and evidence.never_came:
        cause = NEVER_CAME
    return cause, f"polls went without {part.part} ({part.outcome}): {part.reason}"


def _length(evidence: Evidence) -> str:
    return f"{evidence.length_seconds:.0f} s"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
