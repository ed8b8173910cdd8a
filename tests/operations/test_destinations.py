"""Stored credentials go where they were given for: whoever may set an address cannot have them sent there."""

from __future__ import annotations

import importlib
from io import StringIO
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client

from exchanges import destinations, secrets
from exchanges.models import SANDBOX_PLACEHOLDER, AuditEntry, Exchange
from lib import clock
from operations import commands, onboarding
from tests.operations.conftest import Make

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = "/api/v1/exchanges/kraken/settings"
ELSEWHERE = "https://elsewhere.example"
STORED = {"apiKey": "canary-key", "secret": "canary-secret"}


def by() -> dict[str, Any]:
    return {"by": "test", "now": clock.now()}


def kraken() -> Exchange:
    return Exchange.objects.get(pk="kraken")


@pytest.fixture
def secretive(make: Make) -> Exchange:
    """An exchange at the sandbox that has credentials."""
    make("kraken")
    commands.configure("kraken", {"credentials": STORED}, **by())
    return kraken()


# --- every way in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"base_url": ELSEWHERE}, {"base_url": ""}, {"proxy": "http://127.0.0.1:3128"}, {"ca_file": certifi.where()}],
)
def test_an_address_is_not_changed_without_the_credentials(secretive: Exchange, change: dict[str, str]) -> None:
    with pytest.raises(commands.InvalidSettings, match="Send them again"):
        commands.configure("kraken", change, **by())

    assert (kraken().base_url, kraken().proxy, kraken().ca_file) == (SANDBOX_PLACEHOLDER, "", "")


def test_the_api_says_what_is_wanted(secretive: Exchange, operator: Client) -> None:
    refused = operator.patch(SETTINGS, {"base_url": ELSEWHERE, "priority": 1})
    sent_again = operator.patch(SETTINGS, {"base_url": ELSEWHERE, "credentials": {"apiKey": "mine"}})

    assert (refused.status_code, list(refused.json()["details"])) == (400, ["base_url"])
    assert sent_again.json()["changed"] == ["base_url", "credentials"]
    assert kraken().feed_spec().credentials == {"apiKey": "mine"}


def test_credentials_can_be_deleted_with_the_change(secretive: Exchange, operator: Client) -> None:
    assert operator.patch(SETTINGS, {"base_url": ELSEWHERE, "credentials": {}}).status_code == 200

    assert (kraken().base_url, kraken().credentials) == (ELSEWHERE, "")


def test_the_same_address_is_no_change(secretive: Exchange, operator: Client) -> None:
    answer = operator.patch(SETTINGS, {"base_url": SANDBOX_PLACEHOLDER, "proxy": "", "priority": 1})

    assert answer.json()["changed"] == ["priority"]
    assert kraken().feed_spec().credentials == STORED


def test_adding_what_is_there_is_a_change_too(secretive: Exchange) -> None:
    with pytest.raises(commands.InvalidSettings):
        commands.add("kraken", wanted={"base_url": ELSEWHERE}, **by())

    assert kraken().base_url == SANDBOX_PLACEHOLDER


def test_a_removed_one_forgets_them_when_it_comes_back_elsewhere(secretive: Exchange) -> None:
    commands.remove("kraken", **by())

    commands.create("kraken", base_url=ELSEWHERE, **by())

    assert (kraken().base_url, kraken().credentials) == (ELSEWHERE, "")


def test_a_removed_one_keeps_them_when_it_comes_back_to_its_place(secretive: Exchange) -> None:
    commands.remove("kraken", **by())

    commands.create("kraken", base_url=SANDBOX_PLACEHOLDER, **by())

    assert kraken().feed_spec().credentials == STORED


def test_a_file_cannot_lead_them_elsewhere(secretive: Exchange, tmp_path: Path) -> None:
    file, told = tmp_path / "plan.yaml", StringIO()
    file.write_text(f"exchanges:\n  kraken: {{base_url: '{ELSEWHERE}', priority: 1}}\n")

    with pytest.raises(CommandError, match="1 of 1"):
        call_command("exchange", "apply", str(file), stderr=told)

    assert "Send them again" in told.getvalue()
    assert (kraken().base_url, kraken().priority) == (SANDBOX_PLACEHOLDER, 5)


