"""The board for browsers: the page, which is also the admin's first, and what keeps it live."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET

from board import actions, first_steps, live, pages
from board.fragments import TILE
from incidents.signs import servers
from lib import clock
from lib.problems import problem
from operations import permissions
from web.admin import polled

PERMISSION = "collectors.view_worker"
MOST_HASHES = 16_000  # characters: 2,000 exchanges
NOTHING = "board/nothing.html"


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fills the admin's first page, as Unfold's callback."""
    if request.user.has_perm(PERMISSION):
        context |= board_context(request)
    return context


def page(request: HttpRequest) -> HttpResponse:
    """Shows the admin's first page at `/board/`, for those who may see the board."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    return admin.site.index(request)


def board_context(request: HttpRequest) -> dict[str, Any]:
    """Returns the shell with a first picture, so that nobody waits for a script to see what is wrong."""
    try:
        picture = live.current()
    except (DatabaseError, InterfaceError) as error:
        return {"board": {"is_lost": True, "alarm": servers.alarm_of(error)}}
    parts = {
        # The parts are templates' own output, in which everything that came from outside is escaped.
        name: {"name": name, "hash": part.hash, "html": mark_safe(part.html)}  # noqa: S308
        for name, part in picture.parts.items()
    }
    return {
        "board": {
            **{name: part for name, part in parts.items() if not name.startswith(TILE)},
            "tiles": [part for name, part in parts.items() if name.startswith(TILE)],
            "order": picture.order,
            "taken_at": clock.milliseconds_z(picture.taken_at),
            "may_act": request.user.has_perm(permissions.CHANGE_EXCHANGE),
            "guide": first_steps.find(request),
            "heat_panel": ["board/heat_panel.html", NOTHING],
            "drill_card": ["board/drill_card.html", NOTHING],
        }
    }


def live_parts(request: HttpRequest) -> HttpResponse:
    """Returns the parts that the browser does not show yet; 304 when it shows them all."""
    have = request.GET.get("have", "")[:MOST_HASHES]
    try:
        picture = live.current()
    except (DatabaseError, InterfaceError) as error:
        alarm = servers.alarm_of(error)
        return problem(503, f"{alarm.what}, so nobody knows how things are. To do: {alarm.do}.")
    body = live.answer(picture, order=request.GET.get("order", ""), have=have)
    taken_at = clock.milliseconds_z(picture.taken_at)
    headers = {**pages.server_now(), "Board-Taken-At": taken_at, "ETag": f'"{picture.etag}"'}
    if body is None:
        return HttpResponse(status=304, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return HttpResponse(body, content_type="application/json", headers=headers)


index = admin.site.admin_view(require_GET(page))
live_view = polled(require_GET(live_parts), permission=PERMISSION)
act = admin.site.admin_view(actions.view)
