"""Finds what is wrong, once for each cause: pure rules over the signs of one moment.

`causes` says which of them explains which.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from incidents.rules.budgets import Burn
from incidents.rules.causes import (
    INTERNAL,
    LINE_CAUSES,
    OF_STREAMED,
    OF_SYSTEM,
    POLLS,
    STREAMS,
    budget_key,
    clock_keys,
    explainers,
    explainers_of_burn,
    keys_of,
    line_key,
    system_key,
    system_keys,
)
from incidents.rules.conditions import ADVICE, MISSING, SILENT, Condition, SourceState
from incidents.rules.facts import BudgetSigns, ExchangeSigns, FindableSigns, Found, PairSigns, Trouble
from incidents.rules.verdict import COMMON_CAUSES, Alarm, Tone
from incidents.rules.words import IncidentKind, Level

LEAST_ALIKE = 3  # fewer exchanges that fail alike may be chance
DEGRADED_LASTS = timedelta(seconds=60)  # one failed run is none: the next mends it
STREAM_LASTS = timedelta(seconds=120)  # a session that is renewed is none
LEAST_MARKETS = 3
MARKETS_LAST = timedelta(seconds=60)
GAP_CAUSES = ("our outage", "exchange outage", "rate limited")  # a quiet market is none
# What shows by silence, as long as all processes have only just begun.
SILENT_AT_START = (
    "worker",
    "queue",
    STREAMS,
    "beat",
    "notifier",
    "rollups",
    "archive",
    POLLS,
    "stream",
    SILENT,
    MISSING,
)
# Causes that cannot be judged while Valkey does not answer.
UNASKED_WITHOUT_VALKEY = ("worker", "queue", STREAMS)


def find(signs: FindableSigns, now: datetime) -> Found:
    """Returns what is wrong. Missing input makes a key unknown, never well."""
    system = list(_system(signs, now))
    if signs.is_off:
        named = {each.condition.exchange for each in signs.exchanges}
        return Found(tuple(system), frozenset(key for name in named for key in keys_of(name)) | _unasked(signs))
    common = [*_common(signs, now), *_lines(signs, now)]
    known = {trouble.key: trouble for trouble in reversed([*system, *common])}
    single = [trouble for each in signs.exchanges for trouble in _of_exchange(each, signs, now)]
    markets = list(_of_gaps(signs, {trouble.key for trouble in single}, now))
    pairs = [_of_pair(pair) for pair in signs.pairs]
    burns = [_of_budget(each, now) for each in signs.budgets if each.is_known and each.burn in OF_BURN]
    found = Found((*reversed(known.values()), *single, *markets, *pairs, *burns), _unknown(signs))
    return _without_silence(found) if signs.is_starting else found


def _without_silence(found: Found) -> Found:
    """Takes out what may only be our own start: it neither begins nor ends yet."""
    kept = tuple(each for each in found.troubles if each.cause not in SILENT_AT_START)
    left_out = {each.key for each in found.troubles} - {each.key for each in kept}
    return Found(kept, found.unknown | left_out)


# --- the system ---------------------------------------------------------------------------------------------------


OF_TONE = {Tone.DANGER: Level.CRITICAL, Tone.UNKNOWN: Level.INFO}


def _system(signs: FindableSigns, now: datetime) -> Iterator[Trouble]:
    for alarm in signs.alarms:
        if alarm.is_told:
            yield of_alarm(alarm, now)


def of_alarm(alarm: Alarm, now: datetime) -> Trouble:
    """Returns the trouble that an alarm on the machine itself tells of."""
    return Trouble(
        key=system_key(alarm.cause or alarm.what[:40]),
        kind=IncidentKind.SYSTEM,
        cause=alarm.cause or alarm.what[:40],
        severity=OF_TONE.get(alarm.tone, Level.WARNING),
        title=alarm.what,
        since=alarm.since or now,
        advice=alarm.do,
        explained_by=system_keys(OF_SYSTEM.get(alarm.cause, ())),
    )


def _common(signs: FindableSigns, now: datetime) -> Iterator[Trouble]:
    """Looks for what all that are polled, or all that are streamed, have in common: they do not fail by themselves.

    One that fails in a way of its own already keeps no common cause from being seen.
    """
    polled = [each for each in _judged(signs) if not each.is_streamed]
    silent = [each for each in polled if each.condition.cause == SILENT]
    if len(silent) >= LEAST_ALIKE and all(map(_is_bad, polled)):
        if signs.is_beat_late:
            yield _idle_beat(silent, now)
        yield _shared(POLLS, f"No poll stores a row: {len(silent)} exchanges are silent at once", SILENT, silent, now)
    failed = [each for each in _judged(signs) if each.condition.cause == "failed"]
    if len(failed) >= LEAST_ALIKE and all(map(_is_bad, _judged(signs))):
        title = f"Runs of {len(failed)} exchanges fail by an internal error, and none delivers"
        yield _shared(INTERNAL, title, "failed", failed, now)
    wanted = [each for each in _judged(signs) if each.is_stream_wanted]
    short = [each for each in wanted if _is_short(each, now)]
    if len(short) >= LEAST_ALIKE and len(short) == len(wanted):
        title = f"No stream delivers: {len(short)} exchanges are polled, or not collected at all"
        since = min(each.stream_short_since or now for each in short)
        lines = {line_key(each.address) for each in short}
        causes = (*system_keys(OF_SYSTEM[STREAMS]), *(lines if len(lines) == 1 else ()))
        yield Trouble(
            system_key(STREAMS), IncidentKind.SYSTEM, STREAMS, Level.WARNING, title, since, _names(short),
            short[0].stream_why, "See the stream process's log.", explained_by=causes,
        )  # fmt: skip


def _idle_beat(silent: Sequence[ExchangeSigns], now: datetime) -> Trouble:
    """Returns the cause of a silence of all polls while the scheduler is late: alone it would be waited for longer."""
    return Trouble(
        system_key("beat"), IncidentKind.SYSTEM, "beat", Level.CRITICAL, "The scheduler sends no poll",
        _since(silent, now), advice="read the log of beat, or start one",
        explained_by=system_keys(OF_SYSTEM["beat"]),
    )  # fmt: skip


def _shared(cause: str, title: str, word: str, hit: Sequence[ExchangeSigns], now: datetime) -> Trouble:
    return Trouble(
        key=system_key(cause),
        kind=IncidentKind.SYSTEM,
        cause=cause,
        severity=Level.CRITICAL,
        title=title,
        since=_since(hit, now),
        exchanges=_names(hit),
        detail=next((each.condition.detail for each in hit if each.condition.detail), ""),
        advice=COMMON_CAUSES[word],
        explained_by=system_keys(OF_SYSTEM[cause]),
    )


# --- all behind one address ---------------------------------------------------------------------------------------


def _lines(signs: FindableSigns, now: datetime) -> Iterator[Trouble]:
    """Yields a trouble for each outgoing address behind which nobody delivers, and most fail in one way."""
    behind: defaultdict[str, list[ExchangeSigns]] = defaultdict(list)
    for each in _judged(signs):
        behind[each.address].append(each)
    for address, there in sorted(behind.items()):
        bad = [each for each in there if _is_bad(each)]
        causes = Counter(each.condition.cause for each in bad if each.condition.cause in LINE_CAUSES)
        if len(bad) < len(there) or not causes:
            continue
        cause, count = causes.most_common(1)[0]
        if count >= LEAST_ALIKE and count * 2 > len(there):
            yield _line(address, cause, [each for each in bad if each.condition.cause == cause], now)


def _line(address: str, cause: str, hit: Sequence[ExchangeSigns], now: datetime) -> Trouble:
    return Trouble(
        key=line_key(address),
        kind=IncidentKind.LINE,
        cause=cause,
        severity=Level.CRITICAL,
        title=f"All {len(hit)} exchanges behind one address fail alike: {_words(hit[0].condition)}",
        since=_since(hit, now),
        exchanges=_names(hit),
        detail=next((each.condition.detail for each in hit if each.condition.detail), ""),
        advice=COMMON_CAUSES.get(cause, "All fail in the same way: look for a shared cause first."),
        explained_by=clock_keys(cause),
    )


# --- one exchange -------------------------------------------------------------------------------------------------


def _of_exchange(each: ExchangeSigns, signs: FindableSigns, now: datetime) -> Iterator[Trouble]:
    whole, transport, markets = keys_of(each.condition.exchange)
    state, cause = each.condition.state, each.condition.cause
    if state == SourceState.DEGRADED and cause == MISSING:
        yield _trouble_of(each, markets, IncidentKind.MARKETS, Level.WARNING, now, signs)
    elif state == SourceState.DOWN:
        yield _trouble_of(each, whole, IncidentKind.EXCHANGE, Level.CRITICAL, now, signs)
    elif state == SourceState.DEGRADED and _has_lasted(each.condition.since, DEGRADED_LASTS, now):
        yield _trouble_of(each, whole, IncidentKind.EXCHANGE, Level.WARNING, now, signs)
    if _is_short(each, now):
        yield Trouble(
            transport, IncidentKind.TRANSPORT, "stream", Level.INFO,
            f"{each.condition.exchange}: its stream does not deliver", each.stream_short_since or now,
            (each.condition.exchange,), each.stream_why, explained_by=(*system_keys(OF_STREAMED), whole),
        )  # fmt: skip


def _trouble_of(
    each: ExchangeSigns, key: str, kind: IncidentKind, level: Level, now: datetime, signs: FindableSigns
) -> Trouble:
    condition = each.condition
    advice, _ = ADVICE.get(condition.cause, (condition.advice, ""))
    whole, _, _ = keys_of(condition.exchange)
    return Trouble(
        key=key,
        kind=kind,
        cause=condition.cause,
        severity=level,
        title=f"{condition.exchange} {_words(condition)}",
        since=condition.since or now,
        exchanges=(condition.exchange,),
        detail=condition.detail,
        advice=advice or condition.advice,
        affected=each.markets - each.fresh,
        explained_by=(*explainers(each), *((whole,) if key != whole else ())),
        is_alone=_is_alone(each, signs),
    )


def _words(condition: Condition) -> str:
    """Returns what is wrong as it follows an exchange's name."""
    return f"is {condition.why or condition.state}"


