"""What `make run` promises, asked of the real thing from outside."""

import itertools
import re
import time

import pytest

from marketmon.management.commands.sync import SIMULATED
from sandbox.venues import VENUES
from tests.system.conftest import INTERVAL_SECONDS, System

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
SEEDED = set(SIMULATED)
LISTENED_TO = {name for name in SEEDED if VENUES[name].streams}
# The pipelines API's labels with the delays that are promised for them, in seconds.
DELAYS = {"binance_spot": 5, "hyperliquid": 30, "polymarket": 120, "kalshi": 60, "chainlink": 15}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def test_every_simulated_exchange_is_collected_and_says_so(system: System):
    for path in ("/api/v1/market/workers/status", "/api/v1/exchanges/workers/status/"):
        body = system.get(path).json()

        assert set(body) == {"workers", "timestamp"}
        assert set(body["workers"]) == SEEDED
        for exchange, worker in body["workers"].items():
            assert list(worker) == ["exchange", "status", "last_update", "error_count", "symbols_tracked"]
            assert (worker["exchange"], worker["status"], worker["error_count"]) == (exchange, "running", 0)
            assert STAMP.fullmatch(worker["last_update"])


def test_exchanges_that_push_are_listened_to_and_the_others_polled(system: System):
    system.wait_until(
        lambda: {name for name, word in system.transports().items() if word == "stream"} == LISTENED_TO,
        seconds=60,
        what="all streams",
    )

    assert {system.transports()[name] for name in SEEDED - LISTENED_TO} == {"poll"}
    opened = [one for one in system.sandbox.requests_of("kraken") if one["method"] == "OPEN" and not one["ended_at"]]
    assert len(opened) == 1


def test_each_source_is_shown_under_its_label_with_its_delay(system: System):
    system.wait_until(
        lambda: set(system.transports().values()) == {"stream", "poll"}, seconds=60, what="streams and polls"
    )
    worst = dict.fromkeys(DELAYS, 0.0)
    for _ in range(4):
        for row in system.pipelines():
            if row["source"] in worst:
                worst[row["source"]] = max(worst[row["source"]], row["delay_seconds"])
                assert row["status"] == "healthy", row
        time.sleep(1)

    assert all(0 <= worst[source] < limit for source, limit in DELAYS.items()), worst


def test_symbols_tracked_is_what_is_stored(system: System):
    stored = system.sql(
        "SELECT m.exchange_id, count(*) FROM collectors_pipeline p JOIN exchanges_market m ON m.id = p.market_id "
        "WHERE p.received_at > now() - interval '20 seconds' GROUP BY 1"
    )

    assert dict(stored) == {name: worker["symbols_tracked"] for name, worker in system.workers().items()}


def test_a_failing_exchange_turns_to_error_and_costs_the_others_nothing(system: System):
    """Its websocket breaks and cannot be dialled again, and its REST answers nothing."""
    began = time.time()
    system.sandbox.fault("coinbase", "ws_close", count=1)
    system.sandbox.fault("coinbase", "status", params={"code": 500})

    system.wait_until(lambda: system.workers()["coinbase"]["status"] == "error", seconds=30, what="coinbase in error")
    assert system.transports()["coinbase"] == "poll"
    failed_at = time.time()
    time.sleep(5 * INTERVAL_SECONDS)

    for exchange in SEEDED - {"coinbase"}:
        moments = system.moments(exchange, since=began)
        pauses = [later - earlier for earlier, later in itertools.pairwise([began, *moments, time.time()])]
        assert max(pauses) < 2.5 * INTERVAL_SECONDS, exchange
    asked = [one for one in system.sandbox.requests_of("coinbase", since=failed_at) if one["method"] == "GET"]
    assert len(asked) <= 6  # it would be twice that without the pause
    system.sandbox.heal()
    system.wait_until(lambda: system.rows_since("coinbase", failed_at) > 0, seconds=60, what="coinbase rows again")


