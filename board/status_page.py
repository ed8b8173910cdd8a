"""The public status page and its JSON: two renderings of one report, with an ETag, without login, cookie or script."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from typing import Any

import orjson
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from board import incidents, public, uptime
from board.incidents import PublicIncident
from board.public import ExchangeState, PublicReport
from board.uptime import Count
from collectors.status.published import compressed
from collectors.status.workers import CollectorAbsent
from incidents.maintenance import PlannedTime
from lib import clock
from lib.encoding import accepts_gzip
from lib.problems import problem

MAX_AGE_SECONDS = 5
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# What the browser's tab shows; the board's says the same.
ICONS = {public.OPERATIONAL: "well", public.DEGRADED: "warning", public.DOWN: "danger", public.PAUSED: "unknown"}
AWAY = "The state of the collection cannot be read at the moment."
LEVEL_WORDS = {"full": "99.5 % or more", "part": "95 % or more", "low": "less than 95 %", "none": "no data"}

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A rendering with its fingerprint, plain and compressed."""

    content: bytes
    packed: bytes
    etag: str

    @classmethod
    def of(cls, text: bytes) -> RenderedPage:
        return cls(text, compressed(text), f'W/"{hashlib.blake2b(text, digest_size=12).hexdigest()}"')


def public_only(view: View) -> View:
    """Returns the view, which answers 404 while PUBLIC_STATUS is off."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.PUBLIC_STATUS:
            raise Http404
        del request.session  # nothing here varies with who asks, and a stale cookie is not answered with its deletion
        return view(request, *args, **kwargs)

    return require_safe(shown)


@public_only
def page(request: HttpRequest) -> HttpResponseBase:
    try:
        document = _pages.get(public.current())
    except (CollectorAbsent, DatabaseError, InterfaceError):
        text = render_to_string("board/status_away.html", {"sentence": AWAY})
        response: HttpResponseBase = HttpResponse(text, status=503, headers={"Retry-After": "5"})
        response.headers["Cache-Control"] = "no-store"
    else:
        response = answer(request, document, "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    return response


@public_only
def data(request: HttpRequest) -> HttpResponseBase:
    try:
        document = _data.get(public.current())
    except (CollectorAbsent, DatabaseError, InterfaceError):
        return problem(503, AWAY)
    response = answer(request, document, "application/json")
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def answer(request: HttpRequest, document: RenderedPage, kind: str) -> HttpResponseBase:
    """Returns the document, compressed where that is accepted, or 304 to those who have it."""
    is_packed = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    response = HttpResponse(document.packed if is_packed else document.content, content_type=kind)
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ["Accept-Encoding"])
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_SECONDS}"
    response.headers["ETag"] = document.etag
    return get_conditional_response(request, etag=document.etag, response=response) or response


class Renderings:
    """Keeps one rendering of the newest report, made once for all who ask."""

    def __init__(self, render: Callable[[PublicReport], bytes]) -> None:
        self._render = render
        self._held: tuple[PublicReport, RenderedPage] | None = None
        self._lock = threading.Lock()

    def get(self, report: PublicReport) -> RenderedPage:
        with self._lock:
            if self._held is None or self._held[0] is not report:
                self._held = (report, RenderedPage.of(self._render(report)))
            return self._held[1]


# --- as a page ------------------------------------------------------------------------------------------------------


def render_page(report: PublicReport) -> bytes:
    state, sentence = public.overall(report.exchanges)
    context = {
        "state": state,
        "icon": f"marketmon/favicon-{ICONS[state]}.svg",
        "sentence": sentence,
        "as_of": f"{report.taken_at.astimezone(UTC):%H:%M}",
        "as_of_day": f"{report.taken_at.astimezone(UTC):%Y-%m-%d}",
        "exchanges": [_exchange_context(each, report.days) for each in report.exchanges],
        "incidents": [_incident_context(each, report) for each in report.incidents],
        "levels": LEVEL_WORDS,
        "day_count": uptime.DAYS,
        "incident_days": incidents.DAYS,
        "maintenance": [_work_context(work, report) for work in report.maintenance],
    }
    return render_to_string("board/status.html", context).encode()


def _exchange_context(exchange: ExchangeState, days: Sequence[date]) -> dict[str, Any]:
    known = [count for count in exchange.days if count.expected]
    return {
        "id": exchange.id,
        "name": exchange.name,
        "is_simulated": exchange.is_simulated,
        "state": exchange.state,
        "words": exchange.words,
        "uptime": uptime.in_words(uptime.total(exchange.days)),
        "known_days": len(known),
        "bars": bars(exchange.days, days),
        "lesser": [
            {"day": f"{day:%Y-%m-%d}", "share": uptime.in_words(count)}
            for day, count in zip(days, exchange.days, strict=True)
            if count.expected and count.stored < count.expected
        ][::-1],
    }


def bars(counts: Sequence[Count], days: Sequence[date]) -> SafeString:
    """Returns one element for each day. Nothing in it is anybody's text."""
    cells = (
        f'<i class="{count.level}" title="{day:%Y-%m-%d}: {uptime.in_words(count)}"></i>'
        for day, count in zip(days, counts, strict=True)
    )
    return mark_safe("".join(cells))  # noqa: S308