def _is_alone(each: ExchangeSigns, signs: FindableSigns) -> bool:
    """Says whether another exchange behind the same address has stored a row since, and none there is bad."""
    since = each.condition.since
    others = [other for other in _judged(signs) if other is not each and other.address == each.address]
    if since is None or not others or any(map(_is_bad, others)):
        return False
    return all(other.stored_at is not None and other.stored_at > since for other in others)


# --- markets and pairs --------------------------------------------------------------------------------------------


def _of_gaps(signs: FindableSigns, there: set[str], now: datetime) -> Iterator[Trouble]:
    """Yields a trouble for three or more silent markets with one cause, of an exchange that delivers the others."""
    by_name = {each.condition.exchange: each for each in signs.exchanges}
    for gap in signs.gaps:
        each, (whole, _, key) = by_name.get(gap.exchange), keys_of(gap.exchange)
        if each is None or each.condition.state != SourceState.DELIVERS or key in there:
            continue
        if gap.cause not in GAP_CAUSES or gap.lasting < LEAST_MARKETS or not _has_lasted(gap.since, MARKETS_LAST, now):
            continue
        there.add(key)
        yield Trouble(
            key, IncidentKind.MARKETS, MISSING, Level.INFO,
            f"{gap.exchange} is missing {gap.lasting} of {each.markets} markets", gap.since, (gap.exchange,), gap.cause,
            affected=gap.lasting, explained_by=(*explainers(each), whole),
        )  # fmt: skip


