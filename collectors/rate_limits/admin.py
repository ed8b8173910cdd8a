"""The rate limiter's page: how much of each exchange's limit is used now, who waits, and what was held back."""

from __future__ import annotations

from typing import Any

import redis
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET

from collectors.rate_limits import view
from collectors.rate_limits.view import RateUsage
from collectors.rules.rate_limits import Priority
from exchanges.models import Exchange
from web.admin import polled

FRAGMENT = "admin/collectors/ledger_rows.html"
PRIORITY_WORDS = {Priority.SHADOW.value: "comparison"}


def urls() -> list[URLPattern]:
    return [
        path("ledger/", admin.site.admin_view(require_GET(page)), name="collectors_ledger"),
        path(
            "ledger/rows/",
            polled(require_GET(rows), permission="collectors.view_worker"),
            name="collectors_ledger_rows",
        ),
    ]


def page(request: HttpRequest) -> HttpResponse:
    shown = request.user.has_perm("collectors.view_worker")
    more = _context() if shown else {"absence": "You may not see workers."}
    return render(
        request, "admin/collectors/ledger.html", {**admin.site.each_context(request), "title": "Rate limiter", **more}
    )


def rows(request: HttpRequest) -> HttpResponse:
    return render(request, FRAGMENT, _context())


def _context() -> dict[str, Any]:
    ids = set(Exchange.objects.known().values_list("id", flat=True))
    try:
        standings = view.standings(ids)
    except redis.RedisError:
        return {"absence": "Valkey is away: each process keeps to its own share of every limit until it is back."}
    return {"rows": [_row(one) for one in standings], "priorities": [_word(priority.value) for priority in Priority]}


def _word(priority: str) -> str:
    return PRIORITY_WORDS.get(priority, priority)


def _row(one: RateUsage) -> dict[str, Any]:
    return {
        "exchange": one.exchange_id,
        "address": one.address,
        "used": f"{one.used_units:g} of {one.budget.units:.4g} in {one.budget.seconds:g} s",
        "share": f"{one.used_share:.3f}",
        "by_priority": [(_word(priority.value), f"{one.used.get(priority.value, 0):g}") for priority in Priority],
        "pause": f"{one.pause_seconds:.0f} s left" if one.pause_seconds else "",
        "dial_pause": f"{one.dial_pause_seconds:.0f} s left" if one.dial_pause_seconds else "",
        "held_back": ", ".join(f"{count} {_word(word)}" for word, count in one.held_back.items()),
    }
