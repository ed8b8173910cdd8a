"""Where a channel leads is judged when it is entered and again at each connect; its secrets are seen nowhere."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from structlog.testing import capture_logs

from exchanges.models import AuditEntry
from incidents import addresses, messages, testing
from incidents.channels import vendors
from incidents.models import AlertChannel, Delivery, IncidentEntry
from lib import clock, valkey
from tests.incidents.conftest import Story, make_route, trouble
from tests.incidents.receivers import HttpReceiver, http_receiver, send_due

KINDS = {"webhook": "/hook", "alertmanager": "", "ntfy": "/topic"}
PRIVATE = ("127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433",
           "0x7f000001", "0177.0.0.1", "0.0.0.0", "[fd00::1]", "[64:ff9b::7f00:1]", "100.64.0.1")  # fmt: skip
METADATA = ("169.254.169.254", "[::ffff:169.254.169.254]", "100.100.100.200", "[fd00:ec2::254]", "168.63.129.16",
            "2852039166")  # fmt: skip
HOST = "receiver.example"
TOKEN = "tok-4f1d7c-secret"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as one:
        yield one


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What this machine's resolver says, which may change at any moment."""
    known: dict[str, str] = {}
    really = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        return really(known.get(host, host), *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.fixture
def story(db: None) -> Story:
    return Story(now=clock.now() - timedelta(seconds=30))


def keep(kind: str, address: str, secret: str = "") -> AlertChannel:
    """A channel as it was once entered."""
    parts = addresses.parsed(kind, address, secret)
    shown = addresses.shown(kind, parts)
    return AlertChannel.objects.create(name="ops", kind=kind, address=addresses.seal(parts), shown=shown)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", [*PRIVATE, *METADATA])
def test_an_address_in_our_own_network_is_refused(kind: str, host: str, settings: Any) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = False

    with pytest.raises(addresses.BadAddress, match=r"private network|secrets|no address"):
        addresses.parsed(kind, f"https://{host}{KINDS[kind]}")


@pytest.mark.parametrize("host", METADATA)
def test_no_setting_permits_where_clouds_keep_their_secrets(host: str, settings: Any) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = True

    with pytest.raises(addresses.BadAddress, match="no setting permits"):
        addresses.parsed("webhook", f"http://{host}/hook")


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_turned_to_our_network_after_it_was_saved_is_not_followed(
    kind: str, story: Story, receiver: HttpReceiver, names: dict[str, str], settings: Any
) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    settings.ALLOW_PRIVATE_ALERT_URLS = False
    names[HOST] = "8.8.8.8"
    keep(kind, f"https://{HOST}:{port}{KINDS[kind]}")
    make_route()
    names[HOST] = "127.0.0.1"
    story.see(trouble(is_alone=True))
    send_due()

    assert receiver.got == []
    row = Delivery.objects.get()
    assert "no public address" in row.excerpt
    assert f"{HOST} leads to 127.0.0.1" in row.excerpt
    assert AlertChannel.objects.get().failing_since is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_receiver_that_sends_us_elsewhere_is_not_followed(
    kind: str, status: int, story: Story, receiver: HttpReceiver, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = True
    with http_receiver() as trap:
        keep(kind, receiver.url + KINDS[kind])
        make_route()
        receiver.status, receiver.location = status, trap.url
        story.see(trouble(is_alone=True))
        send_due()

        assert (len(receiver.got), trap.got) == (1, [])
    assert "redirect" in Delivery.objects.get().excerpt


@pytest.mark.parametrize("option", ["verify=no", "redirect=yes", "Redirect=yes", "rto=900", "attach=/etc/passwd"])
def test_an_address_of_apprise_loosens_nothing(option: str) -> None:
    with pytest.raises(addresses.BadAddress):
        addresses.parsed("apprise", f"{SLACK}?{option}")


def test_what_apprise_is_asked_to_send_follows_no_redirect_and_checks_certificates(
    story: Story, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by an address that was kept before the check."""
    import apprise

    seen = []
    monkeypatch.setattr(
        apprise.plugins.N_MGR["slack"], "notify",
        lambda self, **_: seen.append((self.redirects, self.verify_certificate)),
    )  # fmt: skip
    channel = keep("apprise", SLACK)
    delivery = testing.send_test(channel, now=clock.now())
    vendors._send(messages.of(delivery, clock.now()), f"{SLACK}?redirect=yes&verify=no")

    assert seen == [(False, True)]


# --- secrets --------------------------------------------------------------------------------------------------------

SECRETS = {
    "webhook": ("{url}/" + TOKEN, "whsec_" + "c2VjcmV0LW9mLXdlYmhvb2tz"),
    "alertmanager": ("{url}", TOKEN),
    "ntfy": ("{url}/topic-" + TOKEN, TOKEN),
    "pagerduty": ("R0UTINGKEY0123456789012345678901", ""),
    "apprise": (SLACK.replace("TIiajkdnlazkcOXrIdevi7FQ", "S3cretS3cretS3cretS3cret"), ""),
}
SEEN = ("tok-4f1d7c-secret", "c2VjcmV0LW9mLXdlYmhvb2tz", "R0UTINGKEY01234567890123456", "S3cretS3cretS3cretS3cret")
PAGES = (
    "/admin/incidents/alertchannel/", "/admin/incidents/alertchannel/{pk}/change/", "/admin/incidents/delivery/",
    "/admin/incidents/incident/", "/board/incidents/{incident}", "/admin/exchanges/auditentry/", "/status",
    "/status.json", "/api/v1/channels/", "/api/v1/channels/{pk}", "/api/v1/incidents/{incident}", "/metrics",
)  # fmt: skip


@pytest.mark.parametrize("kind", SECRETS)
def test_a_channels_secret_is_in_no_log_page_answer_message_or_audit_row(
    kind: str, story: Story, receiver: HttpReceiver, settings: Any, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    settings.ALLOW_PRIVATE_ALERT_URLS = True
    monkeypatch.setattr(socket, "getaddrinfo", only_here(socket.getaddrinfo))
    receiver.echoes, receiver.status = True, 500
    address, secret = SECRETS[kind]
    body = {"name": "ops", "kind": kind, "address": address.format(url=receiver.url), "secret": secret}
    with capture_logs() as logs:
        structlog.contextvars.clear_contextvars()
        said = [configure(body)]
        make_route()
        story.see(trouble(is_alone=True))
        send_due()
        testing.send_test(AlertChannel.objects.get(), now=clock.now())
        send_due()
        said += read_everything()

    assert Delivery.objects.filter(state="queued").exclude(excerpt="").exists()
    said += [json.dumps(logs, default=str), *capfd.readouterr(), *rows(), *queued()]
    for text in said:
        for each in SEEN:
            assert each not in text


def only_here(really: Any) -> Any:
    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        return really("127.0.0.1" if str(host).endswith((".com", ".sh")) else host, *rest, **options)

    return resolve


def configure(body: dict[str, str]) -> str:
    client = Client(headers={"X-Admin-Key": settings.ADMIN_API_KEY})
    wrong = client.post("/api/v1/channels/", json.dumps({**body, "kind": "pigeon"}), content_type="application/json")
    made = client.post("/api/v1/channels/", json.dumps(body), content_type="application/json")
    assert made.status_code == 201, made.content
    return wrong.content.decode() + made.content.decode()


def read_everything() -> list[str]:
    client = Client(headers={"X-Admin-Key": settings.ADMIN_API_KEY})
    client.force_login(User.objects.create_superuser("root"))
    facts = {"pk": AlertChannel.objects.get().pk, "incident": Delivery.objects.exclude(incident=None)[0].incident_id}
    found = []
    for page in PAGES:
        answer = client.get(page.format(**facts))
        assert answer.status_code in (200, 401), (page, answer.status_code)
        found.append(b"".join(answer).decode() if answer.streaming else answer.content.decode())
    return found


def rows() -> list[str]:
    tables = (AlertChannel, Delivery, IncidentEntry, AuditEntry)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(action_time || object_repr || change_message, ' ') FROM django_admin_log")
        log = str(cursor.fetchone()[0])
    return [log, *(str(list(table.objects.values())) for table in tables)]


def queued() -> list[str]:
    """Everything that Valkey holds: queues of Celery, published bodies."""
    client = valkey.client()
    return [str(client.dump(key)) for key in client.keys("*")]