def _of_pair(pair: PairSigns) -> Trouble:
    others = f", still fresh from {pair.fresh}" if pair.fresh else ", and from nobody else"
    return Trouble(
        key=f"pair:{pair.pair}",
        kind=IncidentKind.PAIR,
        cause=SILENT,
        severity=Level.WARNING if pair.fresh else Level.CRITICAL,
        title=f"{pair.pair} is silent on {', '.join(pair.exchanges[:5])}{others}",
        since=pair.since,
        exchanges=pair.exchanges,
        affected=len(pair.exchanges),
        explained_by=tuple(key for name in pair.exchanges[:1] for key in (*keys_of(name)[::2],)),
    )


# --- budgets ------------------------------------------------------------------------------------------------------


OF_BURN = {Burn.FAST: Level.CRITICAL, Burn.SLOW: Level.WARNING}


def _of_budget(each: BudgetSigns, now: datetime) -> Trouble:
    """Returns the trouble of an objective whose budget burns; `since` is when that was seen."""
    left = f"{max(0.0, each.left_minutes):.0f} of {each.budget_minutes:.0f} minutes of its budget are left"
    return Trouble(
        key=budget_key(each.number),
        kind=IncidentKind.BUDGET,
        cause=f"{each.burn} burn",
        severity=OF_BURN[Burn(each.burn)],
        title=f"The budget of {each.name} burns {each.burn}",
        since=now,
        exchanges=each.exchanges,
        detail=f"{left}; lost now by {', '.join(each.exchanges) or 'nobody'}",
        advice="See who spends it on the page of objectives.",
        explained_by=explainers_of_burn(each.exchanges),
        is_alone=True,
    )