def test_undoing_does_not_lead_them_elsewhere(make: Make) -> None:
    make("kraken")
    commands.configure("kraken", {"base_url": ELSEWHERE}, **by())
    first = AuditEntry.objects.get(verb="configure")
    commands.configure("kraken", {"credentials": STORED}, **by())
    AuditEntry.objects.exclude(pk=first.pk).delete()  # what is later must be undone first, and cannot be

    with pytest.raises(commands.CommandRefused, match="credentials are stored for where it leads now"):
        commands.undo(first.pk, **by())

    assert kraken().base_url == ELSEWHERE


def test_the_admin_wants_them_again(secretive: Exchange, client: Client) -> None:
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(Group.objects.get_or_create(name="operator")[0])
    user.is_superuser = True
    user.save()
    client.force_login(user)
    page = "/admin/exchanges/exchange/kraken/change/"
    form = client.get(page).context["adminform"].form
    kept = {name: form[name].value() for name in form.fields}
    kept = {name: value for name, value in kept.items() if isinstance(value, str | int | float) and value is not False}

    refused = client.post(page, {**kept, "base_url": ELSEWHERE})
    in_part = client.post(page, {**kept, "base_url": ELSEWHERE, "credential_uid": "mine"})

    assert "Enter them again" in str(refused.context["adminform"].form.errors["base_url"])
    assert in_part.status_code == 302
    assert kraken().feed_spec().credentials == {"uid": "mine"}  # nothing of what was stored went along


def test_single_credentials_are_joined_to_those_of_the_same_address(secretive: Exchange) -> None:
    commands.configure("kraken", {"more_credentials": {"uid": "u"}}, **by())
    assert kraken().feed_spec().credentials == {**STORED, "uid": "u"}

    commands.configure("kraken", {"more_credentials": {"uid": "u"}, "base_url": ELSEWHERE}, **by())
    assert kraken().feed_spec().credentials == {"uid": "u"}


def test_trying_another_address_takes_none_of_them_along(secretive: Exchange) -> None:
    elsewhere = onboarding.candidate("kraken", {"base_url": ELSEWHERE})
    by_proxy = onboarding.candidate("kraken", {"proxy": "http://me:word@127.0.0.1:3128"})
    in_place = onboarding.candidate("kraken", {"base_url": SANDBOX_PLACEHOLDER})

    assert (elsewhere.feed_spec().credentials, by_proxy.feed_spec().credentials) == ({}, {})
    assert by_proxy.feed_spec().proxy == "http://me:word@127.0.0.1:3128"
    assert in_place.feed_spec().credentials == STORED


# --- https ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "proxy", "is_clear"),
    [
        ("", "", False),
        ("", "http://proxy.example:3128", False),
        ("https://h.example", "http://proxy.example:3128", False),
        ("http://h.example", "", True),
        ("HTTP://h.example", "", True),
        ("http://10.0.0.1", "", True),
        ("http://127.0.0.1:9100/x", "", False),
        ("http://[::1]:9100", "", False),
        ("http://127.0.0.1:9100", "http://proxy.example:3128", True),
        ("http://127.0.0.1@h.example", "", True),
        (SANDBOX_PLACEHOLDER, "", False),
        (f"{SANDBOX_PLACEHOLDER}/x", "", False),
        (f"{SANDBOX_PLACEHOLDER}.evil.example", "", True),
        (f"http://h.example/{SANDBOX_PLACEHOLDER}", "", True),
    ],
)
def test_what_can_be_read_on_its_way(base_url: str, proxy: str, is_clear: bool) -> None:
    assert destinations.sends_in_clear(base_url, proxy) is is_clear


def test_credentials_are_not_taken_for_an_address_in_clear(make: Make, operator: Client) -> None:
    make("kraken")
    commands.configure("kraken", {"base_url": "http://10.0.0.1"}, **by())

    answer = operator.patch(SETTINGS, {"credentials": STORED})

    assert (answer.status_code, kraken().credentials) == (400, "")
    assert "https only" in answer.content.decode()


