"""The settings of sign-in, and what Django and allauth are told because of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.environment import CHOICE, MAPPING, SECRET, TEXT, WEB_ADDRESS, Combination, Setting

PROVIDER_ID = (
    "oidc"  # part of the callback's address, which the other side is told: /accounts/oidc/oidc/login/callback/
)
HTTP_SECONDS = 5

SETTINGS = (
    Setting(
        "SECOND_FACTOR", CHOICE, "OFF",
        "codes of an app after the password: `optional` for each person, or `required` of all who sign in by password",
        words=("OFF", "OPTIONAL", "REQUIRED"),
    ),
    Setting(
        "OIDC_SERVER_URL", WEB_ADDRESS, "",
        "the address of an OpenID Connect server, before `/.well-known/`; set it and people can sign in there, too",
        usually="none",
    ),
    Setting("OIDC_CLIENT_ID", TEXT, "", "who we are to it"),
    Setting(
        "OIDC_CLIENT_SECRET", SECRET, "", "and the proof", is_secret=True, usually="none",
        needed_by=("web", "backup", "prepare"),
    ),
    Setting("OIDC_NAME", TEXT, "single sign-on", "what the button on the sign-in page calls it"),
    Setting(
        "OIDC_ROLES", MAPPING, {},
        "`traders=viewer,market-ops=operator`: which of its groups may sign in, and the group of ours that each gets; "
        "empty: only people who are there already",
    ),
    Setting("OIDC_ROLES_CLAIM", TEXT, "groups", "the claim in which it names them"),
)  # fmt: skip

COMBINATIONS = (
    Combination(
        ("OIDC_SERVER_URL",),
        lambda address: not address or address.startswith(("https://", "http://127.0.0.1", "http://localhost")),
        "who signs in must not be told in clear text: an https address",
    ),
)


def apps(value: Mapping[str, Any]) -> list[str]:
    """Returns allauth's applications, none more than is used: their tables are made by `manage.py prepare`."""
    found = ["allauth", "allauth.account", "allauth.usersessions"]
    if value["SECOND_FACTOR"] != "OFF":
        found.append("allauth.mfa")
    if value["OIDC_SERVER_URL"]:
        found += ["allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"]
    return found


def settings(value: Mapping[str, Any]) -> dict[str, Any]:
    """Returns allauth's settings. Nobody signs up by themselves, and no mail is sent."""
    server = {
        "provider_id": PROVIDER_ID,
        "name": value["OIDC_NAME"],
        "client_id": value["OIDC_CLIENT_ID"],
        "secret": value["OIDC_CLIENT_SECRET"],
        "settings": {"server_url": value["OIDC_SERVER_URL"]},
    }
    return {
        "SECOND_FACTOR": value["SECOND_FACTOR"],
        "OIDC_SERVER_URL": value["OIDC_SERVER_URL"],
        "OIDC_NAME": value["OIDC_NAME"],
        "OIDC_ROLES": {group: role.strip() for group, role in value["OIDC_ROLES"].items()},
        "OIDC_ROLES_CLAIM": value["OIDC_ROLES_CLAIM"],
        "ACCOUNT_ADAPTER": "marketmon.sign_in.adapters.Accounts",
        "ACCOUNT_LOGIN_METHODS": {"username"},
        "ACCOUNT_SIGNUP_FIELDS": ["username*", "password1*"],
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        "ACCOUNT_REAUTHENTICATION_TIMEOUT": 300,
        "MFA_ADAPTER": "marketmon.sign_in.second_factor.SealedFactors",
        "MFA_TOTP_ISSUER": "marketmon",
        "MFA_TOTP_TOLERANCE": 1,  # a telephone's clock may be half a minute off
        "MFA_SUPPORTED_TYPES": ["totp", "recovery_codes"],
        "SOCIALACCOUNT_ADAPTER": "marketmon.sign_in.oidc.OwnServer",
        "SOCIALACCOUNT_PROVIDERS": {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [server]}},
        "SOCIALACCOUNT_EMAIL_AUTHENTICATION": True,
        "SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT": True,
        "SOCIALACCOUNT_LOGIN_ON_GET": True,  # a form's redirect to another host is what our policy forbids
        "SOCIALACCOUNT_REQUESTS_TIMEOUT": HTTP_SECONDS,
    }
