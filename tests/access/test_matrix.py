"""Who may do what: every route, by every kind of caller, with every method. The right answers stand once, in RIGHTS.

Routes are found in the URLconf, so that a new one fails here until somebody has said who may use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from tests.board.test_roles import made

__all__ = ["made"]

READ, WRITE = ("get",), ("post", "put", "patch", "delete")
METHODS = (*READ, *WRITE)
VIEWER, OPERATOR, SUPERUSER, ADMIN_KEY, API_KEY, UNSCOPED_KEY, ANONYMOUS = CALLERS = (
    "viewer", "operator", "superuser", "admin key", "API key", "API key without the scope", "anonymous",
)  # fmt: skip
EVERYBODY = frozenset(CALLERS)
NOBODY: frozenset[str] = frozenset()
STAFF = frozenset({VIEWER, OPERATOR, SUPERUSER})
OPERATORS = frozenset({OPERATOR, SUPERUSER})
MANAGERS = OPERATORS | {ADMIN_KEY}


@dataclass(frozen=True)
class Right:
    """A family of routes, who may read there, who may write, and with which methods where the view does not tell."""

    paths: str
    readers: frozenset[str]
    writers: frozenset[str] = NOBODY
    methods: tuple[str, ...] = READ


RIGHTS = (
    Right(r"(health|live|ready)", EVERYBODY),
    Right(r"|admin|favicon\.ico", EVERYBODY, EVERYBODY),  # they only say where to go
    Right(r"status|status\.(json|rss)|badge/.*", EVERYBODY),
    Right(r"api/(schema|docs|v1)", EVERYBODY),
    Right(r"api/v1/(market|exchanges)/workers/status", EVERYBODY),
    Right(r"api/v1/exchanges/(config|supported)", EVERYBODY),
    # The state of collection is open; what is done to it is not.
    Right(
        r"api/v1/(exchanges|markets|workers|pipelines|transitions)(/(1|nowhere))?",
        EVERYBODY,
    ),
    # What is stored is open, too; a key whose scopes do not name it may not.
    Right(
        r"api/v1/(runs|gaps|orderbooks|trades|funding)(/(1|nowhere))?|api/v1/(pipelines/1/history|trades/holes)",
        EVERYBODY - {UNSCOPED_KEY},
    ),
    Right(r"api/v1/exchanges/(refresh|(add|blacklist)/(nowhere)?|workers/?(/nowhere/)?restart)", NOBODY, MANAGERS),
    Right(r"api/v1/exchanges/nowhere/(ask-again|accept-list)", NOBODY, MANAGERS),
    Right(r"api/v1/exchanges/nowhere/(settings|checks)", MANAGERS | {VIEWER}, MANAGERS),
    Right(r"api/v1/(gaps|ticks|rollups)/export", STAFF | {ADMIN_KEY, API_KEY}),
    Right(r"api/v1/(incidents|maintenance|channels|routes|objectives)(/1(/\w+)?)?", STAFF | {ADMIN_KEY}, MANAGERS),
    Right(r"api/v1/objectives/reports(/2026-11\.json)?", STAFF | {ADMIN_KEY}),
    Right(r"beat/TOKEN-of-somebody-else", NOBODY, EVERYBODY, ("post",)),
    Right(
        r"incidents/acknowledge/TOKEN-of-somebody-else", EVERYBODY, EVERYBODY, ("get", "post")
    ),  # whoever was sent the link
    Right(r"v1/(status(/pairs|/pipelines)?|rates/live|sources)", frozenset({API_KEY})),
    Right(r"v1/limits", frozenset({API_KEY, UNSCOPED_KEY})),
    Right(r"docs(/(img/no.png|apis))?", EVERYBODY),
    Right(r"api/v1/(candles|quality(/calendar)?)", EVERYBODY - {UNSCOPED_KEY}),
    # Nobody here has the webhook's token, and without it these are closed.
    Right(r"metrics(/collect|/history)?|regime/(current|analyze)|grids/(status|create)", NOBODY),
    Right(r"board/act/restart/nowhere|board/drills/start|board/drills/1/stop", NOBODY, OPERATORS, ("post",)),
    Right(r"board(/.*)?", STAFF),
)
UNEXPECTED = b"Unexpected failure"  # other answers 500 are documented
REFUSED, NO_METHOD = (401, 403), 405


def routes(patterns: Any, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from routes(each.url_patterns, before + str(each.pattern))
        else:
            yield before + str(each.pattern), each


def example(pattern: str) -> str:
    """A path that the pattern takes."""
    text = re.sub(r"\(\?P<(exchange|exchange_id)>(?:[^()]|\([^()]*\))*\)|<slug:exchange_id>", "nowhere", pattern)
    text = re.sub(r"\(\?P<pk>\[a-z[^()]*\)", "nowhere", text)
    text = re.sub(r"\(\?P<verb>\w+\|[^()]*\)", "restart", text)
    text = re.sub(r"\(\?P<(pk|number|market)>[^()]*\)", "1", text)
    text = re.sub(r"\(\?P<month>[^()]*\)\\\.\(\?P<form>[^()]*\)", "2026-11.json", text)
    text = re.sub(r"\(\?P<token>[^()]*\)", "TOKEN-of-somebody-else", text)
    text = re.sub(r"\(\?P<name>\[a-z0-9_-\][^()]*png\)", "no.png", text)
    text = re.sub(r"\(\?P<name>\[a-z0-9-\][^()]*\)", "apis", text)
    text = re.sub(r"\(\?P<name>[^()]*\)|<path:(symbol|name)>", "BTC-USDT", text)
    return (
        text.replace("/*", "/")
        .removesuffix("/?$")
        .strip("^$")
        .replace("/?$", "")
        .replace("\\.", ".")
        .replace("//", "/")
    )


OURS = [
    (example(pattern), route)
    for pattern, route in routes(get_resolver().url_patterns)
    if not pattern.startswith(("admin/", "accounts/")) and ".*" not in pattern
]


def methods_of(route: URLPattern, right: Right) -> frozenset[str]:
    """The methods that the view has."""
    view: Any = route.callback
    if actions := getattr(view, "actions", None):
        return frozenset(actions)
    found = getattr(view, "cls", None) or getattr(view, "view_class", None)
    if found is None:
        return frozenset(right.methods)
    names = getattr(view, "initkwargs", {}).get("http_method_names", found.http_method_names)
    return frozenset(name for name in METHODS if name in names and hasattr(found, name))


@pytest.fixture
def as_(made: None, key_of: Callable[..., str]) -> Callable[[str], Client]:
    def signed_in(name: str) -> Client:
        user = User.objects.create_user(name, is_staff=True, is_superuser=name == SUPERUSER)
        if name != SUPERUSER:
            user.groups.add(Group.objects.get(name=name))
        caller = Client(raise_request_exception=False)
        caller.force_login(user)
        return caller

    def with_header(**headers: str) -> Client:
        return Client(headers=headers, raise_request_exception=False)

    makers: dict[str, Callable[[], Client]] = {
        ADMIN_KEY: lambda: with_header(X_Admin_Key=django_settings.ADMIN_API_KEY),
        API_KEY: lambda: with_header(X_API_Key=key_of("business")),
        UNSCOPED_KEY: lambda: with_header(X_API_Key=key_of("business", scopes=["limits"])),
        ANONYMOUS: lambda: with_header(),
    }
    return lambda name: makers[name]() if name in makers else signed_in(name)


def judged(answer: HttpResponse) -> str:
    """What an answer says of the caller's right; 404 says that there is no such thing, to somebody who may ask."""
    leads_to_sign_in = answer.status_code == 302 and answer["Location"].startswith("/admin/login/")
    if answer.status_code in REFUSED or leads_to_sign_in:
        return "refused"
    return "no such method" if answer.status_code == NO_METHOD else "served"


