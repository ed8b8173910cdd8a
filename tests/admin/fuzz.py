"""Nonsense for every page of the admin, found by introspection: whatever is sent, no answer may be a 500.

`fuzz` sends a given number of requests from a seed; the tests send some hundreds, a long run as many as it likes.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib import admin
from django.db import connections, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

import marketmon.urls  # noqa: F401  (its import registers the admin's pages)

NONSENSE = [
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "0x10",
        "1.5",
        "x",
        "{}",
        "[]",
        "null",
        "NaN",
        "1e999",
        "true",
        "\u00b2",
        "\u0663",
        "\uff4f",
        "é" * 70,
    ),
    *(
        "9" * 19,
        "9" * 40,
        "9" * 5000,
        "-" * 300,
        "a" * 300,
        "a" * 70_000,
        "2026-02-30",
        "9999-12-31 23:59:59",
        "0001-01-01",
    ),
    *(
        '["\\ud800"]',
        '"\\ud800"',
        '["\\u0000"]',
        '{"a": NaN}',
        '{"a": 1e999}',
        "9" * 5000,
        "[" * 50_000,
        '[{"a":' * 5000,
    ),
    *(
        "'\"<>&;",
        "../..",
        "%00",
        "a/b",
        "a//b",
        "/",
        "1/change",
        "1;--",
        "\\",
        "_",
        "__",
        "pk",
        "id__in",
        "{{7*7}}",
        "\u2028",
    ),
    *(
        '{"quotes": 1}',
        '["0.0.0.0/99"]',
        '["10.0.0.0/8"]',
        '["pairs"]',
        "pairs",
        "1,2",
        "None",
        "http://[",
        "http://x:0",
    ),
]
PARAMETERS = [
    "q",
    "p",
    "o",
    "e",
    "all",
    "_facets",
    "_popup",
    "_to_field",
    "_changelist_filters",
    "s",
    "pk",
    "id",
    "pk__in",
]
LOOKUPS = [
    "",
    "__exact",
    "__in",
    "__isnull",
    "__gte",
    "__regex",
    "__contains",
    "__id__exact",
    "__pk",
    "__x",
    "__date__year",
]
LEFT_ALONE = {"logout", "login"}  # they end the session that the rest needs


@dataclass(frozen=True, slots=True)
class Place:
    """One route below /admin/: its path in pieces, every second of which is a converter's name."""

    name: str
    pieces: tuple[str, ...]


@dataclass(slots=True)
class Findings:
    """What was sent, and each answer that was a 5xx with the end of its traceback."""

    sent: int = 0
    failures: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


def fuzz(client: Client, *, requests: int, seed: int) -> Findings:
    """`client` is signed in as somebody who may do everything. Nothing of what is sent stays in the database."""
    chance, found = random.Random(seed), Findings()
    client.raise_request_exception = False
    places = list(admin_places())
    while found.sent < requests:
        place = places[found.sent % len(places)]
        method, path, data = chance.choice([_read, _press, _save, _act])(client, place, chance)
        _send(client, method, path, data, found)
    return found


def admin_places() -> Iterator[Place]:
    for each in get_resolver().url_patterns:
        if isinstance(each, URLResolver) and each.namespace == "admin":
            yield from _places(each.url_patterns, "/admin/")


def _places(found: Sequence[Any], before: str) -> Iterator[Place]:
    for each in found:
        if not isinstance(each.pattern, RoutePattern):
            continue
        if isinstance(each, URLResolver):
            yield from _places(each.url_patterns, before + str(each.pattern))
        elif isinstance(each, URLPattern) and each.name not in LEFT_ALONE:
            yield Place(str(each.name), tuple((before + str(each.pattern)).replace("<", ">").split(">")))


def _path(place: Place, chance: random.Random) -> str:
    """A row that exists, now and then; nonsense otherwise."""
    pieces = [
        piece if number % 2 == 0 else _identity(piece, place, chance) for number, piece in enumerate(place.pieces)
    ]
    return "".join(pieces)


