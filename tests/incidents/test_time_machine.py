"""The past again, with other limits: digests of signs are kept, read, and replayed by the rules of the present."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from incidents.models import AlertRoute
from incidents.past import asking, digests
from incidents.past.models import SignSpan
from incidents.rules.facts import BudgetSigns, ExchangeSigns, FindableSigns, GapSigns, PairSigns
from incidents.rules.findings import find
from incidents.rules.replay import PastMoment, outcomes, replay
from incidents.rules.routing import RouteRule
from tests.incidents.conftest import START, make_route
from tests.incidents.test_findings import NAMES, alarm, bad, signs
from tests.incidents.test_people import staff

MINUTE = timedelta(minutes=1)
ROUTE = RouteRule(1, steps=[{"after_seconds": 0, "channels": ["ops"]}])
WELL = signs()


@pytest.fixture(autouse=True)
def _no_minute_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_kept", None)


def down(name: str = "kraken", *, at: datetime = START) -> ExchangeSigns:
    each = bad(name, "unreachable")
    return replace(each, condition=replace(each.condition, since=at))


def told(moments: list[PastMoment], *limits: int, route: RouteRule = ROUTE) -> list[int]:
    tellings = replay(moments, START + timedelta(days=1))
    return [each.alerts for each in outcomes(tellings, route, limits)]


def outages(*minutes: int) -> list[PastMoment]:
    """One outage of kraken an hour, each so many minutes long."""
    found = [PastMoment(START, WELL)]
    for number, length in enumerate(minutes):
        at = START + timedelta(hours=1 + number)
        found += [PastMoment(at, signs(down(at=at))), PastMoment(at + length * MINUTE, WELL)]
    return found


def test_a_longer_limit_tells_less_and_later() -> None:
    tellings = replay(outages(1, 2, 5, 20), START + timedelta(days=1))
    short, now, long = outcomes(tellings, ROUTE, [0, 120, 600])

    assert (short.alerts, now.alerts, long.alerts) == (4, 3, 1)
    assert {now.found_after[number] - short.found_after[number] for number in now.found_after} == {120.0}


@pytest.mark.parametrize(
    ("route", "alerts"),
    [
        (ROUTE, 1), (replace(ROUTE, exchanges=("kraken",)), 1), (replace(ROUTE, exchanges=("luno",)), 0),
        (replace(ROUTE, severities=("info",)), 0), (replace(ROUTE, kinds=("system",)), 0),
    ],
)  # fmt: skip
def test_a_route_is_told_of_what_it_matches(route: RouteRule, alerts: int) -> None:
    assert told(outages(5), 0, route=route) == [alerts]


def test_what_a_cause_explains_is_no_alert_of_its_own() -> None:
    hung = signs(*[bad(name, "silent") for name in NAMES], alarms=[alarm("worker")])

    assert told([PastMoment(START, hung), PastMoment(START + 20 * MINUTE, WELL)], 0) == [1]


def test_what_comes_back_within_half_an_hour_is_one_incident_that_flaps() -> None:
    moments = [PastMoment(START, WELL)]
    for number in range(0, 30, 2):
        moments.append(PastMoment(START + number * MINUTE, signs(down(at=START + number * MINUTE))))
        moments.append(PastMoment(START + (number + 1) * MINUTE, WELL))

    assert told(moments, 0)[0] <= 3


def test_minutes_in_which_nobody_looked_end_nothing() -> None:
    at = START + timedelta(hours=1)
    moments = [PastMoment(START, signs(down())), PastMoment(START + MINUTE, None), PastMoment(at, signs(down()))]

    assert told(moments, 0, 1800) == [1, 1]


def test_each_minute_is_kept_once_and_what_stays_the_same_is_one_row(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [digests.keep(WELL, START + timedelta(seconds=seconds)) for seconds in (0, 30, 60, 119)] == [
        True, False, True, False,
    ]  # fmt: skip
    assert digests.keep(signs(down()), START + 2 * MINUTE)
    monkeypatch.setattr(digests, "_kept", None)  # a second pulse
    assert digests.keep(signs(down()), START + 2 * MINUTE)

    spans = {(row.subject, row.first_at, row.last_at) for row in SignSpan.objects.all()}
    assert ("exchange:luno", START, START + 2 * MINUTE) in spans
    assert ("exchange:kraken", START, START + MINUTE) in spans
    assert ("exchange:kraken", START + 2 * MINUTE, START + 2 * MINUTE) in spans
    assert len(spans) == len(NAMES) + 2


def test_a_digest_finds_what_the_signs_find(db: None) -> None:
    there = replace(
        signs(down(), bad("luno", "silent"), alarms=[alarm("disk")]),
        gaps=[GapSigns("valr", "exchange outage", 5, START - timedelta(hours=1))],
        pairs=[PairSigns("BTC/USDT", ("kraken",), START, 2)],
        budgets=[BudgetSigns(1, "majors", "slow", ("kraken",))],
    )
    digests.keep(there, START)
    (moment, end) = digests.moments(START - MINUTE, START + 2 * MINUTE)

    assert (moment.at, end.at, end.signs) == (START, START + MINUTE, None)
    assert moment.signs is not None
    wanted = [(each.key, each.severity, each.explained_by) for each in find(there, START).troubles]
    assert [(each.key, each.severity, each.explained_by) for each in find(moment.signs, START).troubles] == wanted


def test_what_is_older_than_thirty_days_is_dropped(db: None) -> None:
    digests.keep(WELL, START - digests.KEPT - MINUTE)
    digests.keep(WELL, START - digests.KEPT + 2 * MINUTE)

    assert digests.prune(START) == len(NAMES) + 1
    assert SignSpan.objects.count() == len(NAMES) + 1


def a_month() -> Iterator[SignSpan]:
    """One exchange that is down for two minutes of each hour, among others that are well."""
    for name in NAMES[:-1]:
        body = digests.digest(signs())[f"exchange:{name}"]
        yield SignSpan(subject=f"exchange:{name}", first_at=START - digests.KEPT, last_at=START, body=body)
    rest = digests.digest(FindableSigns())[digests.ALL]
    yield SignSpan(subject=digests.ALL, first_at=START - digests.KEPT, last_at=START, body=rest)
    for hour in range(720):
        at = START - digests.KEPT + timedelta(hours=hour)
        for first, last, each in ((at, at + MINUTE, down(NAMES[-1], at=at)), (at + 2 * MINUTE, at + 59 * MINUTE, None)):
            body = digests.digest(signs(*([each] if each else [])))[f"exchange:{NAMES[-1]}"]
            yield SignSpan(subject=f"exchange:{NAMES[-1]}", first_at=first, last_at=last, body=body)


def test_a_routes_page_compares_limits_over_a_month(db: None) -> None:
    SignSpan.objects.bulk_create(a_month())
    route = make_route(shortest_seconds=60)
    began = time.process_time()
    found = asking.of_route(route, START, exchange=NAMES[-1])
    took = time.process_time() - began
    by_limit = {each.limit_seconds: each for each in found.outcomes}

    assert (by_limit[0].alerts, by_limit[60].alerts, by_limit[600].alerts) == (720, 720, 0)
    assert by_limit[0].than_now == "60 s earlier"
    assert by_limit[600].than_now == "nothing in common"
    assert took < 10  # seconds of CPU


def test_the_page_shows_the_table(db: None) -> None:
    route: AlertRoute = make_route()
    page = staff("view_alertroute").get(f"/board/routes/{route.pk}/?exchange=nobody")
    assert b"No minute has been kept yet" in page.content

    digests.keep(WELL, START)
    assert b"0 s (now)" in staff_again().get(f"/board/routes/{route.pk}/").content


def staff_again():
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.get(username="anna"))
    return client
