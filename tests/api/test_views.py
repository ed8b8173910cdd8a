from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from collectors.models import Gap, Pipeline, Tick
from exchanges.models import Exchange
from tests.api.conftest import Fill

LISTS = ("exchanges", "workers", "markets", "pipelines", "runs", "gaps", "transitions")


def results(client: Client, path: str) -> list[dict]:
    response = client.get(f"/api/v1/{path}")
    assert response.status_code == 200, response.content
    return response.json()["results"]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("slash", ["", "/"])
def test_everybody_may_read(client: Client, world: Fill, name: str, slash: str) -> None:
    world(5)

    rows = results(client, f"{name}{slash}?limit=3")
    one = client.get(f"/api/v1/{name}/{rows[0].get('id', rows[0].get('exchange'))}{slash}")

    assert rows
    assert one.status_code == 200
    assert one.json().keys() == rows[0].keys()


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nobody_may_write(operator: Client, world: Fill, name: str, method: str) -> None:
    response = getattr(operator, method)(f"/api/v1/{name}", {}, content_type="application/json")

    assert response.status_code in (403, 405)


@pytest.mark.parametrize("name", LISTS)
def test_a_page_costs_the_same_queries_whatever_there_is(client: Client, world: Fill, name: str) -> None:
    counts = []
    for pipelines in (10, 1000):
        world(pipelines)
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/api/v1/{name}?limit=1000")
        assert not any("COUNT(" in query["sql"] for query in queries.captured_queries)
        counts.append(len(queries))

    # The rows, and the limit of their time; pipelines also ask how far minutes are rolled up.
    assert counts == ([3, 3] if name == "pipelines" else [2, 2])


@pytest.mark.parametrize(
    ("name", "ordering"),
    [
        ("gaps", "-started_at"),
        ("gaps", "-missed_count"),
        ("pipelines", "-gaps_24h"),
        ("runs", "started_at"),
        ("markets", "-symbol"),
    ],
)
def test_pages_hold_every_row_once_though_all_are_equal(client: Client, world: Fill, name: str, ordering: str) -> None:
    world(1100)  # more equal values than DRF's own cursor can count
    url, seen = f"/api/v1/{name}?ordering={ordering}&limit=250", []

    while url:
        page = client.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]

    assert len(seen) == len(set(seen)) == 1100


def test_rows_that_arrive_meanwhile_do_not_shift_pages(client: Client, world: Fill, now: datetime) -> None:
    world(4)
    first = client.get("/api/v1/gaps?limit=2").json()
    later = {"started_at": now, "ended_at": now + timedelta(seconds=40), "detected_at": now}
    Gap.objects.create(pipeline=Pipeline.objects.first(), missed_count=1, **later)

    second = client.get(first["next"]).json()

    assert not {row["id"] for row in first["results"]} & {row["id"] for row in second["results"]}
    assert len(second["results"]) == 2


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "1e9", "a", "", "1.5", "\u0664"])
def test_a_limit_that_is_none_is_400(client: Client, world: Fill, limit: str) -> None:
    response = client.get("/api/v1/gaps", {"limit": limit})

    assert response.status_code == 400
    assert list(response.json()) == ["error", "message", "timestamp", "details"]
    assert "limit" in response.json()["details"]


@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: "x" + c, lambda c: "e30", lambda c: "\u00e9"])
def test_a_cursor_that_we_did_not_sign_is_400(client: Client, world: Fill, spoil) -> None:
    world(4)
    following = client.get("/api/v1/gaps?limit=2").json()["next"]
    cursor = following.partition("cursor=")[2].partition("&")[0]

    response = client.get("/api/v1/gaps", {"cursor": spoil(cursor)})

    assert response.status_code == 400
    assert "cursor" in response.json()["details"]


def test_a_cursor_of_another_list_or_ordering_is_400(client: Client, world: Fill) -> None:
    world(4)
    following = client.get("/api/v1/gaps?limit=2").json()["next"].partition("?")[2]

    assert client.get(f"/api/v1/gaps?{following}&ordering=started_at").status_code == 400
    assert client.get(f"/api/v1/transitions?{following}").status_code == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("exchanges?blacklisted=true", ["kraken"]),
        ("exchanges?enabled=true", ["binance", "kraken"]),
        ("exchanges?simulated=false", []),
        ("exchanges?ordering=-id", ["kraken", "binance"]),
        ("workers?status=running", ["binance"]),
        ("workers?status=stopped", ["kraken"]),
    ],
)
def test_exchanges_and_workers_are_filtered(client: Client, world: Fill, query: str, expected: list[str]) -> None:
    Exchange.objects.filter(pk="kraken").update(blacklisted=True)

    assert [row.get("id") or row["exchange"] for row in results(client, query)] == expected


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("markets?exchange=kraken", 5),
        ("markets?symbol=C3/USDT", 1),
        ("markets?symbol_prefix=C1", 2),
        ("pipelines?exchange=kraken", 5),
        ("pipelines?symbol=C3/USDT&source=binance_spot&quote=USDT&base=C3", 1),
        ("pipelines?gap_open=true", 5),
        ("pipelines?received_after=2100-01-01T00:00:00Z", 0),
        ("gaps?open=true", 5),
        ("gaps?cause=unknown&exchange=kraken", 5),
        ("gaps?symbol=C3/USDT", 1),
        ("runs?outcome=bad_reply&exchange=binance", 5),
        ("runs?outcome=stored", 0),
        ("runs?outcome=not_connected", 0),
        ("runs?transport=poll&exchange=binance", 5),
        ("runs?transport=stream", 0),
        ("runs?started_before=2000-01-01T00:00:00Z", 0),
        ("transitions?to_status=error", 10),
    ],
)
def test_rows_are_filtered(client: Client, world: Fill, query: str, count: int) -> None:
    world(10)

    assert len(results(client, query)) == count


