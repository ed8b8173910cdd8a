"""Wrong settings of keys and proxies stop start-up, each with an id and a hint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from access import keys
from access.addresses import networks

PEPPER_MIN_CHARACTERS = 32


@register("access")
def check_peppers(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    hint = f"Set API_KEY_PEPPERS=1=<{PEPPER_MIN_CHARACTERS} or more random characters>,2=…, or leave it out."
    try:
        peppers = keys.configured_peppers()
    except ValueError:  # its words would repeat what may be a pepper
        return [Error("API_KEY_PEPPERS has something else than a number before a pepper.", hint=hint, id="access.E001")]
    short = sorted(number for number, pepper in peppers.items() if len(pepper) < PEPPER_MIN_CHARACTERS)
    if short:
        return [Error(f"API_KEY_PEPPERS has short peppers: {short}", hint=hint, id="access.E002")]
    return []


@register("access")
def check_proxies(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        networks(settings.TRUSTED_PROXIES)
    except ValueError as error:
        return [Error(f"TRUSTED_PROXIES: {error}", hint="Set networks like 10.0.0.0/8,::1/128.", id="access.E003")]
    return []


@register("access", deploy=True)
def check_admin_key(**_: Any) -> list[CheckMessage]:
    from access import admin_key  # a view's, with all that views need: most processes have none

    fault = admin_key.find_fault(settings.ADMIN_API_KEY)
    if not fault or "ADMIN_API_KEY" in settings.WITHHELD:
        return []
    hint = "Set it to: python -c 'import secrets; print(secrets.token_urlsafe(36))'"
    ids = {"not set": "exchanges.E010", "less than": "exchanges.E011", "well-known": "exchanges.E012"}
    code = next(code for words, code in ids.items() if words in fault)
    return [Error(f"{fault}: the routes that manage exchanges answer 503.", hint=hint, id=code)]
