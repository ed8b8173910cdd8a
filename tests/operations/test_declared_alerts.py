"""Channels, routes and planned work from a file: planned, applied once, and secrets by name only."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from exchanges.models import AuditEntry
from incidents import addresses
from incidents.models import AlertChannel, AlertRoute, Maintenance
from lib import clock
from tests.incidents.conftest import make_channel

SECRET = "whsec_c2VjcmV0LW9mLXdlYmhvb2tz"
FILE = """
channels:
  ops: {kind: webhook, address_from: OPS_URL, secret_from: OPS_SECRET}
  mail: {kind: email, address: ops@example.com, enabled: false}
routes:
  night:
    match: {severities: [critical]}
    steps: [{after_seconds: 0, channels: [ops], repeat_seconds: 3600}]
    quiet_hours: {from: "22:00", to: "07:00", zone: Europe/Berlin}
maintenance:
  weekly move: {starts_at: START, ends_at: END, rrule: FREQ=WEEKLY}
"""


@pytest.fixture(autouse=True)
def _environment(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = True
    monkeypatch.setenv("OPS_URL", "http://127.0.0.1:9/tok-4f1d7c")
    monkeypatch.setenv("OPS_SECRET", SECRET)


@pytest.fixture
def say(tmp_path: Path) -> Any:
    def said(verb: str, text: str) -> list[str]:
        now = clock.now().replace(microsecond=0)
        text = text.replace("START", now.isoformat()).replace("END", (now + timedelta(hours=1)).isoformat())
        file, told = tmp_path / "plan.yaml", StringIO()
        file.write_text(text)
        call_command("exchange", verb, str(file), stdout=told)
        assert SECRET not in told.getvalue()
        assert "tok-4f1d7c" not in told.getvalue()
        return told.getvalue().splitlines()

    return said


def test_a_file_is_planned_applied_and_then_nothing_is_left(say: Any, tmp_path: Path) -> None:
    planned = say("plan", FILE)
    assert planned[:3] == ["+ channel ops: webhook", "+ channel mail: email", "+ route night: ops"]
    assert planned[3].startswith("+ maintenance weekly move: ")
    assert not AlertChannel.objects.exists()

    say("apply", FILE)
    text = (tmp_path / "plan.yaml").read_text()
    channel = AlertChannel.objects.get(name="ops")
    assert addresses.opened(channel) == {"url": "http://127.0.0.1:9/tok-4f1d7c", "secret": SECRET}
    assert AlertRoute.objects.get().quiet_hours["zone"] == "Europe/Berlin"
    assert Maintenance.objects.get().rrule == "FREQ=WEEKLY"
    assert say("plan", text) == ["nothing to change"]
    kept = str(list(AuditEntry.objects.values()))
    assert "tok-4f1d7c" not in kept
    assert SECRET not in kept


def test_what_differs_is_changed_and_a_secret_that_is_not_named_stays(say: Any) -> None:
    make_channel("ops", "webhook", "http://127.0.0.1:9/old")
    secret = addresses.opened(AlertChannel.objects.get())["secret"]
    text = "channels:\n  ops: {kind: webhook, address_from: OPS_URL}\n"

    assert say("apply", text) == ["~ channel ops: address", "1 changed"]
    kept = addresses.opened(AlertChannel.objects.get())
    assert kept == {"url": "http://127.0.0.1:9/tok-4f1d7c", "secret": secret}
    assert say("plan", text) == ["nothing to change"]


def test_what_a_section_does_not_name_is_removed_where_that_is_wanted(say: Any) -> None:
    make_channel("old")
    AlertRoute.objects.create(name="old", steps=[{"channels": ["old"]}])
    text = "channels: {}\nroutes: {}\nothers: remove\n"

    assert say("apply", text) == ["- route old: remove", "- channel old: remove", "2 changed"]
    assert not AlertChannel.objects.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("channels: {ops: {kind: webhook, address: 'http://127.0.0.1:9/tok'}}", "does not belong in a file"),
        ("channels: {ops: {kind: webhook, address_from: NOT_THERE}}", "the environment has no 'NOT_THERE'"),
        ("channels: {ops: {kind: pigeon, address_from: OPS_URL}}", "kind is one of"),
        ("channels: {ops: {kind: email, address: nobody}}", "no e-mail address"),
        ("channels: {ops: {kind: email, address: a@b.example, colour: red}}", "no setting 'colour'"),
        ("channels: [ops]", "is a mapping"),
        ("routes: {all: {steps: [{channels: [nobody]}]}}", "no channel 'nobody'"),
        ("routes: {all: {match: {venues: [x]}, steps: []}}", "no setting 'venues'"),
        ("maintenance: {move: {starts_at: soon, ends_at: later}}", "is a time such as"),
        ("maintenance: {move: {starts_at: 2026-01-01T00:00Z, ends_at: 2026-01-01T01:00Z}}", "over"),
    ],
)
def test_what_cannot_be_followed_changes_nothing(say: Any, text: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        say("apply", text)
    assert not AlertChannel.objects.exists()
    assert not AuditEntry.objects.exists()
