"""Who changed something is known, though nobody is asked before something changes."""

from __future__ import annotations

from auditlog.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client


def test_a_change_has_its_author(db: None) -> None:
    olga = User.objects.create_superuser("olga", password="correct horse battery")
    paul = User.objects.create_user("paul", email="paul@example.com")
    client = Client()
    client.force_login(olga)
    page = client.get(f"/admin/auth/user/{paul.pk}/change/").context["adminform"].form.initial
    form = {
        name: value for name, value in page.items() if value and name not in ("date_joined", "last_login", "password")
    }
    joined = page["date_joined"]
    form |= {"email": "p@example.com", "date_joined_0": joined.date(), "date_joined_1": joined.time()}

    answer = client.post(f"/admin/auth/user/{paul.pk}/change/", form)

    entry = LogEntry.objects.get_for_object(paul).first()
    assert answer.status_code == 302
    assert entry is not None
    assert (entry.actor, list(entry.changes)) == (olga, ["email"])
    assert entry.actor_email == olga.email


def test_a_change_by_nobody_has_none(db: None) -> None:
    paul = User.objects.create_user("paul")

    Client().get("/live")
    paul.email = "p@example.com"
    paul.save()

    assert LogEntry.objects.get_for_object(paul).latest("timestamp").actor is None
