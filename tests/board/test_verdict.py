"""The sentence at the top of the board, and each source's condition: rules over stored facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collectors.models import Outcome
from feeds.network_guard import PrivateAddress
from incidents.rules.conditions import WORDS, Condition, Signs, SourceState, condition
from incidents.rules.verdict import Alarm, Clause, Elsewhere, Tone, judge

NOW = datetime(2026, 3, 3, 14, 10, tzinfo=UTC)
HEALTHY = Signs(
    exchange="kraken",
    status="running",
    reason="",
    status_since=NOW - timedelta(days=1),
    interval_seconds=10,
    outcome="stored",
    stored_at=NOW - timedelta(seconds=5),
    resumed_at=NOW - timedelta(days=1),
    markets=100,
    fresh=100,
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def good(*names: str) -> list[Condition]:
    return [Condition(name, SourceState.DELIVERS) for name in names]


@pytest.mark.parametrize(
    ("changes", "state", "why", "since"),
    [
        ({}, SourceState.DELIVERS, "", None),
        ({"fresh": 90}, SourceState.DELIVERS, "", None),
        ({"fresh": 89, "silent_since": ago(70)}, SourceState.DEGRADED, "missing 11 of 100 markets", ago(70)),
        ({"stored_at": ago(30)}, SourceState.DELIVERS, "", None),
        ({"stored_at": ago(31)}, SourceState.DEGRADED, "silent", ago(31)),
        ({"interval_seconds": 1, "stored_at": ago(10)}, SourceState.DELIVERS, "", None),
        ({"interval_seconds": 1, "stored_at": ago(11)}, SourceState.DEGRADED, "silent", ago(11)),
        (
            {"error_count": 1, "outcome": "throttled", "failing_since": ago(480)},
            SourceState.DEGRADED,
            "rate-limited",
            ago(480),
        ),
        (
            {"error_count": 3, "outcome": "unreachable", "status": "error", "failing_since": ago(25)},
            SourceState.DOWN,
            "unreachable",
            ago(25),
        ),
        (
            {"outcome": "throttled", "retry_at": NOW + timedelta(seconds=1)},
            SourceState.DEGRADED,
            "rate-limited",
            ago(5),
        ),
        ({"outcome": "throttled", "retry_at": NOW}, SourceState.DELIVERS, "", None),
        ({"status": "error", "stored_at": ago(121)}, SourceState.DOWN, "silent", ago(121)),
        ({"status": "stopped", "resumed_at": ago(3)}, SourceState.UNKNOWN, "waiting to start", ago(3)),
        ({"resumed_at": ago(2)}, SourceState.UNKNOWN, "waiting to start", ago(2)),
        ({"stored_at": None, "resumed_at": ago(9)}, SourceState.UNKNOWN, "waiting for its first row", ago(9)),
        ({"stored_at": None, "resumed_at": ago(200), "status": "error"}, SourceState.DOWN, "silent", ago(200)),
        (
            {"is_wanted": False, "off_because": "disabled", "error_count": 9, "status_since": ago(60)},
            SourceState.OFF,
            "disabled",
            ago(60),
        ),
    ],
)
def test_a_source_is_as_bad_as_the_worst_that_is_true_of_it(
    changes: dict[str, object], state: SourceState, why: str, since: datetime | None
) -> None:
    found = condition(replace(HEALTHY, **changes), NOW)

    assert (found.state, found.why, found.since) == (state, why, since)


def test_what_began_yesterday_is_told_with_its_day() -> None:
    found = condition(replace(HEALTHY, stored_at=NOW - timedelta(hours=19)), NOW)

    assert found.is_old
    assert Clause("kraken", "silent", found.since, is_old=True).text() == "kraken silent since 2026-03-02 19:10 UTC"


def test_everything_delivers() -> None:
    found = judge(good("binance", "kraken", "luno"))

    assert (found.tone, found.text()) == (Tone.WELL, "All 3 sources deliver")


def test_the_degraded_are_named_with_what_others_still_bring() -> None:
    bad = [
        Condition("kraken", SourceState.DEGRADED, "rate-limited", datetime(2026, 3, 3, 14, 2, tzinfo=UTC)),
        Condition("luno", SourceState.DEGRADED, "silent", datetime(2026, 3, 3, 14, 5, tzinfo=UTC)),
    ]

    found = judge([*good(*"abcdefghi"), *bad], elsewhere={"kraken": Elsewhere(156, 3), "luno": Elsewhere(0, 0)})

    assert found.tone == Tone.WARNING
    assert found.text() == (
        "2 of 11 sources degraded: kraken rate-limited since 14:02 UTC, 156 pairs still fresh from 3 others; "
        "luno silent since 14:05 UTC, none of its pairs fresh from others"
    )


def test_one_pair_from_one_other_is_said_in_the_singular() -> None:
    found = judge(
        [*good("a"), Condition("b", SourceState.DEGRADED, "silent")], elsewhere={"b": Elsewhere(pairs=1, sources=1)}
    )

    assert found.text() == "1 of 2 sources degraded: b silent, 1 pair still fresh from 1 other"


def test_the_worst_come_first_and_no_more_than_three_are_named() -> None:
    bad = [
        *(Condition(name, SourceState.DEGRADED, "silent", ago(5)) for name in "abcd"),
        Condition("late", SourceState.DEGRADED, "silent", ago(500)),
        Condition("dead", SourceState.DOWN, "unreachable", ago(1)),
    ]

    found = judge([*good("x"), *bad])

    assert found.tone == Tone.DANGER
    assert found.claim == "1 of 7 sources down, 5 degraded"
    assert [clause.exchange for clause in found.clauses] == ["dead", "late", "a"]
    assert found.text().endswith("; and 3 more")


@pytest.mark.parametrize(
    ("conditions", "absence", "tone", "claim"),
    [
        ([], "", Tone.UNKNOWN, "Nothing is collected: no exchange has been added yet"),
        (good("a"), "it is switched off", Tone.DANGER, "Nothing is collected: it is switched off"),
        (
            [Condition("a", SourceState.OFF, "disabled")],
            "",
            Tone.DANGER,
            "Nothing is collected: every source was stopped on purpose",
        ),
        (
            [Condition("a", SourceState.DOWN, "silent"), Condition("b", SourceState.DOWN, "silent")],
            "",
            Tone.DANGER,
            "Nothing is collected: all 2 sources are down",
        ),
        (
            [
                Condition("a", SourceState.UNKNOWN, "waiting to start"),
                Condition("b", SourceState.UNKNOWN, "waiting to start"),
            ],
            "",
            Tone.UNKNOWN,
            "Unknown: no source has stored a row yet",
        ),
        (
            [*good("a"), Condition("b", SourceState.UNKNOWN, "waiting to start")],
            "",
            Tone.UNKNOWN,
            "1 of 2 sources without data yet",
        ),
        (good("a"), "", Tone.WELL, "The only source delivers"),
    ],
    ids=["none", "switched off", "all stopped", "all down", "no data", "one without data", "one"],
)
def test_without_data_nothing_is_well(conditions: list[Condition], absence: str, tone: Tone, claim: str) -> None:
    found = judge(conditions, absence=absence)

    assert (found.tone, found.claim) == (tone, claim)


def test_what_was_stopped_on_purpose_is_counted_apart() -> None:
    found = judge([*good("a", "b"), Condition("c", SourceState.OFF, "blacklisted by olga")])

    assert (found.text(), found.on_purpose) == ("All 2 sources deliver", 1)


ALARM = Alarm("The scheduler is silent", "start one")


@pytest.mark.parametrize(
    ("conditions", "alarms", "tone", "claim"),
    [
        (good("a", "b"), [], Tone.WELL, "All 2 sources deliver"),
        (good("a", "b"), [ALARM], Tone.DANGER, "All 2 sources deliver, but marketmon itself needs help"),
        (
            good("a", "b"),
            [replace(ALARM, tone=Tone.WARNING)],
            Tone.WARNING,
            "All 2 sources deliver, but marketmon itself needs help",
        ),
        (
            [*good("a"), Condition("b", SourceState.DOWN, "silent")],
            [replace(ALARM, tone=Tone.WARNING)],
            Tone.DANGER,
            "1 of 2 sources down, and marketmon itself needs help",
        ),
    ],
    ids=["nothing", "danger", "warning", "a source is worse"],
)
def test_a_board_is_not_green_while_marketmon_itself_is_not_well(
    conditions: list[Condition], alarms: list[Alarm], tone: Tone, claim: str
) -> None:
    found = judge(conditions, alarms=alarms)

    assert (found.tone, found.claim, found.alarms) == (tone, claim, tuple(alarms))


def test_the_worst_alarm_is_read_first() -> None:
    late = replace(ALARM, what="late", tone=Tone.WARNING)

    assert [alarm.what for alarm in judge(good("a"), alarms=[late, ALARM]).alarms] == [ALARM.what, "late"]


@pytest.mark.parametrize(
    ("causes", "words"),
    [
        (["unreachable"] * 3, "our own network"),
        (["denied"] * 3, "certificates"),
        (["not_connected"] * 3, "proxy or DNS"),
        (["silent"] * 3, "the scheduler"),
        (["throttled"] * 3, "a shared cause"),
        (["unreachable", "unreachable", "silent"], ""),
        (["unreachable"] * 2, ""),
    ],
    ids=["network", "denied", "private", "silent", "something", "each its own", "two may be chance"],
)
def test_when_all_fail_in_the_same_way_the_cause_is_probably_shared(causes: list[str], words: str) -> None:
    found = judge([Condition(f"e{place}", SourceState.DOWN, cause=cause) for place, cause in enumerate(causes)])

    assert words in found.hint
    assert bool(found.hint) is bool(words)


def test_one_that_delivers_shows_that_the_cause_is_not_ours() -> None:
    bad = [Condition(name, SourceState.DOWN, cause="unreachable") for name in "abc"]

    assert judge([*bad, *good("d")]).hint == ""


def test_our_own_refusal_to_connect_is_not_said_of_the_exchange() -> None:
    refused = replace(HEALTHY, status="error", error_count=1, outcome=PrivateAddress("10.0.0.7").kind)

    found = condition(refused, NOW)

    assert (found.why, found.state) == ("not connected (private address)", SourceState.DOWN)
    assert found.advice.startswith("We refuse to connect to a private network.")


def test_what_an_exchange_says_is_not_searched_for_our_own_words() -> None:
    said = str(PrivateAddress("10.0.0.7"))
    theirs = replace(HEALTHY, status="error", error_count=1, outcome="denied", last_error=said)

    assert condition(theirs, NOW).why == "denying access"


@pytest.mark.parametrize("outcome", sorted({*Outcome} - {Outcome.STORED, Outcome.SUPERSEDED}))
def test_every_outcome_of_a_failed_run_has_words(outcome: Outcome) -> None:
    assert outcome in WORDS


@pytest.mark.parametrize(
    "outcome", ["throttled", "held_back", "unreachable", "bad_reply", "denied", "not_connected", "failed"]
)
def test_a_source_that_fails_says_what_can_be_done_and_where(outcome: str) -> None:
    found = condition(replace(HEALTHY, error_count=3, status="error", outcome=outcome), NOW)

    assert found.advice
    assert found.look in ("settings", "runs")