# --- small questions ----------------------------------------------------------------------------------------------


def _judged(signs: FindableSigns) -> list[ExchangeSigns]:
    """Returns the exchanges of which something is known: neither stopped on purpose nor waiting to start."""
    unjudged = (SourceState.OFF, SourceState.UNKNOWN)
    return [each for each in signs.exchanges if each.condition.state not in unjudged]


def _is_bad(each: ExchangeSigns) -> bool:
    return each.condition.state in (SourceState.DOWN, SourceState.DEGRADED)


def _is_short(each: ExchangeSigns, now: datetime) -> bool:
    return each.stream_short_since is not None and _has_lasted(each.stream_short_since, STREAM_LASTS, now)


def _has_lasted(since: datetime | None, least: timedelta, now: datetime) -> bool:
    return since is None or now - since >= least


def _names(hit: Sequence[ExchangeSigns]) -> tuple[str, ...]:
    return tuple(each.condition.exchange for each in hit)


def _since(hit: Sequence[ExchangeSigns], now: datetime) -> datetime:
    return min((each.condition.since for each in hit if each.condition.since is not None), default=now)


def _unasked(signs: FindableSigns) -> frozenset[str]:
    return frozenset(system_keys(UNASKED_WITHOUT_VALKEY) if signs.is_valkey_away else ())


def _unknown(signs: FindableSigns) -> frozenset[str]:
    """Returns what cannot be judged: exchanges that have not started, and all behind an address that has no other."""
    waiting = [each for each in signs.exchanges if each.condition.state == SourceState.UNKNOWN]
    judged = {each.address for each in _judged(signs)}
    keys = {key for each in waiting for key in keys_of(each.condition.exchange)}
    keys |= {line_key(each.address) for each in waiting if each.address not in judged}
    if waiting and not judged:
        keys |= set(system_keys((POLLS, INTERNAL)))
    keys |= {budget_key(each.number) for each in signs.budgets if not each.is_known}
    return frozenset(keys) | _unasked(signs)