def _identity(converter: str, place: Place, chance: random.Random) -> str:
    if converter.startswith("int:"):
        return chance.choice(["0", "1", "9" * 18, "9" * 40, "9" * 4000])
    model = next((model for model in admin.site._registry if place.name.startswith(_prefix(model))), None)
    if model is not None and chance.random() < 0.5:
        rows = list(model._default_manager.values_list("pk", flat=True)[:5])
        return quote(str(chance.choice(rows)), safe="") if rows else "1"
    return quote(chance.choice([each for each in NONSENSE if each])[:2000], safe="/")


def _prefix(model: Any) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}_"


def _read(client: Client, place: Place, chance: random.Random) -> tuple[str, str, Any]:
    names = [*PARAMETERS, *_columns(place)]
    query = {
        chance.choice(names) + chance.choice(LOOKUPS): chance.choice(NONSENSE)[:3000]
        for _ in range(chance.randrange(4))
    }
    return "GET", f"{_path(place, chance)}?{urlencode(query)}", None


def _columns(place: Place) -> list[str]:
    for model, pages in admin.site._registry.items():
        if place.name.startswith(_prefix(model)):
            filters = [getattr(each, "parameter_name", each) for each in pages.list_filter]
            named = [each[0] if isinstance(each, tuple) else str(each) for each in filters]
            return [*named, *(each.name for each in model._meta.get_fields())]
    return []


def _press(client: Client, place: Place, chance: random.Random) -> tuple[str, str, Any]:
    """A dialog's form."""
    names = ["reason", "why", "overlap_hours", "hours", "for_seconds", "until", "confirmed", "markets"]
    fields = {chance.choice(names): chance.choice(NONSENSE) for _ in range(3)}
    return "POST", _path(place, chance), {"_form_submitted": "True", **fields}


def _save(client: Client, place: Place, chance: random.Random) -> tuple[str, str, Any]:
    """The page's own form as it is shown, with some fields emptied or turned into nonsense."""
    path = _path(place, chance)
    shown = client.get(path) if place.name.endswith(("_add", "_change")) else None
    form = getattr((shown.context or {}).get("adminform"), "form", None) if shown is not None else None
    if form is None and shown is not None:
        form = (shown.context or {}).get("form")
    fields = {bound.html_name: _text(bound.value()) for bound in form or ()}
    hidden = {bound.html_initial_name: _text(bound.value()) for bound in form or () if bound.field.show_hidden_initial}
    for name in chance.sample(sorted(fields), min(len(fields), chance.randrange(1, 4))):
        fields[name] = chance.choice(NONSENSE)
    if chance.random() < 0.2 and fields:
        del fields[chance.choice(sorted(fields))]
    return "POST", path, hidden | fields


def _text(value: Any) -> Any:
    return (
        ""
        if value is None or value is False
        else [str(each) for each in value]
        if isinstance(value, list)
        else str(value)
    )


def _act(client: Client, place: Place, chance: random.Random) -> tuple[str, str, Any]:
    """The list's actions on chosen rows."""
    actions = ["delete_selected", "switch_on", "blacklist_selected", "lift_selected", chance.choice(NONSENSE)]
    chosen = [chance.choice(NONSENSE)[:3000] for _ in range(2)]
    return "POST", _path(place, chance), {
        "action": chance.choice(actions),
        "_selected_action": chosen,
        "select_across": chance.choice(["0", "1", "x"]),
        "index": chance.choice(["0", "1", "x", "9" * 40]),
    }  # fmt: skip


def _send(client: Client, method: str, path: str, data: Any, found: Findings) -> None:
    found.sent += 1
    with transaction.atomic():
        before = transaction.savepoint()
        response = client.get(path) if method == "GET" else client.post(path, data)
        if not hasattr(response, "render") or response.is_rendered:
            transaction.savepoint_rollback(before)
    found.statuses[response.status_code] = found.statuses.get(response.status_code, 0) + 1
    if response.status_code >= 500:
        told = getattr(response, "exc_info", None)
        lines = traceback.format_exception(*told)[-4:] if told else [str(response.content[:200])]
        found.failures.append(f"{method} {path[:300]} {str(data)[:500]}\n{''.join(lines)[-1500:]}")
    connections["default"].needs_rollback = False
