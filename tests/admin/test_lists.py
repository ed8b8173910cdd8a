"""Lists stay as fast with 50,000 pipelines as with ten: no COUNT, no query per row."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from collectors.admin.run_columns import spent
from collectors.models import Gap, Pipeline, Run, Worker
from collectors.models.market_data import DepthRun
from exchanges.models import Market
from tests.api.conftest import Fill
from web.admin import PAGES, ago

MACHINE_LISTS = {
    "exchanges/market": 4,
    "collectors/pipeline": 4,
    "collectors/gap": 4,
    "collectors/run": 4,
    "collectors/transition": 4,
}
OTHER_LISTS = (
    "exchanges/exchange",
    "collectors/worker",
    "django_celery_beat/periodictask",
    "django_celery_beat/intervalschedule",
    "django_celery_beat/crontabschedule",
    "django_celery_beat/solarschedule",
    "django_celery_beat/clockedschedule",
    "auditlog/logentry",
    "exchanges/auditentry",
    "exchanges/blacklistentry",
    "exchanges/marketblacklistentry",
    "auth/user",
    "auth/group",
)


def queries_of(client: Client, path: str) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        response = client.get(f"/admin/{path}")
    assert response.status_code == 200
    return [query["sql"] for query in queries.captured_queries]


@pytest.mark.parametrize("name", [*MACHINE_LISTS, *OTHER_LISTS])
def test_a_list_costs_the_same_queries_whatever_there_is(operator: Client, world: Fill, name: str) -> None:
    world(10)
    few = queries_of(operator, f"{name}/")
    world(1000)
    many = queries_of(operator, f"{name}/")

    assert len(few) == len(many)


@pytest.mark.parametrize(("name", "count"), MACHINE_LISTS.items())
def test_a_big_list_is_never_counted(operator: Client, world: Fill, name: str, count: int) -> None:
    world(1000)

    queries = queries_of(operator, f"{name}/")

    assert not [query for query in queries if "COUNT(" in query]
    assert len(queries) == count  # session, user, the exchanges in the filter, the rows


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("collectors/pipeline/?q=c10", 12),
        ("collectors/pipeline/?q=kraken:c10", 5),
        ("collectors/pipeline/?silent=yes&gaps=no", None),
        ("collectors/pipeline/?market__exchange__id__exact=kraken", 100),
        ("collectors/gap/?q=C1000/", 1),
        ("collectors/gap/?open=yes&cause=unknown", 100),
        ("collectors/gap/?open=no&cause=delisted", 0),
        ("collectors/run/?outcome=bad_reply&exchange__id__exact=binance", 100),
        ("collectors/run/?outcome=stored", 0),
        ("collectors/transition/?to_status=error", 100),
        ("collectors/worker/?status=running", 2),
        ("collectors/worker/?status=error", 0),
        ("exchanges/market/?q=c1000", 1),
        ("exchanges/exchange/?q=kra", 1),
        ("exchanges/exchange/?blacklisted__exact=1", 0),
    ],
)
def test_search_and_filters_find_rows(operator: Client, world: Fill, path: str, rows: int | None) -> None:
    world(1000)

    response = operator.get(f"/admin/{path}")

    assert response.status_code == 200
    assert rows is None or len(response.context["cl"].result_list) == rows


def test_pages_follow_each_other_up_to_a_bound(operator: Client, world: Fill) -> None:
    world(250)

    pages = [operator.get(f"/admin/collectors/gap/?p={page}").context["cl"].result_list for page in (1, 2, 3, 4)]

    assert [len(page) for page in pages] == [100, 100, 50, 0]
    assert len({gap.pk for page in pages for gap in page}) == 250
    assert operator.get(f"/admin/collectors/gap/?p={PAGES + 1}").status_code == 302


@pytest.mark.parametrize(
    "name",
    [
        "collectors/pipeline",
        "collectors/gap",
        "collectors/run",
        "collectors/transition",
        "exchanges/market",
        "collectors/worker",
    ],
)
def test_what_machines_write_people_only_read(operator: Client, world: Fill, name: str) -> None:
    world(3)
    row = operator.get(f"/admin/{name}/").context["cl"].result_list[0]

    assert operator.get(f"/admin/{name}/{row.pk}/change/").status_code == 200
    assert operator.post(f"/admin/{name}/{row.pk}/change/", {}).status_code == 403
    assert operator.post(f"/admin/{name}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert operator.get(f"/admin/{name}/add/").status_code == 403
    assert operator.get(f"/admin/{name}/").context["cl"].formset is None


def test_a_detail_page_loads_no_dropdown_of_markets(operator: Client, world: Fill) -> None:
    world(1000)

    page = queries_of(operator, f"collectors/gap/{Gap.objects.first().pk}/change/")

    assert len(page) < 10


HOSTILE = '<script>alert(1)</script>\r\n=cmd|"' + "x" * 2000


def test_what_an_exchange_says_is_shown_as_text_and_cut(operator: Client, world: Fill) -> None:
    world(2)
    Run.objects.update(error=HOSTILE)
    Worker.objects.update(last_error=HOSTILE)
    Gap.objects.update(evidence=HOSTILE)
    Market.objects.filter(pk=Pipeline.objects.first().pk).update(symbol=HOSTILE[:100])

    for name in ("collectors/run", "collectors/worker", "collectors/gap", "collectors/pipeline", "exchanges/market"):
        page = operator.get(f"/admin/{name}/").content.decode()
        assert "<script>alert" not in page
        assert "x" * 300 not in page


def test_a_worker_is_judged_at_the_moment_of_looking(operator: Client, world: Fill, now: datetime) -> None:
    long_ago = now - timedelta(hours=1)
    Worker.objects.filter(pk="kraken").update(heartbeat_at=long_ago, resumed_at=long_ago)

    found = operator.get("/admin/collectors/worker/?status=error").context["cl"].result_list

    assert [worker.pk for worker in found] == ["kraken"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7199, "119 min ago"),
        (7200, "2 h ago"),
        (172_799, "47 h ago"),
        (172_800, "2 d ago"),
        (-5, "in 5 s"),
    ],
)
def test_how_long_ago(now: datetime, seconds: int, words: str) -> None:
    assert ago(now - timedelta(seconds=seconds), now) == words


def test_never_is_a_word_too(now: datetime) -> None:
    assert ago(None, now) == "never"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "auth/user/add/",
        "auth/group/add/",
        "auth/user/",
        "django_celery_beat/crontabschedule/add/",
        "password_change/",
    ],
)
def test_the_other_pages_open(operator: Client, path: str) -> None:
    assert operator.get(f"/admin/{path}").status_code == 200


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"duration_ms": 243}, "243 ms"),
        ({"duration_ms": 12_340}, "12.3 s"),
        ({"duration_ms": 5242, "transport": "stream"}, "listened 5.2 s"),
        (
            {"duration_ms": 6100, "transport": "stream", "outcome": "unreachable", "error": "no ticker"},
            "heard nothing for 6.1 s",
        ),
    ],
    ids=["a poll", "a long poll", "a stream", "a stream's end"],
)
def test_a_run_says_what_its_time_was_spent_on(run: dict[str, object], words: str) -> None:
    assert spent(Run(**{"outcome": "stored", **run})) == words


def test_rounds_of_depth_that_asked_nothing_listened() -> None:
    assert spent(DepthRun(kind="trades", duration_ms=60_000, outcome="stored")) == "listened 60.0 s"
    assert spent(DepthRun(kind="trades", duration_ms=90, outcome="stored", requests=3)) == "90 ms"
    assert spent(DepthRun(kind="trades", duration_ms=4, outcome="held_back")) == "4 ms"


def test_a_runs_page_says_moments_in_utc_and_what_its_time_was_spent_on(
    operator: Client, world: Fill, now: datetime
) -> None:
    world(2)
    run = Run.objects.create(
        exchange_id="kraken", started_at=now, duration_ms=5242, outcome="stored", transport="stream"
    )

    page = operator.get(f"/admin/collectors/run/{run.pk}/change/").content.decode()

    assert f"{now:%Y-%m-%d %H:%M:%S} UTC" in page
    assert "listened 5.2 s" in page
    assert "p.m." not in page
