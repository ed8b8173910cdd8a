"""Budgets by hand: who spent the minutes, what is left, and when a budget burns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from incidents.rules import budgets
from incidents.rules.budgets import Burn, LostMinutes, MinuteAccount, Spender
from incidents.rules.facts import BudgetSigns, FindableSigns
from incidents.rules.findings import find
from tests.incidents.conftest import START, Story, trouble
from tests.incidents.test_findings import alarm, bad, signs

SPANS = dict.fromkeys(budgets.SPANS_MINUTES, MinuteAccount(600))


def spans(**lost: int) -> dict[int, MinuteAccount]:
    """Ten pipelines over all spans, which lost so many minutes each."""
    by_minutes = {5: "five", 30: "thirty", 60: "hour", 360: "six_hours"}
    return {
        minutes: MinuteAccount(minutes * 10, {Spender.US: lost.get(word, 0)}) for minutes, word in by_minutes.items()
    }


@pytest.mark.parametrize(
    ("cause", "root", "who"),
    [
        ("our outage", "", "us"), ("rate limited", "", "us"), ("exchange outage", "", "exchange"),
        ("market quiet", "", "exchange"), ("rejected", "", "exchange"), ("unknown", "", "unknown"),
        ("something new", "", "unknown"), ("exchange outage", "line", "network"), ("unknown", "system", "us"),
        ("exchange outage", "exchange", "exchange"), ("unknown", "exchange", "unknown"),
    ],
)  # fmt: skip
def test_the_root_of_its_incident_says_who_lost_a_gap_and_else_its_cause(cause: str, root: str, who: str) -> None:
    assert budgets.spender(cause, root) == who


@pytest.mark.parametrize(
    ("facts", "expected", "spent", "pending", "planned"),
    [
        ({}, 1000, 10, 0, 0),
        ({"is_planned": True}, 990, 0, 0, 10),
        ({"may_come": True}, 1000, 0, 10, 0),
        ({"is_planned": True, "cause": "our outage"}, 1000, 10, 0, 0),
        ({"is_planned": True, "root_kind": "system"}, 1000, 10, 0, 0),
    ],
    ids=["lost", "planned work is left out", "may still come", "our outage is never", "by its root neither"],
)
def test_minutes_are_spent_pending_or_planned(
    facts: dict[str, object], expected: int, spent: int, pending: int, planned: int
) -> None:
    lost = replace(LostMinutes("exchange outage", minutes=10), **facts)  # type: ignore[arg-type]
    found = budgets.account(1000, [lost])

    assert (found.expected, found.lost, found.pending, found.planned) == (expected, spent, pending, planned)
    assert found.left(0.99) == pytest.approx(expected * 0.01 - spent)


def test_what_had_to_bring_nothing_has_no_share() -> None:
    assert MinuteAccount().share is None
    assert sum([MinuteAccount(10, {"us": 1}), MinuteAccount(30, {"network": 1})], MinuteAccount()).share == 0.95


@pytest.mark.parametrize(
    ("lost", "word"),
    [
        ({}, Burn.NONE),
        ({"five": 8, "thirty": 9, "hour": 9, "six_hours": 9}, Burn.FAST),  # 9 of 600 is 15 times the 0.1 % allowed
        ({"five": 8, "thirty": 8, "hour": 8, "six_hours": 8}, Burn.NONE),  # 13.3 times
        ({"five": 0, "thirty": 9, "hour": 9, "six_hours": 9}, Burn.NONE),  # it is over
        ({"five": 0, "thirty": 2, "hour": 5, "six_hours": 22}, Burn.SLOW),
        ({"five": 0, "thirty": 2, "hour": 5, "six_hours": 21}, Burn.NONE),
        ({"five": 1, "thirty": 1, "hour": 1, "six_hours": 1}, Burn.NONE),
    ],
    ids=["nothing", "fast", "not fast enough", "over", "slow", "not slow enough", "a single minute"],
)
def test_a_budget_burns_by_two_spans(lost: dict[str, int], word: Burn) -> None:
    assert budgets.burn(spans(**lost), 0.999) == word


def test_nothing_expected_burns_nothing() -> None:
    assert budgets.burn(dict.fromkeys(budgets.SPANS_MINUTES, MinuteAccount()), 0.999) == Burn.NONE


def burning(**facts: object) -> FindableSigns:
    usual = {"number": 7, "name": "majors", "burn": "fast", "exchanges": ("kraken",), "budget_minutes": 100.0}
    return signs(budgets=[BudgetSigns(**{**usual, **facts})])  # type: ignore[arg-type]


@pytest.mark.parametrize(("burn", "severity"), [("fast", "critical"), ("slow", "warning"), ("none", None)])
def test_a_burn_is_a_trouble_of_its_own(burn: str, severity: str | None) -> None:
    found = find(burning(burn=burn), START).troubles

    assert [each.severity for each in found] == ([severity] if severity else [])


def test_what_nobody_looked_at_lately_neither_begins_nor_ends() -> None:
    found = find(burning(is_known=False), START)

    assert (found.troubles, "budget:7" in found.unknown) == ((), True)


def test_a_burn_joins_the_exchange_or_the_system_that_loses_the_minutes(story: Story) -> None:
    down = bad("kraken", "unreachable")
    found = find(replace(burning(), exchanges=[down, *burning().exchanges[1:]]), START)
    (burn,) = [each for each in found.troubles if each.kind == "budget"]

    assert "exchange:kraken" in burn.explained_by
    assert "system:worker" in burn.explained_by
    assert "exchange:luno" not in burn.explained_by
    assert alarm("worker").cause == "worker"


def test_a_burn_outlives_its_cause_by_ten_minutes_before_it_is_told(story: Story, route: object) -> None:
    burn = trouble("budget:7", explained_by=["exchange:kraken"], title="majors burns")
    story.see(trouble(is_alone=True), burn)
    story.due()
    for _ in range(50):
        story.see(burn, after=10)
    assert story.due() == ["healed exchange:kraken"]
    for _ in range(15):
        story.see(burn, after=10)

    assert story.due() == ["opened budget:7"]
