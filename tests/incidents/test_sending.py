"""The outbox reaches real receivers: signed, once for each message, again where that is right, and never elsewhere."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from standardwebhooks.webhooks import Webhook

from incidents import addresses, claims, duties, heartbeat, outbox
from incidents.channels import SENDERS, sending
from incidents.channels.sending import SendOutcome
from incidents.models import AlertChannel, Delivery, Incident
from incidents.rules.words import MessageEvent
from lib import clock
from tests.incidents.conftest import Story, make_channel, make_route, trouble
from tests.incidents.receivers import HttpReceiver, http_receiver, mail_server, send_due


@pytest.fixture(autouse=True)
def _to_this_machine(settings: Any) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = True


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as one:
        yield one


@pytest.fixture
def story(db: None) -> Story:
    return Story(now=clock.now() - timedelta(seconds=30))


def webhook(receiver: HttpReceiver, name: str = "ops") -> AlertChannel:
    make_route()
    return make_channel(name, "webhook", receiver.url)


def now_due() -> None:
    Delivery.objects.filter(state="queued").update(next_try_at=clock.now())


def open_one(story: Story) -> Incident:
    story.see(trouble(is_alone=True, since=story.now, detail="HTTP 502"))
    return Incident.objects.get()


def test_a_webhook_is_signed_and_tells_all(receiver: HttpReceiver, story: Story) -> None:
    channel = webhook(receiver)
    incident = open_one(story)
    send_due()
    (got,) = receiver.got
    body = Webhook(addresses.opened(channel)["secret"]).verify(got.body, got.headers)
    row = Delivery.objects.get()
    assert got.headers["webhook-id"] == str(row.message_id) == body["id"]
    assert (body["event"], body["version"], body["is_drill"]) == ("opened", 1, False)
    assert body["incident"] == {
        "id": incident.pk,
        "kind": "exchange",
        "cause": "unreachable",
        "severity": "critical",
        "title": "kraken is unreachable",
        "exchanges": ["kraken"],
        "opened_at": clock.microseconds_z(incident.since),
        "ended_at": None,
        "rows_missing": 0,
        "rows_recovered": 0,
        "url": f"http://127.0.0.1:8000/board/incidents/{incident.pk}",
    }
    assert (row.state, row.status, row.attempts) == ("sent", 200, 1)


def test_a_receiver_that_is_down_is_told_when_it_is_back(receiver: HttpReceiver, story: Story) -> None:
    channel = webhook(receiver)
    open_one(story)
    receiver.status = 503
    send_due()
    row = Delivery.objects.get()
    assert (row.state, row.status) == ("queued", 503)
    assert row.next_try_at - clock.now() <= timedelta(seconds=45)
    channel.refresh_from_db()
    assert channel.failing_since is not None
    receiver.status = 204
    now_due()
    send_due()
    channel.refresh_from_db()
    assert (Delivery.objects.get().state, channel.failing_since) == ("sent", None)
    assert len({each.headers["webhook-id"] for each in receiver.got}) == 1


def test_pauses_stay_below_a_minute_for_as_long_as_a_receiver_is_down(
    receiver: HttpReceiver, story: Story, route: Any
) -> None:
    open_one(story)
    refused = SendOutcome(is_good=False, said="connection refused")
    for _ in range(60):
        now_due()
        (row,) = claims.claim(most=5, busy=[], now=clock.now())
        claims.record(row, refused, clock.now())
        row.refresh_from_db()
        assert row.next_try_at - clock.now() <= timedelta(seconds=45)


def test_an_answer_that_was_lost_is_unconfirmed_and_repeated_marked(
    receiver: HttpReceiver, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT", sending.aiohttp.ClientTimeout(total=0.2))

    webhook(receiver)
    open_one(story)
    receiver.seconds = 0.5
    send_due()
    row = Delivery.objects.get()
    assert (row.state, row.is_repeat) == ("queued", True)
    assert timedelta(seconds=55) < row.next_try_at - clock.now() <= timedelta(seconds=60)
    receiver.seconds = 0
    now_due()
    send_due()
    assert Delivery.objects.get().state == "sent"
    assert len(receiver.got) == 2
    assert receiver.got[0].headers["webhook-id"] == receiver.got[1].headers["webhook-id"]


def test_what_a_dead_notifier_had_claimed_is_sent_by_the_next_as_a_repeat(story: Story, route: Any) -> None:
    open_one(story)
    (row,) = claims.claim(most=5, busy=[], now=clock.now())
    assert claims.claim(most=5, busy=[], now=clock.now()) == []

    Delivery.objects.update(claimed_until=F("claimed_until") - timedelta(seconds=31))
    (again,) = claims.claim(most=5, busy=[], now=clock.now())
    claims.record(row, SendOutcome(is_good=False, said="too late"), clock.now())
    claims.record(again, SendOutcome(is_good=True), clock.now())

    assert (again.pk, again.is_repeat) == (row.pk, True)
    assert Delivery.objects.get().state == "sent"


def test_the_end_is_told_after_the_beginning(receiver: HttpReceiver, story: Story) -> None:
    webhook(receiver)
    open_one(story)
    receiver.status = 500
    send_due()
    story.see(after=1)
    story.see(after=31)
    send_due()
    receiver.status = 200
    now_due()
    send_due()
    now_due()
    send_due()
    good = [json.loads(each.body)["event"] for each in receiver.got[-2:]]
    assert good == ["opened", "healed"]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "http://169.254.169.254/latest"])
def test_no_connection_is_made_into_our_own_network(story: Story, settings: Any, route: Any, address: str) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = False
    with pytest.raises(addresses.BadAddress):
        addresses.parsed("webhook", address)

    outcome = asyncio.run(sending.post(address, data=b""))

    assert (outcome.is_good, outcome.is_final, outcome.status) == (False, True, None)
    assert "no public address" in outcome.said


def test_a_name_that_leads_elsewhere_by_now_is_refused_at_the_connect(settings: Any, monkeypatch: Any) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = False
    outcome = asyncio.run(sending.post(f"http://localhost:{free_port()}/", data=b""))

    assert "no public address" in outcome.said


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_redirect_is_not_followed(receiver: HttpReceiver, story: Story) -> None:
    webhook(receiver)
    open_one(story)
    receiver.status, receiver.location = 307, receiver.url + "/elsewhere"
    send_due()
    assert [each.path for each in receiver.got] == ["/hook"]
    assert Delivery.objects.get().state == "queued"


def test_secrets_are_in_no_row(receiver: HttpReceiver, story: Story) -> None:
    channel = webhook(receiver)
    secret = addresses.opened(channel)["secret"]
    open_one(story)
    receiver.status = 400
    send_due()
    channel.refresh_from_db()
    for row in (*AlertChannel.objects.values(), *Delivery.objects.values()):
        assert secret not in str(row)
        assert receiver.url not in str(row)


def test_mail_says_what_since_when_why_and_what_to_do(story: Story, settings: Any, route: Any) -> None:
    with mail_server() as (url, box):
        settings.MAIL_URL = url
        open_one(story)
        send_due()

    (mail,) = box.mails
    text = mail.get_payload(0).get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert mail["Subject"] == "[marketmon] kraken is unreachable"
    for line in ("What: kraken is unreachable", "Since: ", "Why: HTTP 502", "More: http://127.0.0.1:8000/board/"):
        assert line in text
    assert "/incidents/acknowledge/" in text
    assert mail["Message-ID"] == f"<{Delivery.objects.get().message_id}@marketmon>"


def test_without_a_mail_server_the_channel_says_so(story: Story, settings: Any, route: Any) -> None:
    settings.MAIL_URL = ""
    open_one(story)
    send_due()

    assert AlertChannel.objects.get().last_error == "MAIL_URL not set"


@pytest.mark.parametrize(
    ("kind", "address", "path", "named"),
    [
        ("alertmanager", "/am", "/hook/am/api/v2/alerts", "labels"),
        ("ntfy", "/topic", "/hook/", "topic"),
    ],
)
def test_other_programs_are_told_in_their_own_words(
    receiver: HttpReceiver, story: Story, kind: str, address: str, path: str, named: str
) -> None:
    make_channel("ops", kind, receiver.url + address)
    make_route()
    open_one(story)
    send_due()
    (got,) = receiver.got
    body = json.loads(got.body)
    assert got.path == path
    assert named in (body[0] if isinstance(body, list) else body)


def test_pagerduty_meets_the_same_alert_again(receiver: HttpReceiver, story: Story) -> None:
    make_route()
    parts = {"key": "R" * 32, "url": receiver.url}
    make_channel("ops", "pagerduty", "R" * 32)
    AlertChannel.objects.update(address=addresses.seal(parts))
    open_one(story)
    send_due()
    story.see(after=1)
    story.see(after=31)
    now_due()
    send_due()
    events = [json.loads(each.body) for each in receiver.got]
    assert [each["event_action"] for each in events] == ["trigger", "resolve"]
    assert len({each["dedup_key"] for each in events}) == 1


def test_a_channel_that_fails_brings_the_next_step_forward(story: Story, db: None) -> None:
    make_channel("ops")
    make_channel("boss", address="boss@example.com")
    make_route(steps=[{"channels": ["ops"]}, {"after_seconds": 900, "channels": ["boss"]}])
    open_one(story)
    AlertChannel.objects.filter(name="ops").update(failing_since=clock.now() - timedelta(minutes=2))
    (row,) = claims.claim(most=5, busy=[], now=clock.now())
    claims.record(row, SendOutcome(is_good=False, said="refused"), clock.now())

    assert Delivery.objects.get(channel__name="boss").next_try_at <= clock.now()


def test_a_step_repeats_while_it_lasts(story: Story, db: None) -> None:
    make_channel()
    make_route(steps=[{"channels": ["ops"], "repeat_seconds": 600}])
    open_one(story)
    (row,) = claims.claim(most=5, busy=[], now=clock.now())
    claims.record(row, SendOutcome(is_good=True), clock.now())

    again = Delivery.objects.get(state="queued")
    assert (again.event, again.repetition) == (MessageEvent.REMINDER, 1)
    assert timedelta(seconds=590) < again.next_try_at - clock.now() <= timedelta(seconds=600)
    outbox.cancel(Incident.objects.get(), "over", now=clock.now())
    assert not claims.claim(most=5, busy=[], now=clock.now() + timedelta(hours=1))


def test_every_kind_of_channel_has_a_sender_and_an_address() -> None:
    from incidents.models import ChannelKind

    assert set(SENDERS) == set(ChannelKind.values) == set(addresses.PARSERS)


# --- heartbeats -----------------------------------------------------------------------------------------------------


def test_the_heartbeat_says_what_is_wrong() -> None:
    now = clock.now()
    well = {"swept_at": now, "stored_at": now, "interval_seconds": 10.0, "overdue": 0}

    assert heartbeat.reasons(now, **well) == []
    assert heartbeat.reasons(now, **{**well, "interval_seconds": None, "stored_at": None}) == []
    for wrong in ({"swept_at": None}, {"stored_at": now - timedelta(seconds=31)}, {"overdue": 1}):
        assert len(heartbeat.reasons(now, **{**well, **wrong})) == 1


def test_the_heartbeat_goes_out_and_fails_while_broken(receiver: HttpReceiver, db: None, settings: Any) -> None:
    settings.HEARTBEAT_URL = receiver.url
    send_due()
    assert [each.path for each in receiver.got] == ["/hook/fail"]

    assert b"the pulse does not run" in receiver.got[0].body


def test_a_notifier_opens_the_incident_of_a_dead_pulse(db: None) -> None:
    from collectors.gaps import sweep

    now = clock.now()
    sweep.note_sweep(now - timedelta(seconds=40))
    duties.watch_pulse(now)
    duties.watch_pulse(now + timedelta(seconds=1))

    assert Incident.objects.get().key == "system:pulse"