def test_a_blacklist_in_the_admin_stops_every_request_and_lifting_it_brings_rows_back(system: System):
    admin = system.admin()
    chosen = {"_selected_action": "kraken", "_form_submitted": "1"}

    admin.send_form("/admin/exchanges/exchange/", action="blacklist_selected", reason="drill", **chosen)
    stopped_at = time.time()
    assert system.workers()["kraken"]["status"] == "stopped"
    time.sleep(4 * INTERVAL_SECONDS)

    assert system.sandbox.requests_of("kraken", since=stopped_at) == []
    assert system.rows_since("kraken", stopped_at) == 0
    entry = system.sql("SELECT reason, listed_by FROM exchanges_blacklistentry WHERE exchange_id = 'kraken'")
    assert entry == [("drill", "admin")]

    lifted_at = time.time()
    admin.send_form("/admin/exchanges/exchange/", action="lift_selected", **chosen)
    system.wait_until(
        lambda: system.rows_since("kraken", lifted_at) > 0, seconds=INTERVAL_SECONDS + 2, what="kraken rows again"
    )
    gaps = (
        "SELECT count(*) FROM collectors_gap g JOIN exchanges_market m ON m.id = g.pipeline_id WHERE exchange_id = %s"
    )
    assert system.sql(gaps + " AND g.ended_at > to_timestamp(%s)", "kraken", stopped_at) == [(0,)]


def test_reading_never_changes_anything(system: System):
    admin = system.admin()
    for page in ("/admin/exchanges/exchange/", "/admin/exchanges/exchange/kraken/change/", "/admin/collectors/worker/"):
        assert admin.get(system.url + page, timeout=10).status_code == 200

    assert system.workers()["kraken"]["status"] == "running"


def test_retry_after_is_honoured(system: System):
    system.sandbox.fault("luno", "status", params={"code": 429, "retry_after": 7})
    system.wait_until(lambda: system.workers()["luno"]["error_count"] >= 3, seconds=60, what="three refusals")

    refused = [r["at"] for r in system.sandbox.requests_of("luno") if r["status"] == 429]
    assert all(later - earlier >= 7 for earlier, later in itertools.pairwise(refused))
    assert system.workers()["luno"]["status"] == "error"


@pytest.mark.parametrize("pattern", [r"celery.* worker", r"bin/postgres -D"], ids=["worker", "PostgreSQL"])
def test_a_killed_process_comes_back_and_nothing_is_doubled(system: System, pattern: str):
    kill_and_wait(system, pattern)  # the others are killed in the lab


def kill_and_wait(system: System, pattern: str) -> None:
    killed_at = time.time()
    system.kill(pattern)

    def everyone_stores() -> bool:
        try:
            return all(system.rows_since(exchange, killed_at + 1) for exchange in SEEDED)
        except Exception:
            return False  # the database itself is on its way back

    system.wait_until(everyone_stores, seconds=15, what="rows of every exchange again")
    system.wait_until(lambda: not open_gaps(system), seconds=15, what="all gaps closed")
    assert doubled_slots(system, since=killed_at) == 0
    system.verify()


def open_gaps(system: System) -> int:
    try:
        return int(system.sql("SELECT count(*) FROM collectors_gap WHERE ended_at IS NULL")[0][0])
    except Exception:
        return -1


def doubled_slots(system: System, *, since: float) -> int:
    """Polls of one exchange that began less than half an interval apart: one slot, polled twice. What a stream stored
    may follow a poll closely, and what an operator restarts polls at once."""
    return int(
        system.sql(
            "SELECT count(*) FROM (SELECT started_at - lag(started_at) OVER "
            "(PARTITION BY exchange_id ORDER BY started_at) AS distance FROM collectors_run "
            "WHERE outcome = 'stored' AND transport = 'poll' AND started_at > to_timestamp(%s)) AS r "
            "WHERE distance < %s * interval '1 second'",
            since,
            INTERVAL_SECONDS * 0.4,
        )[0][0]
    )