def _work_context(work: PlannedTime, report: PublicReport) -> dict[str, Any]:
    return {
        "reason": work.reason,
        "exchanges": exchange_names(work.exchanges, report) or "All exchanges",
        "from": _minute(work.starts_at),
        "to": _minute(work.ends_at),
        "from_iso": clock.seconds_z(work.starts_at),
        "to_iso": clock.seconds_z(work.ends_at),
        "is_running": work.starts_at <= report.taken_at,
    }


def _incident_context(incident: PublicIncident, report: PublicReport) -> dict[str, Any]:
    return {
        "id": incident.id,
        "exchanges": exchange_names(incident.exchanges, report) or "The system",
        "words": incident.words,
        "state": incident.state,
        "messages": [
            {"at": _minute(each.at), "at_iso": clock.seconds_z(each.at), "state": each.state, "text": each.text}
            for each in incident.messages
        ],
        "is_over": incident.ended_at is not None,
        "since": _minute(incident.started_at),
        "until": _minute(incident.ended_at) if incident.ended_at else "",
        "since_iso": clock.seconds_z(incident.started_at),
        "until_iso": clock.seconds_z(incident.ended_at) if incident.ended_at else "",
        "lasted": in_time_words(incident.lasted(report.taken_at)),
    }


def exchange_names(exchange_ids: Sequence[str], report: PublicReport) -> str:
    names = {each.id: each.name for each in report.exchanges}
    if len(names) > 1 and names.keys() <= set(exchange_ids):
        return "All exchanges"
    return ", ".join(names.get(each, each) for each in exchange_ids)


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def in_time_words(span: timedelta) -> str:
    """Returns minutes, hours and minutes, or days and hours; begun minutes do not count."""
    minutes = max(1, int(span.total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


# --- as JSON --------------------------------------------------------------------------------------------------------


def render_data(report: PublicReport) -> bytes:
    state, sentence = public.overall(report.exchanges)
    return orjson.dumps(
        {
            "status": state,
            "message": sentence,
            "as_of": clock.seconds_z(report.taken_at),
            "exchanges": [_exchange_data(each, report.days) for each in report.exchanges],
            "incidents": list(_incident_data(report.incidents)),
            "maintenance": [
                {
                    "reason": work.reason,
                    "exchanges": work.exchanges,
                    "starts_at": clock.seconds_z(work.starts_at),
                    "ends_at": clock.seconds_z(work.ends_at),
                }
                for work in report.maintenance
            ],
        }
    )


def _exchange_data(exchange: ExchangeState, days: Sequence[date]) -> dict[str, Any]:
    return {
        "id": exchange.id,
        "name": exchange.name,
        "simulated": exchange.is_simulated,
        "status": exchange.state,
        "message": exchange.words,
        "last_data_at": clock.seconds_z(exchange.stored_at) if exchange.stored_at else None,
        "uptime_percent": uptime.percent(uptime.total(exchange.days)),
        "days": [
            {"day": day.isoformat(), "uptime_percent": uptime.percent(count)}
            for day, count in zip(days, exchange.days, strict=True)
        ],
    }


def _incident_data(found: Sequence[PublicIncident]) -> Iterator[dict[str, Any]]:
    for incident in found:
        yield {
            "id": incident.id,
            "exchanges": incident.exchanges,
            "message": incident.words,
            "state": incident.state,
            "started_at": clock.seconds_z(incident.started_at),
            "ended_at": clock.seconds_z(incident.ended_at) if incident.ended_at else None,
            "updates": [
                {"at": clock.seconds_z(each.at), "state": each.state, "text": each.text} for each in incident.messages
            ],
        }


_pages, _data = Renderings(render_page), Renderings(render_data)
