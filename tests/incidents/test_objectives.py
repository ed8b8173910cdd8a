"""Objectives over rows that were really stored: expected and lost minutes, days, burning, reports."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from collectors.history import quality, rollups
from collectors.models import Gap, Pipeline, Watermark
from collectors.models.history import PipelineDay
from incidents.models import Incident, IncidentGap, Maintenance
from incidents.objectives import configuring, counting, reports
from incidents.objectives.models import Objective, ObjectiveDay, ObjectiveReport
from lib import clock
from metrics import incident_series
from tests.history.conftest import Past, past  # noqa: F401 - a fixture
from tests.history.test_quality import over, two_of_four
from tests.incidents.test_people import Caller, staff

MIDNIGHT = timedelta(days=1)


@pytest.fixture
def day(past: Past) -> Past:  # noqa: F811
    """Rows of minutes 0 to 2, 7 and 8: four minutes are lost by the exchange. All of it on one day that is over."""
    midnight = past.start.replace(hour=0)
    for minutes in (0, 1, 2, 7, 8):
        past.live(minutes)
    past.roll_up(9)
    Gap.objects.exclude(started_at=past.at(2)).delete()
    Gap.objects.update(cause="exchange outage")
    Watermark.objects.filter(name=rollups.CURSOR).update(reached_at=midnight + MIDNIGHT)
    Watermark.objects.create(name=quality.DAYS_CURSOR, reached_at=midnight)
    return past


def objective(past: Past, **facts: Any) -> Objective:  # noqa: F811
    usual = {"name": "majors", "target": 0.9, "created_at": past.start - timedelta(days=40)}
    return Objective.objects.create(**{**usual, **facts})


def counted(past: Past, **facts: Any) -> Objective:  # noqa: F811
    row = objective(past, **facts)
    quality.run(over(past))
    counting.count(row, over(past))
    row.refresh_from_db()
    return row


def test_a_finished_day_is_what_its_pipelines_days_say(day: Past) -> None:
    row = counted(day)
    of_day = ObjectiveDay.objects.get(day=day.start.date())

    assert (of_day.expected, PipelineDay.objects.get().expected) == (9, 9)
    assert of_day.spent == {"us": 0, "exchange": 4, "network": 0, "unknown": 0}
    assert (row.expected, counting.account_of(row).left(row.target)) == (9, pytest.approx(0.9 - 4))


def test_the_running_day_and_a_span_say_the_same_as_the_day_when_it_is_over(day: Past) -> None:
    row = objective(day)
    found = counting.of_span(row, day.start, day.at(9), over(day))

    assert (found.expected, found.lost) == (9, 4)
    counted(day, name="other")
    assert ObjectiveDay.objects.get(day=day.start.date()).expected == found.expected


@pytest.mark.parametrize(("kind", "before", "after"), [("timely", (4, 0), (4, 0)), ("complete", (0, 4), (2, 0))])
def test_what_is_filled_later_was_not_there_in_time(
    day: Past, kind: str, before: tuple[int, int], after: tuple[int, int]
) -> None:
    row = counted(day, kind=kind)
    assert (counting.account_of(row).lost, row.pending) == before

    day.fill(two_of_four(day), at=(over(day) - day.start) / timedelta(minutes=1) + 5)
    found = counting.count_day(row, day.start.date(), over(day) + timedelta(hours=1))

    assert (found.lost, found.pending, found.expected) == (*after, 9)


def test_what_is_filled_within_the_seconds_that_were_promised_was_there_in_time(day: Past) -> None:
    row = counted(day, within_seconds=86_400)
    assert counting.account_of(row).lost == 4
    Gap.objects.update(ended_at=day.at(7))
    day.fill(two_of_four(day), at=(over(day) - day.start) / timedelta(minutes=1) + 5)

    assert counting.count_day(row, day.start.date(), over(day) + timedelta(hours=1)).lost == 2
    row.within_seconds = 60
    assert counting.count_day(row, day.start.date(), over(day) + timedelta(hours=1)).lost == 4


@pytest.mark.parametrize(
    ("cause", "exchanges", "lost", "planned"),
    [
        ("exchange outage", [], 2, 2), ("exchange outage", ["kraken"], 2, 2), ("exchange outage", ["luno"], 4, 0),
        ("our outage", [], 4, 0),
    ],
)  # fmt: skip
def test_planned_work_is_left_out_to_the_minute_and_our_own_outage_never(
    day: Past, cause: str, exchanges: list[str], lost: int, planned: int
) -> None:
    Gap.objects.update(cause=cause)
    Maintenance.objects.create(
        reason="theirs", exchanges=exchanges, starts_at=day.at(0), ends_at=day.at(5), expires_at=day.at(5)
    )
    found = counting.account_of(counted(day))

    assert (found.lost, found.planned, found.expected) == (lost, planned, 9 - planned)


def test_planned_work_that_overlaps_is_left_out_once(day: Past) -> None:
    for start, end in ((0, 5), (4, 6), (4, 5)):
        Maintenance.objects.create(
            reason="theirs", starts_at=day.at(start), ends_at=day.at(end), expires_at=day.at(end)
        )
    found = counting.account_of(counted(day))

    assert (found.lost, found.planned) == (1, 3)


def test_the_root_of_the_gaps_incident_spends(day: Past) -> None:
    facts = {"cause": "x", "severity": "critical", "title": "t", "since": day.at(2), "opened_at": day.at(2)}
    line = Incident.objects.create(key="line:direct", kind="line", **facts)
    child = Incident.objects.create(key="exchange:kraken", kind="exchange", parent=line, **facts)
    IncidentGap.objects.create(incident=child, gap_id=Gap.objects.get().pk)

    assert counted(day).spent == {"us": 0, "exchange": 0, "network": 4, "unknown": 0}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [({}, 9), ({"exchanges": ["kraken"]}, 9), ({"exchanges": ["luno"]}, 0), ({"pairs": ["C0/USD"]}, 9),
     ({"pairs": ["BTC/USD"]}, 0), ({"pairs": ["C0/USD", "BTC/USD"], "exchanges": ["kraken"]}, 9)],
)  # fmt: skip
def test_a_scope_is_exchanges_and_pairs(day: Past, scope: dict[str, list[str]], expected: int) -> None:
    assert counted(day, **scope).expected == expected


def test_an_outage_burns_and_names_who_loses(day: Past) -> None:
    row = objective(day, target=0.99)
    now = day.at(9) + rollups.SETTLE + rollups.MINUTE
    assert counting.look_at_burn(row, now) == "fast"
    row.refresh_from_db()
    assert (row.burn, row.burning) == ("fast", ["kraken"])

    assert counting.look_at_burn(row, now + timedelta(minutes=20)) == "slow"  # 4 of 9: it went on for six hours
    assert counting.look_at_burn(row, now + timedelta(minutes=40)) == "none"
    row.refresh_from_db()
    assert row.burning == []


def test_a_run_looks_each_minute_and_counts_each_five(day: Past) -> None:
    objective(day)
    Objective.objects.create(name="off", target=0.9, created_at=day.start, is_enabled=False)

    found = [counting.run(over(day) + timedelta(minutes=minutes)) for minutes in (0, 1, 4.9, 5)]
    assert found == [1, 0, 0, 1]


# --- what is asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"target": 1.0}, "target"), ({"target": 0.49}, "target"), ({"window_days": 6}, "window_days"),
        ({"window_days": 91}, "window_days"), ({"within_seconds": -1}, "within_seconds"), ({"kind": "x"}, "kind"),
        ({"pairs": ["btcusdt"]}, "pairs"), ({"exchanges": ["Not an id"]}, "exchanges"), ({"name": " "}, "name"),
        ({"pairs": ["A/B"] * 501}, "pairs"),
    ],
)  # fmt: skip
def test_what_cannot_be_promised_is_refused_by_its_field(db: None, facts: dict[str, Any], field: str) -> None:
    with pytest.raises(configuring.Misconfigured) as refused:
        configuring.check(Objective(**{"name": "majors", "target": 0.999, **facts}))

    assert list(refused.value.faults) == [field]


def test_days_are_counted_anew_when_the_markets_change_and_not_when_the_target_does(day: Past) -> None:
    row = counted(day)
    row.target = 0.5
    configuring.save(row)
    assert ObjectiveDay.objects.filter(expected=9).count() == 1

    row.exchanges = ["luno"]
    configuring.save(row)
    assert (ObjectiveDay.objects.count(), row.counted_at) == (0, None)


# --- reports -------------------------------------------------------------------------------------------------------


def month_after(day: Past) -> datetime:
    return (day.start.replace(day=1, hour=0) + timedelta(days=32)).replace(day=1)


def test_a_months_report_is_computed_on_the_eighth_day_and_never_again(day: Past) -> None:
    counted(day)
    due = month_after(day) + timedelta(days=7)
    assert reports.run(due - timedelta(seconds=1)) is None
    report = reports.run(due)
    assert report is not None
    Gap.objects.all().delete()

    assert reports.run(due + timedelta(days=1)) is None
    assert ObjectiveReport.objects.get().body == report.body
    (found,) = report.body["objectives"]
    assert (found["expected_minutes"], found["lost_minutes"], found["is_met"]) == (9, 4, False)
    assert found["spent"] == {"us": 0, "exchange": 4, "network": 0, "unknown": 0}


def test_nothing_that_was_not_promised_is_reported(day: Past) -> None:
    objective(day, created_at=month_after(day))

    assert reports.run(month_after(day) + timedelta(days=7)) is None


def test_a_report_is_the_same_in_each_form(day: Past) -> None:
    counted(day, name="=majors & <b>")
    report = reports.run(month_after(day) + timedelta(days=7))
    assert report is not None
    lines = list(csv.DictReader(io.StringIO(reports.as_csv(report.body))))
    html = reports.as_html(report.body)

    month = f"{day.start:%Y-%m}"
    assert [(row["objective"], row["day"], row["lost_by_exchange"]) for row in lines][-1] == (
        "'=majors & <b>",
        month,
        "4",
    )
    assert "=majors &amp; &lt;b&gt;" in html
    assert month in html


def test_pipelines_that_were_never_stored_promise_nothing(day: Past) -> None:
    Pipeline.objects.update(received_at=None)

    assert counting.pipelines(objective(day)) == 0
    assert counted(day, name="b").expected == 0


# --- who asks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(db: None) -> Caller:
    return Caller()


def test_an_objective_is_made_read_changed_and_deleted_by_api(call: Caller) -> None:
    made = call("post", "objectives/", {"name": "majors", "target": 0.999, "pairs": ["BTC/USDT"]}, status=201)
    assert (made["kind"], made["within_seconds"], made["window_days"], made["budget"]) == ("timely", 60, 30, None)
    Objective.objects.update(counted_at=made["created_at"], expected=10_000, spent={"us": 2, "exchange": 1})

    found = call("get", f"objectives/{made['id']}/")["budget"]
    assert (found["budget_minutes"], found["left_minutes"], found["share"]) == (10.0, 7.0, 0.9997)
    assert found["spent"] == {"us": 2, "exchange": 1, "network": 0, "unknown": 0}
    assert call("patch", f"objectives/{made['id']}/", {"target": 0.99})["budget"]["left_minutes"] == 97.0
    assert "target" in json.dumps(call("patch", f"objectives/{made['id']}/", {"target": 2}, status=400))
    assert "name" in json.dumps(call("post", "objectives/", {"name": "majors", "target": 0.9}, status=400))
    call("delete", f"objectives/{made['id']}/", status=204)


def test_only_the_stored_report_is_served_in_each_form(call: Caller) -> None:
    body = {"month": "2026-11", "computed_at": "2026-12-08T00:00:00.000000Z", "objectives": []}
    ObjectiveReport.objects.create(month="2026-11-01", computed_at="2026-12-08T00:00:00Z", body=body)
    place = "/api/v1/objectives/reports/2026-11"

    assert [row["month"] for row in call("get", "objectives/reports/")["results"]] == ["2026-11"]
    assert call("get", "objectives/reports/2026-11.json") == body
    assert call.client.get(f"{place}.csv").content.startswith(b"objective,day,")
    assert b"Objectives in 2026-11" in call.client.get(f"{place}.html").content
    for month in ("2026-10", "2026-13", "2026-00"):
        call("get", f"objectives/reports/{month}.json", status=404)
    assert Client().get(f"{place}.json").status_code == 401


def test_viewers_see_budgets_and_only_operators_make_them(db: None) -> None:
    viewer = staff("view_objective")
    sent = {"name": "majors", "target": 0.9}

    assert viewer.get("/api/v1/objectives/").status_code == 200
    assert viewer.post("/api/v1/objectives/", sent).status_code == 403


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "Not counted yet"),
        ({"counted_at": datetime.fromisoformat("2026-12-01T00:00:00Z"), "expected": 0}, "Nothing was expected"),
        ({"counted_at": datetime.fromisoformat("2026-12-01T00:00:00Z"), "expected": 10_000, "spent": {"us": 3},
          "burn": "fast", "burning": ["kraken"]}, "7.0 of 10.0 minutes left (70 %)"),
        ({"is_enabled": False}, "Switched off"),
    ],
)  # fmt: skip
def test_the_page_says_what_is_left(db: None, facts: dict[str, Any], words: str) -> None:
    Objective.objects.create(name="majors", target=0.999, created_at="2026-11-01T00:00:00Z", **facts)
    html = staff("view_objective").get("/board/objectives/").content.decode()

    assert words in " ".join(html.split())
    assert ("burns fast: kraken" in html) == ("burn" in facts)


def test_the_admin_lists_and_changes_objectives(db: None) -> None:
    client = staff("view_objective", "change_objective", "add_objective", "view_objectivereport")
    ObjectiveReport.objects.create(month="2026-11-01", computed_at="2026-12-08T00:00:00Z", body={})
    sent = {"name": "majors", "kind": "timely", "target": "0.999", "within_seconds": "60", "window_days": "30",
            "exchanges": "", "pairs": ""}  # fmt: skip
    refused = client.post("/admin/incidents/objective/add/", {**sent, "target": "7"})
    client.post("/admin/incidents/objective/add/", sent)

    assert b"From 0.5 to 0.99999." in refused.content
    assert b"99.9 %, known within 60 s, over 30 days" in client.get("/admin/incidents/objective/").content
    assert b"2026-11.csv" in client.get("/admin/incidents/objectivereport/").content


def test_prometheus_says_what_is_left_and_who_spent(db: None) -> None:
    Objective.objects.create(
        name="majors", target=0.999, created_at="2026-11-01T00:00:00Z", counted_at="2026-12-01T00:00:00Z",
        expected=10_000, spent={"network": 3}, burn="slow",
    )  # fmt: skip
    series = {
        (sample.name.removeprefix("marketmon_"), *sample.labels.values()): sample.value
        for family in incident_series.families(clock.now()) for sample in family.samples
    }  # fmt: skip

    assert series["objective_budget_left_minutes", "majors"] == pytest.approx(7)
    assert series["objective_spent_minutes", "majors", "network"] == 3
    assert (series["objective_burning", "majors", "slow"], series["objective_burning", "majors", "fast"]) == (1, 0)
