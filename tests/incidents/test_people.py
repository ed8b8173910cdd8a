"""What people do with incidents, by API: roles, pauses that end, notes, ends; and what is configured."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client

from exchanges.models import AuditEntry
from incidents import addresses, claims, links, people
from incidents.channels.sending import SendOutcome
from incidents.models import AlertChannel, AlertRoute, Delivery, Incident, IncidentEntry
from lib import clock
from tests.incidents.conftest import Story, make_channel, make_route, trouble

KRAKEN = "exchange:kraken"


@pytest.fixture(autouse=True)
def _to_this_machine(settings: Any) -> None:
    settings.ALLOW_PRIVATE_ALERT_URLS = True


@pytest.fixture
def story(db: None) -> Story:
    return Story(now=clock.now() - timedelta(seconds=10))


class Caller:
    """Calls the API with the admin key."""

    def __init__(self) -> None:
        self.client = Client(headers={"X-Admin-Key": settings.ADMIN_API_KEY})

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        ask = getattr(self.client, method)
        more = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        answer = ask(f"/api/v1/{path}", **more)
        assert answer.status_code == status, answer.content
        return answer.json() if answer.content else None


@pytest.fixture
def call(db: None) -> Caller:
    return Caller()


def staff(*names: str) -> Client:
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=names, content_type__app_label="incidents"))
    client = Client()
    client.force_login(user)
    return client


def open_one(story: Story) -> Incident:
    story.see(trouble(is_alone=True, since=story.now))
    return Incident.objects.get()


def test_incidents_are_listed_and_filtered(story: Story, call: Caller) -> None:
    story.see(trouble(), trouble("system:worker"))

    assert {each["kind"] for each in call("get", "incidents/")["results"]} == {"exchange", "system"}
    (one,) = call("get", "incidents/?open=true&exchange=kraken&from=2020-01-01T00:00:00Z")["results"]
    assert (one["title"], one["is_open"], one["state"]) == ("kraken is unreachable", True, "investigating")
    assert call("get", "incidents/?to=2020-01-01T00:00:00Z")["results"] == []
    call("get", "incidents/?kind=nonsense", status=400)


def test_an_acknowledgement_ends_and_what_lasts_is_told_again(story: Story, route: AlertRoute, call: Caller) -> None:
    incident = open_one(story)
    story.due()
    answer = call("post", f"incidents/{incident.pk}/acknowledge", {"for_seconds": 3600, "comment": "at the proxy"})
    assert (answer["acknowledged_by"], answer["state"]) == ("admin key", "identified")
    story.now = clock.now()

    story.see(trouble(), after=3000)
    assert story.due() == []
    story.see(trouble(), after=700)

    assert story.due() == [f"reminder {KRAKEN}"]
    incident.refresh_from_db()
    assert incident.acknowledged_by == ""
    kinds = [entry.kind for entry in IncidentEntry.objects.order_by("pk")]
    assert kinds == ["opened", "acknowledged", "expired"]


def test_what_is_taken_is_told_to_nobody_else(story: Story, call: Caller, db: None) -> None:
    make_channel()
    make_route(steps=[{"channels": ["ops"]}, {"after_seconds": 600, "channels": ["ops"]}])
    incident = open_one(story)
    people.acknowledge(incident.pk, by="anna", now=clock.now(), until=clock.now() + timedelta(hours=1))

    assert claims.claim(most=5, busy=[], now=clock.now() + timedelta(minutes=50)) == []
    (first,) = claims.claim(most=5, busy=[], now=clock.now() + timedelta(hours=1, minutes=1))
    assert first.step == 0
    waiting = Delivery.objects.get(state="queued")
    assert waiting.next_try_at > clock.now() + timedelta(minutes=69)


def test_an_incident_cannot_be_ended_while_its_cause_lasts(story: Story, call: Caller) -> None:
    incident = open_one(story)

    refusal = call("post", f"incidents/{incident.pk}/resolve", {}, status=409)
    assert "lasts" in refusal["message"]
    story.see()
    assert call("post", f"incidents/{incident.pk}/resolve", {})["state"] == "resolved"


def test_one_that_a_person_opened_is_ended_by_a_person(story: Story, route: AlertRoute, call: Caller) -> None:
    opened = call("post", "incidents/", {"title": "a customer sees old prices"}, status=201)
    for _ in range(5):
        story.see(after=60)
    assert call("get", f"incidents/{opened['id']}")["is_open"]

    ended = call("post", f"incidents/{opened['id']}/resolve", {"text": "a cache of theirs"})

    assert ended["entries"][1]["text"] == "a cache of theirs"
    assert ended["state"] == "resolved"


def test_two_may_be_opened_at_the_same_moment(db: None) -> None:
    now = clock.now()
    opened = {people.open_one(by=name, now=now, title="old prices").pk for name in ("anna", "otto")}

    assert len(opened) == 2


def test_notes_are_kept_and_public_ones_carry_the_state(story: Story, call: Caller) -> None:
    incident = open_one(story)
    call("post", f"incidents/{incident.pk}/note", {"text": "asked their support"})
    body = {"text": "We know why.", "is_public": True, "state": "identified"}
    entries = call("post", f"incidents/{incident.pk}/note", body)["entries"]

    assert [(each["text"], each["is_public"], each["state"]) for each in entries[1:]] == [
        ("asked their support", False, ""),
        ("We know why.", True, "identified"),
    ]
    call("post", f"incidents/{incident.pk}/note", {"text": " "}, status=400)


@pytest.mark.parametrize(
    "body",
    [{"for_seconds": 0}, {"for_seconds": 10**9}, {"until": "2020-01-01T00:00:00Z"}, {"until": "soon"}, [], "x"],
)
def test_a_pause_needs_an_end(story: Story, call: Caller, body: Any) -> None:
    call("post", f"incidents/{open_one(story).pk}/acknowledge", body, status=400)


def test_viewers_see_and_operators_act(story: Story, route: AlertRoute) -> None:
    incident = open_one(story)
    place = f"/api/v1/incidents/{incident.pk}"

    assert Client().get(place).status_code == 401
    viewer = staff("view_incident")
    assert viewer.get(place).json()["deliveries"] == []
    assert viewer.post(f"{place}/acknowledge").status_code == 403


def test_who_is_nobody_reads_nothing_of_channels(db: None) -> None:
    for place in ("channels", "routes", "maintenance", "incidents"):
        assert Client().get(f"/api/v1/{place}/").status_code == 401


# --- the link of a message ------------------------------------------------------------------------------------------


def test_a_link_shows_a_page_and_only_its_button_acts(story: Story, route: AlertRoute) -> None:
    incident = open_one(story)
    path = links.acknowledge(incident, channel="ops").partition("8000")[2]
    client = Client(enforce_csrf_checks=True)

    page = client.get(path)
    assert "kraken is unreachable" in page.content.decode()
    assert page["Cache-Control"] == "no-store"
    assert "script-src 'none'" in page["Content-Security-Policy"]
    client.head(path)
    incident.refresh_from_db()
    assert incident.acknowledged_by == ""

    token = page.content.decode().partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    done = client.post(path, {"csrfmiddlewaretoken": token, "name": "anna", "hours": "2"})
    incident.refresh_from_db()
    assert done.status_code == 200
    assert incident.acknowledged_by == "anna (by ops)"


@pytest.mark.parametrize("token", ["", "x", "WzEsIm9wcyJd:1abc:xxxxxxxx", "a" * 900])
def test_a_link_of_others_does_nothing(db: None, token: str) -> None:
    assert Client().get(f"/incidents/acknowledge/{token}").status_code in (404, 410)


# --- configuration --------------------------------------------------------------------------------------------------


def test_a_channel_is_made_tested_and_verified(call: Caller) -> None:
    made = call(
        "post",
        "channels/",
        {"name": "hook", "kind": "webhook", "address": "http://127.0.0.1:9/x?token=abc"},
        status=201,
    )
    assert made["signing_secret"].startswith("whsec_")
    assert "abc" not in json.dumps({**made, "signing_secret": ""})
    channel = AlertChannel.objects.get()
    assert addresses.opened(channel)["url"].endswith("token=abc")

    call("post", f"channels/{made['id']}/test", {})
    channel.refresh_from_db()
    call("post", f"channels/{made['id']}/test", {"code": "000000x"}, status=400)
    assert call("post", f"channels/{made['id']}/test", {"code": channel.code})["is_verified"]
    assert call("get", f"channels/{made['id']}")["verified_at"]
    assert "abc" not in " ".join(AuditEntry.objects.values_list("why", flat=True))


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("email", "nobody"),
        ("email", "a@b.example\nBcc: x@y.example"),
        ("webhook", "ftp://x.example"),
        ("webhook", "http://u:p@127.0.0.1/"),
        ("webhook", "http://169.254.169.254/"),
        ("pagerduty", "short"),
        ("ntfy", "http://127.0.0.1/"),
        ("apprise", "json://127.0.0.1/"),
        ("apprise", "mailto://a:b@c.example"),
        ("apprise", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=file:///etc/passwd"),
        ("pigeon", "north"),
        ("webhook", ""),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_never_repeated(call: Caller, kind: str, address: str) -> None:
    refusal = call("post", "channels/", {"name": "x", "kind": kind, "address": address}, status=400)

    assert "u:p@" not in json.dumps(refusal)
    assert not AlertChannel.objects.exists()


ROUTE = {
    "name": "night",
    "match": {"exchanges": ["kraken"], "severities": ["critical"]},
    "steps": [{"after_seconds": 60, "channels": ["ops"], "repeat_seconds": 3600}],
    "quiet_hours": {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"},
    "shortest_seconds": 30,
}


def test_a_route_is_made_changed_and_deleted(call: Caller) -> None:
    make_channel()
    made = call("post", "routes/", ROUTE, status=201)
    assert made["match"] == {"exchanges": ["kraken"], "kinds": [], "severities": ["critical"], "pairs": []}
    changed = call("patch", f"routes/{made['id']}", {"match": {"pairs": ["BTC/USDT"]}, "is_enabled": False})
    assert (changed["match"]["pairs"], changed["match"]["exchanges"], changed["is_enabled"]) == (
        ["BTC/USDT"],
        ["kraken"],
        False,
    )
    call("delete", f"channels/{AlertChannel.objects.get().pk}", status=409)
    call("delete", f"routes/{made['id']}", status=204)
    assert not AlertRoute.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": []},
        {"steps": [{"channels": ["nobody"]}]},
        {"steps": [{"channels": ["ops"], "repeat_seconds": 1}]},
        {"steps": [{"channels": ["ops"], "after_seconds": -1}]},
        {"match": {"kinds": ["venue"]}},
        {"match": {"pairs": ["btcusdt"]}},
        {"match": {"exchanges": ["a b"]}},
        {"quiet_hours": {"from": "25:00", "to": "07:00"}},
        {"quiet_hours": {"from": "22:00", "to": "07:00", "zone": "Nowhere/At_all"}},
        {"quiet_hours": {"from": "22:00", "to": "07:00", "zone": "../etc/passwd"}},
        {"shortest_seconds": 10**9},
    ],
)
def test_a_route_that_leads_nowhere_is_refused(call: Caller, wrong: dict[str, Any]) -> None:
    make_channel()
    call("post", "routes/", {**ROUTE, **wrong}, status=400)


def test_planned_work_is_made_and_expires_by_itself(call: Caller) -> None:
    now = clock.now()
    hours = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=2)).isoformat()}
    made = call("post", "maintenance/", {"reason": "move", **hours}, status=201)
    assert (made["created_by"], made["expires_at"]) == ("admin key", made["ends_at"])
    weekly = call("post", "maintenance/", {"reason": "w", "rrule": "FREQ=WEEKLY;BYDAY=SU", **hours}, status=201)
    assert weekly["expires_at"] > made["expires_at"]
    for wrong in (
        {"rrule": "FREQ=SECONDLY"},
        {"rrule": "FREQ=DAILY;INTERVAL=0"},
        {"rrule": "nonsense"},
        {"zone": "Nowhere"},
        {"exchanges": ["nobody"]},
        {"ends_at": hours["starts_at"]},
    ):
        call("post", "maintenance/", {"reason": "w", **hours, **wrong}, status=400)


# --- heartbeats of others -------------------------------------------------------------------------------------------


def test_a_heartbeat_that_stops_is_seen(db: None) -> None:
    from incidents import beats
    from incidents.models import Beat

    token = beats.new_token()
    beat = Beat.objects.create(name="backup", token_hash=beats.hash_of(token), period_seconds=60, grace_seconds=30)
    assert list(beats.alarms(clock.now())) == []
    assert Client().get(f"/beat/{token}").status_code == 405
    assert Client().post(f"/beat/{token}").status_code == 200
    assert Client().post(f"/beat/{beats.new_token()}").status_code == 404
    beat.refresh_from_db()

    assert list(beats.alarms(clock.now() + timedelta(seconds=80))) == []
    (late,) = beats.alarms(clock.now() + timedelta(seconds=100))
    assert (late.what, late.cause) == ("backup gives no sign of life", f"heartbeat {beat.pk}")


# --- drills ---------------------------------------------------------------------------------------------------------


def test_a_drill_goes_the_real_way_marked_and_ends(story: Story, call: Caller) -> None:
    from incidents import drills, messages
    from incidents.rules.verdict import Tone
    from incidents.signs import telling

    make_channel()
    route = make_route(exchanges=["luno"], severities=["info"])
    assert not telling.is_nobody_sending(clock.now() + timedelta(hours=1))
    opened = call("post", f"routes/{route.pk}/drill", status=201)
    now = clock.now()
    assert not telling.is_nobody_sending(now)
    assert telling.is_nobody_sending(now + timedelta(seconds=61))
    (row,) = claims.claim(most=5, busy=[], now=now)
    message = messages.of(row, now)

    assert (opened["is_drill"], message.is_drill, message.body["is_drill"]) == (True, True, True)
    assert message.title.startswith("DRILL ")
    claims.record(row, SendOutcome(is_good=True), now)
    assert drills.end_old(now) == 0
    assert drills.end_old(now + drills.LASTS) == 1
    assert Delivery.objects.get(state="queued").event == "healed"
    assert telling.alarms(now) == []
    (old,) = (each for each in telling.alarms(now + timedelta(days=31)) if each.cause == "drill")
    assert old.tone == Tone.UNKNOWN