def test_yes_and_no_have_two_words_each(client: Client, world: Fill) -> None:
    world(10)

    for name in ("gap_open", "active", "frozen"):
        for words in (("true", "True", "1"), ("false", "FALSE", "0")):
            counts = {len(results(client, f"pipelines?{name}={word}")) for word in words}
            assert len(counts) == 1, name


@pytest.mark.parametrize(
    "query",
    [
        "gaps?open=maybe",
        "gaps?cause=nonsense",
        "markets?active=x",
        "exchanges?enabled=2",
        "exchanges?simulated=?",
        "pipelines?gap_open=yes",
        "runs?outcome=x",
        "runs?transport=x",
        "workers?status=x",
        "gaps?pipeline=99999999999",
        "gaps?ordering=cause",
        "runs?started_after=soon",
    ],
)
def test_a_filter_that_makes_no_sense_is_400(client: Client, world: Fill, query: str) -> None:
    assert client.get(f"/api/v1/{query}").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "runs/999999999999999999",
        "pipelines/99999999999",
        "gaps/0",
        "exchanges/nope",
        "exchanges/KRAKEN",
        "exchanges/a.b",
        "workers/__class__",
        "pipelines/1e3",
        "pipelines/x/history",
    ],
)
def test_what_is_not_there_is_404_in_json(client: Client, world: Fill, path: str) -> None:
    response = client.get(f"/api/v1/{path}")

    assert response.status_code == 404
    assert response.json()["error"] == "Not Found"


STAFF_ONLY = {
    "exchanges": {"base_url", "proxy", "ca_file"},
    "workers": {"reason", "last_error", "last_error_at", "transport_reason"},
    "runs": {"error", "excerpt", "quarantine", "correlation_id"},
    "transitions": {"reason"},
}


@pytest.mark.parametrize("name", STAFF_ONLY)
def test_how_we_reach_an_exchange_and_what_it_said_is_for_staff(operator: Client, world: Fill, name: str) -> None:
    world(2)
    stranger, plain_user = Client(), Client()
    plain_user.force_login(User.objects.create_user("paul"))

    staff = results(operator, name)[0].keys()

    for other in (stranger, plain_user):
        assert results(other, name)[0].keys() == staff - STAFF_ONLY[name]
        assert "secret" not in other.get(f"/api/v1/{name}").content.decode()


def test_a_staff_member_without_the_permission_is_a_stranger(client: Client, world: Fill) -> None:
    world(2)
    client.force_login(User.objects.create_user("stan", is_staff=True))

    assert "error" not in results(client, "runs")[0]


def test_a_proxys_password_is_shown_to_nobody(operator: Client, world: Fill) -> None:
    Exchange.objects.filter(pk="kraken").update(proxy="http://us:hunter2@proxy:3128")

    assert operator.get("/api/v1/exchanges/kraken").json()["proxy"] == "http://***@proxy:3128"


# --- history ----------------------------------------------------------------------------------------------------


def store_ticks(pipeline: Pipeline, now: datetime, count: int) -> None:
    Tick.objects.bulk_create(
        Tick(pipeline=pipeline, received_at=now - timedelta(seconds=10 * number + 1), last=float(number))
        for number in range(count)
    )


def test_history_is_oldest_first_and_says_its_columns(client: Client, world: Fill, now: datetime) -> None:
    world(1)
    pipeline = Pipeline.objects.get()
    store_ticks(pipeline, now, 3)

    body = client.get(f"/api/v1/pipelines/{pipeline.pk}/history/").json()

    prices = [row[body["columns"].index("last")] for row in body["rows"]]
    assert (body["pipeline"], body["grain"], body["is_cut"]) == (pipeline.pk, "raw", False)
    assert prices == [2.0, 1.0, 0.0]
    assert body["rows"][0][0].endswith("Z")


def test_history_says_when_the_limit_cut_it(client: Client, world: Fill, now: datetime) -> None:
    world(1)
    pipeline = Pipeline.objects.get()
    store_ticks(pipeline, now, 3)

    body = client.get(f"/api/v1/pipelines/{pipeline.pk}/history?limit=2").json()

    assert (len(body["rows"]), body["is_cut"]) == (2, True)


def test_long_spans_come_by_the_minute(client: Client, world: Fill) -> None:
    world(1)

    span = "from=2020-01-01T00:00:00Z&to=2020-01-05T00:00:00Z"
    body = client.get(f"/api/v1/pipelines/{Pipeline.objects.get().pk}/history?{span}").json()

    assert body["grain"] == "minute"
    assert "open" in body["columns"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("from=0001-01-01T00:00:00Z", "from"),
        ("to=0001-01-01T00:00:00Z", "from"),
        ("from=9999-12-31T23:59:59-14:00", "from"),
        ("from=yesterday", "from"),
        ("to=x", "to"),
        ("grain=hour", "grain"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
    ],
)
def test_a_span_that_makes_no_sense_is_400(client: Client, world: Fill, query: str, field: str) -> None:
    world(1)

    response = client.get(f"/api/v1/pipelines/{Pipeline.objects.get().pk}/history?{query}")

    assert response.status_code == 400
    assert field in response.json()["details"]


def test_history_costs_four_queries(client: Client, world: Fill) -> None:
    world(1)

    with CaptureQueriesContext(connection) as queries:
        client.get(f"/api/v1/pipelines/{Pipeline.objects.get().pk}/history")

    # The pipeline, how far minutes are made, the span's quality, its rows; and this test's own look-up.
    assert len(queries) == 5
