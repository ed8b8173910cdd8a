"""Whatever is sent to the admin, it never answers 500, and its log says nothing of keys."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import JSONField
from django.test import Client

import marketmon.urls  # noqa: F401  (its import registers the admin's pages)
from access import keys
from access.models import ApiKey, Tier
from lib import clock
from lib.admin_pages import PageAdmin
from tests.admin.fuzz import admin_places, fuzz
from tests.api.conftest import Fill
from web.redaction import clean_text

KEYS = "/admin/access/apikey/"
PLANS = import_module("access.migrations.0002_tiers").TIERS


@pytest.fixture
def key(db: None) -> ApiKey:
    values = next(each for each in PLANS if each["name"] == "pro")
    tier, _ = Tier.objects.get_or_create(name="pro", defaults=values)  # tests with real commits empty the table
    made = ApiKey(name="desk", tier=tier, created_at=clock.now(), scopes=["pairs"], allowed_ips=["127.0.0.1"])
    return keys.save_new(made).key


@pytest.fixture
def browser(operator: Client) -> Client:
    operator.raise_request_exception = False
    return operator


def test_all_pages_are_of_one_kind() -> None:
    assert [type(pages) for pages in admin.site._registry.values() if not isinstance(pages, PageAdmin)] == []


@pytest.mark.parametrize("seed", [1])  # many more in the lab
def test_nonsense_is_never_a_failure_of_ours(operator: Client, world: Fill, key: ApiKey, seed: int) -> None:
    world(4)

    found = fuzz(operator, requests=2 * len(list(admin_places())), seed=seed)

    assert found.failures == []
    assert found.statuses[200] > 20


def test_emptied_scopes_mean_all(browser: Client, key: ApiKey) -> None:
    ApiKey.objects.update(scopes=["pairs"], allowed_ips=["127.0.0.1"])
    form = {"name": "desk", "tier": "pro", "allowed_ips": "", "expires_at_0": "", "expires_at_1": ""}

    response = browser.post(f"{KEYS}{key.pk}/change/", form)

    assert response.status_code == 302
    key.refresh_from_db()
    assert (key.scopes, key.allowed_ips) == ([], [])


def test_every_emptied_json_field_is_its_empty_value(rf: Any) -> None:
    for model, pages in admin.site._registry.items():
        for column in model._meta.get_fields():
            if isinstance(column, JSONField) and column.editable and not column.null:
                field = pages.formfield_for_dbfield(column, rf.get("/"))
                field.required = False
                assert field.clean("") == column.get_default(), column


@pytest.mark.parametrize("name", ["scopes", "allowed_ips"])
@pytest.mark.parametrize(
    "text", ['["\\u0000"]', '["\\ud800"]', '{"a": NaN}', "9" * 5000, "[" * 100_000, "x"], ids=lambda text: text[:10]
)
def test_what_a_key_cannot_have_is_refused_at_its_field(browser: Client, key: ApiKey, name: str, text: str) -> None:
    form = {"name": "desk", "tier": "pro", name: text}

    response = browser.post(f"{KEYS}{key.pk}/change/", form)

    assert response.status_code == 200
    assert name in response.context["adminform"].form.errors


@pytest.mark.parametrize("verb", ["pause", "resume", "revoke", "rotate"])
@pytest.mark.parametrize("text", ["x", "1.5", "\u0663", "9" * 40, "9" * 5000])
def test_a_verb_for_what_is_no_key_is_not_found(browser: Client, key: ApiKey, verb: str, text: str) -> None:
    assert browser.post(f"{KEYS}{text}/{verb}/", {"_form_submitted": "True"}).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        *("secret_hash=0x10", "secret_hash__startswith=x", "previous_hash__isnull=0", "pepper_number=1"),
        *("tier__keys__secret_hash=x", "name__regex=.*", "allowance__credits_used__gt=5", "public_id__startswith=a"),
    ],
)
def test_lists_are_filtered_by_what_they_declare_only(browser: Client, key: ApiKey, query: str) -> None:
    assert browser.get(f"{KEYS}?{query}").status_code == 400


@pytest.mark.parametrize("query", ["tier__name__exact=pro", "q=desk", "o=1", "p=1", "e=1"])
def test_what_they_declare_works(browser: Client, key: ApiKey, query: str) -> None:
    response = browser.get(f"{KEYS}?{query}")

    assert response.status_code == 200
    assert "desk" in response.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "collectors/gap/?pipeline__market__exchange__id__exact=kraken",
        "collectors/run/?exchange__id__exact=kraken",
        "collectors/pipeline/?market__exchange__id__exact=kraken",
        "exchanges/market/?exchange__id__exact=kraken",
        "exchanges/marketblacklistentry/?running=yes&market__exchange__id__exact=kraken",
    ],
)
def test_what_our_own_pages_link_to_is_declared(browser: Client, world: Fill, query: str) -> None:
    assert browser.get(f"/admin/{query}").status_code == 200


@pytest.mark.parametrize("value", ["{}", "x", "9" * 40])
def test_a_librarys_filter_takes_no_nonsense(browser: Client, value: str) -> None:
    assert browser.get(f"/admin/auditlog/logentry/?resource_type={value}").status_code in (200, 302)


def test_nobody_deletes_the_account_they_use(browser: Client) -> None:
    """That was a 500: the deletion was to be recorded under a user who was gone."""
    own = User.objects.get(username="olga")
    chosen = {"action": "delete_selected", "_selected_action": [own.pk], "post": "yes"}

    assert browser.post(f"/admin/auth/user/{own.pk}/delete/", {"post": "yes"}).status_code == 403
    assert browser.post("/admin/auth/user/", chosen).status_code == 403
    assert User.objects.filter(pk=own.pk).exists()


def test_others_accounts_are_deleted(browser: Client) -> None:
    other = User.objects.create_user("rita")

    browser.post(f"/admin/auth/user/{other.pk}/delete/", {"post": "yes"})

    assert not User.objects.filter(pk=other.pk).exists()


def test_what_the_database_says_of_a_refused_row_is_not_logged(key: ApiKey) -> None:
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        ApiKey.objects.filter(pk=key.pk).update(scopes=None)

    told = clean_text(f"before\n{refused.value}after", keep_lines=True)
    assert bytes(key.secret_hash).hex()[:20] in str(refused.value)
    assert bytes(key.secret_hash).hex()[:20] not in told
    assert told.startswith("before\nnull value in column")
