"""What no form of ours would send: each is refused in words, and none is an error of ours or a way into a corner."""

from __future__ import annotations

import socket
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from exchanges.models import AuditEntry, Exchange
from lib import clock
from operations import commands
from tests.operations.conftest import Make

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = "/api/v1/exchanges/kraken/settings"
BLACKLIST = "/api/v1/exchanges/blacklist/kraken"


def by() -> dict[str, Any]:
    return {"by": "test", "now": clock.now()}


@pytest.mark.parametrize(
    "wanted",
    [
        {"market_filter": {"symbols": ["BTC\x00/USD"]}},
        {"market_filter": {"quotes": ["US\nD"]}},
        {"depth": {"trades": {"markets": ["BTC/USD\x00"]}}},
    ],
    ids=["a NUL in a symbol", "a line break in a quote", "a NUL in a market of trades"],
)
def test_a_control_character_in_a_name_is_400(make: Make, operator: Client, wanted: dict[str, Any]) -> None:
    """JSON carries them, and PostgreSQL's JSON does not: it was an error 500."""
    make("kraken")

    answer = operator.patch(SETTINGS, wanted)

    assert answer.status_code == 400, answer.content
    assert set(answer.json()["details"]) == set(wanted)


@pytest.mark.parametrize("field", ["poll_interval_seconds", "budget_units", "budget_seconds"])
@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_a_number_that_is_none_is_refused_from_a_file(make: Make, tmp_path: Path, field: str, number: str) -> None:
    """Not a number is neither under the least nor over the most, not even for PostgreSQL's check."""
    make("kraken")
    file = tmp_path / "plan.yaml"
    file.write_text(f"exchanges:\n  kraken: {{{field}: {number}}}\n")
    before = getattr(Exchange.objects.get(pk="kraken"), field)

    with pytest.raises(CommandError):
        call_command("exchange", "apply", str(file))

    assert getattr(Exchange.objects.get(pk="kraken"), field) == before


def test_a_removed_exchange_comes_off_the_blacklist(make: Make, operator: Client) -> None:
    """It could not be lifted, because it was removed, nor added, because it was blacklisted."""
    make("kraken")
    commands.blacklist("kraken", **by())
    commands.remove("kraken", **by())

    answer = operator.delete(BLACKLIST)

    assert (answer.status_code, answer.json()["blacklistedExchanges"]) == (200, [])
    assert answer.headers["X-Worker-Restart-Info"] == "Worker restart attempted"
    assert AuditEntry.objects.filter(verb="lift", exchange="kraken", changed=True).exists()
    removed = Exchange.objects.get(pk="kraken")
    assert (removed.removed_at is not None, removed.is_collected) == (True, False)


def test_the_entry_of_a_removed_exchange_ends_in_time(make: Make) -> None:
    make("kraken")
    now = clock.now()
    commands.blacklist("kraken", by="test", now=now, expires_at=now + timedelta(seconds=10))
    commands.remove("kraken", **by())

    assert commands.lift_expired(now + timedelta(seconds=10)) == 1

    assert not Exchange.objects.get(pk="kraken").blacklisted


def test_a_name_is_looked_up_before_the_exchange_is_locked(
    make: Make, operator: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server may take its time; meanwhile no verb of this exchange may wait for us."""
    make("kraken")
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = False
    was_locked = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        was_locked.append(connection.in_atomic_block)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    answer = operator.patch(SETTINGS, {"proxy": "http://proxy.example:3128"})

    assert answer.json()["changed"] == ["proxy"], answer.content
    assert set(was_locked) == {False}


def test_the_audit_keeps_no_password_of_a_proxy(make: Make, operator: Client) -> None:
    make("kraken", proxy="http://me:hush-hush@127.0.0.1:3128")

    operator.patch(SETTINGS, {"proxy": "http://me:another-one@127.0.0.1:3128"})

    entry = AuditEntry.objects.get(verb="configure")
    assert entry.before == {"proxy": "http://***@127.0.0.1:3128"}
    with pytest.raises(commands.CommandRefused, match="password"):
        commands.undo(entry.pk, **by())
    assert Exchange.objects.get(pk="kraken").proxy_address == "http://me:another-one@127.0.0.1:3128"


def test_a_proxy_without_a_password_comes_back(make: Make, operator: Client) -> None:
    make("kraken", proxy="http://127.0.0.1:3128")
    operator.patch(SETTINGS, {"proxy": ""})

    commands.undo(AuditEntry.objects.get(verb="configure").pk, **by())

    assert Exchange.objects.get(pk="kraken").proxy == "http://127.0.0.1:3128"


def test_a_plan_shows_no_password(make: Make, tmp_path: Path) -> None:
    """What a terminal shows, a log of somebody's pipeline keeps."""
    make("kraken", proxy="http://me:hush-hush@127.0.0.1:3128")
    file, told = tmp_path / "plan.yaml", StringIO()
    proxy = "{proxy: 'http://me:another-one@127.0.0.1:3128'}"
    file.write_text(f"exchanges:\n  kraken: {proxy}\n  luno: {proxy}\n")

    call_command("exchange", "plan", str(file), stdout=told)

    assert "~ kraken: proxy: 'http://***@127.0.0.1:3128'" in told.getvalue()
    assert not {word for word in ("hush-hush", "another-one") if word in told.getvalue()}