def test_an_older_row_with_an_address_in_clear_sends_none(secretive: Exchange) -> None:
    Exchange.objects.filter(pk="kraken").update(base_url="http://h.example")

    assert kraken().feed_spec().credentials == {}


# --- logins of proxies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["me:hush-hush", "token-alone", "me:hu@sh", "me:", ":hush", "me:h%40sh"])
def test_a_proxys_login_is_sealed_and_used(make: Make, login: str) -> None:
    make("kraken", proxy=f"http://{login}@127.0.0.1:3128")

    exchange = kraken()
    assert exchange.proxy == "http://***@127.0.0.1:3128"
    assert login not in exchange.proxy_login
    assert exchange.feed_spec().proxy == f"http://{login}@127.0.0.1:3128"


def test_a_proxy_whose_login_no_key_opens_is_spoken_to_without(make: Make, settings: Any) -> None:
    make("kraken", proxy="http://me:hush-hush@127.0.0.1:3128")
    settings.SECRET_KEY = "another one"

    assert kraken().feed_spec().proxy == "http://127.0.0.1:3128"


def test_a_new_password_alone_is_a_change_and_the_same_is_none(make: Make) -> None:
    make("kraken", proxy="http://me:hush-hush@127.0.0.1:3128")

    assert commands.configure("kraken", {"proxy": "http://me:hush-hush@127.0.0.1:3128"}, **by()) == []
    assert commands.configure("kraken", {"proxy": "http://me:other@127.0.0.1:3128"}, **by()) == ["proxy"]
    assert commands.configure("kraken", {"proxy": ""}, **by()) == ["proxy"]
    assert (kraken().proxy, kraken().proxy_login) == ("", "")


def test_logins_of_before_are_sealed_and_can_come_back(make: Make) -> None:
    migration = importlib.import_module("exchanges.migrations.0016_sealed_proxy_logins")
    make("kraken")
    Exchange.objects.update(proxy="http://me:hu@sh@proxy:3128")

    migration.seal(apps, None)
    assert (kraken().proxy, kraken().proxy_address) == ("http://***@proxy:3128", "http://me:hu@sh@proxy:3128")

    migration.unseal(apps, None)
    assert (kraken().proxy, kraken().proxy_login) == ("http://me:hu@sh@proxy:3128", "")


# --- keys are replaced ------------------------------------------------------------------------------------------------


def test_all_is_sealed_anew_and_the_old_key_can_go(make: Make, settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.CREDENTIALS_KEY = old
    make("kraken", proxy="http://me:hush@127.0.0.1:3128", credentials=secrets.seal({"apiKey": "a"}))
    commands.remove("kraken", **by())
    settings.CREDENTIALS_KEY, told = f"{new},{old}", StringIO()

    call_command("reseal", stdout=told)

    settings.CREDENTIALS_KEY = new
    assert secrets.unseal(kraken().credentials) == {"apiKey": "a"}
    assert kraken().proxy_address == "http://me:hush@127.0.0.1:3128"
    assert "2 secrets are sealed" in told.getvalue()


def test_a_new_secret_key_opens_what_an_earlier_one_has_sealed(make: Make, settings: Any) -> None:
    make("kraken", credentials=secrets.seal({"apiKey": "a"}))
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-secret-key-" * 4
    assert secrets.unseal(kraken().credentials) == {"apiKey": "a"}

    call_command("reseal", stdout=StringIO())

    settings.SECRET_KEY_FALLBACKS = []
    assert secrets.unseal(kraken().credentials) == {"apiKey": "a"}


def test_what_no_key_opens_is_named_and_left_as_it_is(make: Make, settings: Any) -> None:
    sealed = secrets.seal({"apiKey": "a"})
    make("kraken", credentials=sealed)
    settings.SECRET_KEY = "another-secret-key-" * 4

    with pytest.raises(CommandError, match="credentials of kraken"):
        call_command("reseal", stdout=StringIO())

    assert kraken().credentials == sealed