def right_of(path: str) -> Right | None:
    return next((right for right in RIGHTS if re.fullmatch(right.paths, path)), None)


def test_each_route_has_a_line_in_the_table() -> None:
    assert [path for path, _ in OURS if right_of(path) is None] == []
    assert [right.paths for right in RIGHTS if not any(re.fullmatch(right.paths, path) for path, _ in OURS)] == []


def wrong_answers(client: Client, caller: str, *, beside: frozenset[str]) -> list[str]:
    """Asks each route with the methods that it has and with those `beside`; returns what was not as in the table."""
    wrong = []
    for path, route in OURS:
        right = right_of(path)
        assert right is not None
        has = methods_of(route, right)
        for method in METHODS:
            if method not in has | beside:
                continue
            with transaction.atomic():
                answer = getattr(client, method)(f"/{path}", content_type="application/json")
                transaction.set_rollback(True)
            may = caller in (right.readers if method in READ else right.writers)
            expected = {"served"} if may and method in has else {"refused", "no such method"}
            if judged(answer) not in expected or UNEXPECTED in answer.content:
                wrong.append(f"{method} /{path}: {answer.status_code}, not {' or '.join(sorted(expected))}")
    return wrong


def test_each_example_leads_to_its_route() -> None:
    assert [path for path, route in OURS if resolve(f"/{path}").func is not route.callback] == []


@pytest.mark.parametrize("caller", CALLERS)
def test_nobody_may_more_or_less_than_the_table_says(as_: Callable[[str], Client], settings: Any, caller: str) -> None:
    settings.METRICS_WEBHOOK_TOKEN, settings.METRICS_WEBHOOK_OPEN = "", False

    assert wrong_answers(as_(caller), caller, beside=frozenset({"delete"})) == []
