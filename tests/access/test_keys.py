"""Keys as rows, files, pages and commands; and that their secrets are nowhere but where they were shown."""

from __future__ import annotations

import io
import logging
import re
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from access import checks, demo, keys
from access.models import ApiKey, Tier
from lib import clock
from tests.status.conftest import NOW, Venue

TEXT = re.compile(r"mm_[a-z0-9]{8}_[A-Za-z0-9_-]{32}")


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root", password="a long password"))
    return client


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("apikey", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def row(text: str) -> ApiKey:
    return ApiKey.objects.get(public_id=text[3:11])


def works(client: Client, text: str) -> bool:
    keys.key_cache.forget()
    return client.get("/v1/limits", headers={"X-API-Key": text}).status_code == 200


# --- hashing ----------------------------------------------------------------------------------------------------


def test_a_stored_key_holds_no_part_of_its_secret(key_of: Callable[..., str]) -> None:
    text = key_of("pro")
    secret = text[12:]
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM access_apikey k")
        stored = cursor.fetchone()[0]

    assert TEXT.fullmatch(text)
    assert secret not in stored
    assert secret.encode().hex() not in stored


def test_another_secret_key_makes_every_key_worthless(
    settings: Any, client: Client, key_of: Callable[..., str]
) -> None:
    text = key_of("pro")
    assert works(client, text)

    settings.SECRET_KEY = "another-secret-key-" * 4

    assert not works(client, text)


def test_a_new_pepper_is_taken_up_with_the_next_use(
    noon: Any, settings: Any, client: Client, key_of: Callable[..., str]
) -> None:
    text = key_of("pro")
    settings.API_KEY_PEPPERS = {"1": "p" * 40}
    assert works(client, text)
    assert row(text).pepper_number == 1

    settings.SECRET_KEY = "another-secret-key-" * 4

    assert works(client, text)


def test_an_earlier_secret_key_is_good_until_the_next_use(
    noon: Any, settings: Any, client: Client, key_of: Callable[..., str]
) -> None:
    used, unused = key_of("pro"), key_of("pro")
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-secret-key-" * 4
    assert works(client, used)

    settings.SECRET_KEY_FALLBACKS = []

    assert (works(client, used), works(client, unused)) == (True, False)


def test_keys_that_still_need_an_earlier_pepper_are_named(
    noon: Any, settings: Any, client: Client, key_of: Callable[..., str]
) -> None:
    used, unused = key_of("pro"), key_of("pro")
    settings.API_KEY_PEPPERS = {"1": "p" * 40}
    assert works(client, used)

    assert [key.prefix for key in keys.with_earlier_peppers()] == [row(unused).prefix]


def test_an_unknown_key_costs_one_hash(monkeypatch: pytest.MonkeyPatch, client: Client, key_of: Any) -> None:
    hashed: list[str] = []
    real = keys.hash_secret
    monkeypatch.setattr(keys, "hash_secret", lambda secret, number: hashed.append(secret) or real(secret, number))

    client.get("/v1/limits", headers={"X-API-Key": "mm_abcdefgh_" + "x" * 32})
    client.get("/v1/limits", headers={"X-API-Key": "rubbish"})

    assert len(hashed) == 2


@pytest.mark.parametrize("peppers", [{"one": "x" * 40}, {"1": "short"}], ids=str)
def test_bad_peppers_stop_start_up(settings: Any, peppers: dict[str, str]) -> None:
    settings.API_KEY_PEPPERS = peppers

    assert checks.check_peppers(None)


def test_bad_proxies_stop_start_up(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/99"]

    assert checks.check_proxies(None)


# --- demo keys --------------------------------------------------------------------------------------------------


def test_demo_keys_are_made_once_in_a_private_file(tmp_path: Path, client: Client, db: None) -> None:
    path = demo.ensure_demo_keys(tmp_path, now=clock.now())
    again = demo.ensure_demo_keys(tmp_path, now=clock.now())

    assert (path, again) == (tmp_path / "demo_keys.env", None)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert list(lines) == ["DEMO_KEY_FREE", "DEMO_KEY_PRO", "DEMO_KEY_BUSINESS"]
    plans = [client.get("/v1/limits", headers={"X-API-Key": text}).json()["plan"] for text in lines.values()]
    assert plans == ["free", "pro", "business"]


def test_demo_keys_are_not_added_to_real_ones(tmp_path: Path, key_of: Callable[..., str]) -> None:
    key_of("pro")

    assert demo.ensure_demo_keys(tmp_path, now=clock.now()) is None
    assert list(tmp_path.iterdir()) == []


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_makes_rotates_and_ends_keys(client: Client, db: None) -> None:
    first = command("create", "desk", "--tier", "pro", "--scope", "limits")
    second = command("rotate", first[:11], "--overlap-hours", "1")
    assert works(client, first)
    assert works(client, second)

    command("pause", first[:11])
    assert not works(client, second)
    command("resume", first[:11])
    assert works(client, second)
    command("revoke", first[:11])
    assert not works(client, second)

    listed = command("list")
    assert first[:11] in listed
    assert "revoked" in listed
    assert first[12:] not in listed
    assert second[12:] not in listed


@pytest.mark.parametrize(
    "arguments",
    [("create", "x", "--tier", "gold"), ("revoke", "mm_nobody"), ("create", "x", "--allow", "10.0.0.0/99")],
    ids=str,
)
def test_the_command_explains_what_is_wrong(db: None, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        command(*arguments)


# --- the admin --------------------------------------------------------------------------------------------------


def test_the_admin_shows_a_new_key_once(staff: Client) -> None:
    form = {"name": "desk", "tier": "pro"}
    page = staff.post(reverse("admin:access_apikey_add"), form)
    text = TEXT.search(page.content.decode())

    assert page.status_code == 200
    assert text is not None
    assert "no-store" in page.headers["Cache-Control"]
    assert works(Client(), text[0])
    key = row(text[0])
    for address in (
        reverse("admin:access_apikey_changelist"),
        reverse("admin:access_apikey_change", args=[key.pk]),
        reverse("admin:access_apikey_history", args=[key.pk]),
        reverse("admin:access_creditentry_changelist"),
        reverse("admin:index"),
    ):
        shown = staff.get(address)
        assert shown.status_code == 200, address
        assert text[0][12:] not in shown.content.decode()


def test_the_admin_rotates_with_an_overlap(staff: Client, key_of: Callable[..., str]) -> None:
    old = key_of("pro")
    address = reverse("admin:access_apikey_rotate_key", args=[row(old).pk])
    assert staff.get(address).status_code == 200

    page = staff.post(address, {"overlap_hours": "0"}).content.decode()
    new = TEXT.search(page)

    assert new is not None
    assert works(Client(), new[0])
    assert not works(Client(), old)


def test_the_admin_edits_without_touching_the_secret(staff: Client, key_of: Callable[..., str]) -> None:
    text = key_of("pro")
    form = {
        "name": "renamed",
        "tier": "business",
        "scopes": ["limits", "pairs"],
        "allowed_ips": "127.0.0.1, ::1\n10.0.0.0/8",
    }

    staff.post(reverse("admin:access_apikey_change", args=[row(text).pk]), form)

    assert (row(text).name, sorted(row(text).scopes)) == ("renamed", ["limits", "pairs"])
    assert row(text).allowed_ips == ["127.0.0.1", "::1", "10.0.0.0/8"]
    page = staff.get(reverse("admin:access_apikey_change", args=[row(text).pk])).content.decode()
    assert "127.0.0.1\n::1\n10.0.0.0/8" in page
    assert page.count("checked") >= 2
    assert works(Client(), text)


def test_the_admin_draws_use_by_day(staff: Client, key_of: Callable[..., str]) -> None:
    text = key_of("pro")
    staff.get("/v1/limits", headers={"X-API-Key": text})

    page = staff.get(reverse("admin:access_apikey_change", args=[row(text).pk])).content.decode()

    assert "last 30 days" in page


def test_verbs_need_the_right_to_change(client: Client, key_of: Callable[..., str]) -> None:
    client.force_login(User.objects.create_user("reader", password="x" * 20, is_staff=True))

    answer = client.post(reverse("admin:access_apikey_rotate_key", args=[row(key_of("pro")).pk]), {"overlap_hours": 0})

    assert answer.status_code == 403


# --- the canary -------------------------------------------------------------------------------------------------


@pytest.fixture
def stderr() -> Iterator[io.StringIO]:
    """What our log handler writes, after its filters."""
    handler = next(each for each in logging.getLogger().handlers if each.name == "stderr")
    assert isinstance(handler, logging.StreamHandler)
    seen = io.StringIO()
    before = handler.setStream(seen)
    yield seen
    handler.setStream(before)


def test_a_key_is_found_in_no_log_no_error_and_no_page(
    stderr: io.StringIO,
    staff: Client,
    venue: Callable[..., Venue],
    key_of: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    venue("luno").market("BTC", "NGN", age=5)
    text = key_of("free")
    secret = text[12:]
    bodies = []
    for path in (
        "/v1/status",
        "/v1/status/pairs",
        "/v1/status/pipelines",
        "/v1/rates/live",
        "/v1/nothing",
        "/v1/limits",
    ):
        for query in ({}, {"api-key": text}, {"api_key": text}, {"source": text}, {"after": text}, {"pairs": text}):
            for headers in ({}, {"X-API-Key": text}, {"Authorization": f"Bearer {text}"}, {"X-Correlation-ID": text}):
                bodies.append(staff.get(path, query, headers=headers))
            bodies.append(staff.post(path, {"api_key": text}, query_params=query))

    monkeypatch.setattr("access.gate.enter", lambda *_: (_ for _ in ()).throw(RuntimeError(f"broken by {text}")))
    bodies.append(staff.get("/v1/status", {"api-key": text}))
    logged = stderr.getvalue()

    assert bodies[-1].status_code == 500
    assert "status_failed" in logged
    assert [body for body in bodies if secret in body.content.decode()] == []
    assert secret not in logged
    assert not LogEntry.objects.filter(change_message__contains=secret).exists()


def test_tiers_are_rows(db: None) -> None:
    tiers = Tier.objects.order_by("rank").values_list("name", "requests_per_minute")

    assert list(tiers) == [("free", 10), ("pro", 120), ("business", 600)]


def test_expired_keys_are_named_so(noon: Any, key_of: Callable[..., str]) -> None:
    text = key_of("pro", expires_at=NOW + timedelta(seconds=1))

    assert [keys.state(row(text), NOW + timedelta(seconds=age)) for age in (0, 1)] == ["active", "expired"]
