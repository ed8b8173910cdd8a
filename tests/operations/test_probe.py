"""`exchange probe` and `exchange record` against the sandbox, and what is recorded played as an exchange of its own."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from exchanges import secrets
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from feeds import new_feed
from feeds.base import FeedSpec, Unreachable
from feeds.recordings import without_addresses, without_keys
from lib import clock
from operations import onboarding, probe, probe_words, progress, recording, tasks
from tests.sandbox_client import PROJECT, START_SECONDS, Sandbox, free_port, wait_for_http

pytestmark = pytest.mark.django_db(transaction=True)


def candidate(exchange_id: str, **wanted: Any) -> Exchange:
    """An exchange of the sandbox with a rate limit that nobody has to wait for."""
    generous = {"base_url": SANDBOX_PLACEHOLDER, "budget_units": 100.0, "budget_seconds": 1.0}
    return onboarding.candidate(exchange_id, {**generous, **wanted})


def probed(exchange_id: str, *, stream_seconds: float = 0.1, **wanted: str) -> probe.ProbeReport:
    return probe.probe(candidate(exchange_id, **wanted), now=clock.now().timestamp(), stream_seconds=stream_seconds)


def test_a_probe_says_what_an_exchange_does_before_it_is_added(sandbox: Sandbox) -> None:
    report = probed("kraken", stream_seconds=8)

    assert not Exchange.objects.exists()
    assert report.is_usable
    assert report.polled == report.markets["spot"] > 5
    assert report.poll_requests == 1
    assert abs(report.skew_seconds or 99) < 2
    assert report.others == {"order book": "yes", "trades": "yes", "candles": "yes"}
    assert report.pushed is not None
    assert 0 < len(report.pushed.quotes) <= report.pushed.asked
    assert report.poll_fields["last"] == report.push_fields["bid"] == 1
    sample = report.samples[0]
    assert f"{sample.quote.last:.10g}".rstrip("0") in sample.raw
    page = probe_words.page(report)
    assert "It can be collected" in page.splitlines()[2]
    assert sample.raw in page


def test_a_market_that_answers_nothing_readable_is_counted(sandbox: Sandbox) -> None:
    sandbox.fault("luno", "drop_symbols", path="tickers", params={"symbols": ["BTC/ZAR"]})

    report = probed("luno")

    assert not report.failure
    assert report.by_kind["spot"] == (report.markets["spot"] - 1, report.markets["spot"])


@pytest.mark.parametrize(
    ("wanted", "what", "advice"),
    [
        ({"base_url": "http://no-such-host.invalid"}, "cannot be resolved", "spelling"),
        ({"base_url": "http://127.0.0.1:9"}, "refused", "port"),
        ({"proxy": "http://127.0.0.1:9"}, "proxy", "proxy's address"),
    ],
)
def test_what_is_in_the_way_is_said_in_words(sandbox: Sandbox, wanted: dict[str, str], what: str, advice: str) -> None:
    report = probed("luno", **wanted)

    assert not report.is_usable
    assert what in report.failure
    assert advice in report.advice
    assert report.failure in probe_words.verdict(report)


def test_a_region_that_is_not_served_is_said_in_words(sandbox: Sandbox) -> None:
    sandbox.fault("luno", "status", params={"code": 451})

    assert "region" in probed("luno").failure


def test_the_command_ends_with_an_error_where_nothing_can_be_collected(sandbox: Sandbox, capsys: Any) -> None:
    call_command("exchange", "probe", "luno", "--base-url", SANDBOX_PLACEHOLDER)
    assert "It can be collected" in capsys.readouterr().out

    with pytest.raises(CommandError):
        call_command("exchange", "probe", "luno", "--base-url", "http://127.0.0.1:9")


def test_an_unknown_exchange_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(CommandError, match="Unknown exchange: krakn"):
        call_command("exchange", "record", "krakn")


@pytest.fixture(scope="module")
def recorded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings") / "kraken.json.gz"


def test_a_recording_plays_the_same_quotes(sandbox: Sandbox, recorded_file: Path) -> None:
    done = recording.record(candidate("kraken"), recorded_file, seconds=4, now=clock.now().timestamp())
    assert done.answers > 5
    assert done.frames > 5
    assert not done.faults

    with replaying(recorded_file) as url:
        feed = new_feed(FeedSpec("kraken", base_url=url))
        try:
            listings = feed.load_markets(deadline_seconds=5)
            active = [each.symbol for each in listings if each.active]
            quotes = feed.fetch_quotes(active, deadline_seconds=5).quotes
            book = feed.fetch_order_book(active[0], depth=20, deadline_seconds=5)
        finally:
            feed.close()
        told = requests.get(f"{url}/_replay", timeout=5).json()

    assert told["exchange"] == "kraken"
    assert told["unknown"] == {}
    assert len(quotes) == len(active)
    body = json.loads(next(each["body"] for each in events(recorded_file) if "Ticker" in each.get("url", "")))
    last = {float(row["c"][0]) for row in body["result"].values()}
    assert {quote.last for quote in quotes} == last
    assert book.bids


def test_a_replayed_connection_waits_for_the_clients_words(sandbox: Sandbox, recorded_file: Path) -> None:
    if not recorded_file.exists():
        recording.record(candidate("kraken"), recorded_file, seconds=4, now=clock.now().timestamp())
    frames = [each for each in events(recorded_file) if each["kind"] in ("sent", "got")]
    assert any(each["kind"] == "sent" for each in frames)

    with replaying(recorded_file, "--speed", "10") as url:
        report = probe.probe(candidate("kraken", base_url=url), now=clock.now().timestamp(), stream_seconds=8)

    assert report.pushed is not None
    assert len(report.pushed.quotes) >= probe.STREAM_SHARE * report.pushed.asked


def test_an_answer_that_never_came_does_not_come_again(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "down.json.gz"
    done = recording.record(
        candidate("luno", base_url="http://127.0.0.1:9"), path, seconds=1, now=clock.now().timestamp()
    )
    assert done.faults
    assert done.faults[0].startswith("unreachable")

    with replaying(path) as url:
        feed = new_feed(FeedSpec("luno", base_url=url))
        try:
            with pytest.raises(Unreachable):
                feed.load_markets(deadline_seconds=5)
        finally:
            feed.close()


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.gz"
    path.write_bytes(gzip.compress(b'{"format": 99}\n'))

    ended = subprocess.run(
        [sys.executable, "-m", "sandbox", "replay", str(path)], cwd=PROJECT, capture_output=True, text=True, timeout=20
    )

    assert ended.returncode == 1
    assert "no recording" in ended.stderr


def test_keys_and_addresses_do_not_get_into_a_recording() -> None:
    said = without_addresses(without_keys('{"apiKey": "ABC", "token": "USDC", "ip": "203.0.113.7", "v": "1.2.3"}'))

    assert said == '{"apiKey": "***", "token": "USDC", "ip": "192.0.2.1", "v": "1.2.3"}'


def test_credentials_do_not_get_into_a_recording(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "signed.json.gz"
    exchange = candidate("luno", credentials={"apiKey": "CANARYKEY123", "secret": "CANARYSECRET1"})

    recording.record(exchange, path, seconds=1, now=clock.now().timestamp())

    assert "CANARY" not in gzip.decompress(path.read_bytes()).decode()


def events(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines][1:]


@contextmanager
def replaying(path: Path, *options: str) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", str(port), "replay", str(path), *options],
        cwd=PROJECT, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def wait_for_port(port: int) -> None:
    wait_for_http(f"http://127.0.0.1:{port}/_replay", seconds=START_SECONDS)
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_the_page_that_adds_shows_a_probe(sandbox: Sandbox, settings: Any) -> None:
    key = progress.begin("luno", is_probe=True)
    sealed = secrets.seal_text(json.dumps({"base_url": SANDBOX_PLACEHOLDER}))

    tasks.probe_exchange(exchange_id="luno", sealed=sealed, progress_key=key)

    found = progress.find(key)
    assert found is not None
    assert found.state == progress.DONE
    assert "It can be collected" in found.page
    admin = User.objects.create_superuser("ada", password="-")
    client = Client()
    client.force_login(admin)
    page = client.get(reverse("admin:exchanges_exchange_adding", args=[key])).content.decode()
    assert "nothing was added" in page
    assert "It can be collected" in page
    assert not Exchange.objects.exists()


def test_a_probe_of_an_impossible_address_says_why(sandbox: Sandbox, settings: Any) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = False
    key = progress.begin("luno", is_probe=True)

    tasks.probe_exchange(
        exchange_id="luno", sealed=secrets.seal_text('{"base_url": "http://10.0.0.1"}'), progress_key=key
    )

    found = progress.find(key)
    assert found is not None
    assert found.state == progress.FAILED
    assert "base_url" in found.message
