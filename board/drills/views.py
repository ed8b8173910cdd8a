"""Drills for people: the card on the board, the history, and the buttons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, re_path, reverse
from django.views.decorators.http import require_POST

from board import pages
from board.drills import runner
from board.drills.faults import FAULTS, USUAL_SECONDS, Hits
from board.drills.observations import running_seconds
from board.models import Drill, DrillState
from collectors.models import Stream
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from lib import clock
from operations.admin.acting import call
from operations.commands import CommandRefused

MAY_SEE, MAY_ACT = "board.view_drill", "board.add_drill"
SHOWN_DRILLS = 100
TONES = {DrillState.PASSED: "success", DrillState.FAILED: "danger", DrillState.RUNNING: "warning"}
WORDS_CHARACTERS = 200


# --- what is shown -------------------------------------------------------------------------------------------------


def panel(request: HttpRequest) -> dict[str, Any]:
    """The card with its form. Three queries. Without `exchanges` there is no card: nothing is simulated, or who asks
    may not see it."""
    if not request.user.has_perm(MAY_SEE):
        return {"exchanges": ()}
    exchanges = _simulated()
    may_act = request.user.has_perm(MAY_ACT)
    return {
        "exchanges": exchanges,
        "may_act": may_act,
        "faults": _faults() if may_act else {},
        "usual_seconds": USUAL_SECONDS,
        "usual_fault": "silent-stream" if exchanges and exchanges[0]["how"] == "stream" else "server-error",
        **_newest(may_act=may_act, now=clock.now()),
        "request": request,
    }


def outcome(request: HttpRequest) -> HttpResponse:
    return _outcome(request)


def history(request: HttpRequest) -> HttpResponse:
    now = clock.now()
    rows = [card(drill, now) for drill in _drills()[:SHOWN_DRILLS]]
    return pages.show(request, "board/drills.html", {"title": "Drills", "drills": rows})


def card(drill: Drill, now: datetime) -> dict[str, Any]:
    """One drill in plain values."""
    return {
        "id": drill.pk,
        "exchange": drill.exchange_id,
        "symbol": drill.symbol,
        "fault": drill.fault,
        "does": FAULTS[drill.fault].does if drill.fault in FAULTS else "",
        "seconds": drill.seconds,
        "state": drill.state,
        "tone": TONES[DrillState(drill.state)],
        "verdict": drill.verdict or _so_far(drill, now),
        "started_at": drill.started_at,
        "by": drill.started_by.get_username() if drill.started_by else "command line",
        "is_running": drill.state == DrillState.RUNNING,
        "steps": _steps(drill),
    }


def _steps(drill: Drill) -> list[dict[str, Any]]:
    """Each is counted from what it answers to: the fault, its detection, the fault's end."""
    return [
        {"name": name, "seconds": None if seconds is None else f"{seconds:.1f} s", "words": words[:WORDS_CHARACTERS]}
        for name, seconds, words in (
            ("detected after", runner.after(drill.started_at, drill.detected_at), drill.detected_by),
            ("shown after another", runner.after(drill.detected_at, drill.shown_at), drill.shown_by),
            ("healed after its end", runner.after(drill.lifted_at, drill.healed_at), ""),
        )
    ]


def _so_far(drill: Drill, now: datetime) -> str:
    if drill.lifted_at is not None:
        return "The fault is over; waiting until all is well again."
    return f"Broken for {running_seconds(drill, now):.0f} of {drill.seconds:g} s."


def _newest(*, may_act: bool, now: datetime) -> dict[str, Any]:
    newest = _drills().first()
    return {"drill": card(newest, now) if newest else None, "may_act": may_act}


def _drills() -> Any:
    return Drill.objects.select_related("started_by").order_by("-started_at", "-id")


def _simulated() -> Sequence[Mapping[str, Any]]:
    listened_to = set(Stream.objects.filter(is_delivering=True).values_list("exchange_id", flat=True))
    known = Exchange.objects.known().collected().filter(base_url__contains=SANDBOX_PLACEHOLDER).order_by("id")
    return [{"id": pk, "how": "stream" if pk in listened_to else "poll"} for pk in known.values_list("pk", flat=True)]


def _faults() -> dict[str, list[tuple[str, str]]]:
    groups = {"of polls": Hits.POLLS, "of streams": Hits.STREAMS}
    return {
        label: [(name, fault.does) for name, fault in FAULTS.items() if fault.hits is hits]
        for label, hits in groups.items()
    }


# --- what is done --------------------------------------------------------------------------------------------------


def start(request: HttpRequest) -> HttpResponse:
    """The form's answer takes the place of the last result; without scripts the history shows it."""
    _require(request)
    try:
        runner.start(
            request.POST.get("fault", ""),
            request.POST.get("exchange", ""),
            symbol=request.POST.get("symbol", "").strip(),
            seconds=_seconds(request.POST.get("seconds", "")),
            now=clock.now(),
            by=request.user,
            origin=call(request)["origin"],
        )
    except CommandRefused as refusal:
        return _answer(request, refused=str(refusal))
    return _answer(request)


def stop(request: HttpRequest, number: str) -> HttpResponse:
    _require(request)
    drill = get_object_or_404(Drill, pk=int(number))
    try:
        runner.stop(drill, now=clock.now(), by=request.user.get_username())
    except CommandRefused as refusal:
        return _answer(request, refused=str(refusal))
    return _answer(request)


def _require(request: HttpRequest) -> None:
    if not request.user.has_perm(MAY_ACT):
        raise PermissionDenied


def _seconds(text: str) -> float | None:
    """Nothing is the usual time. Raises CommandRefused."""
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError as error:
        raise CommandRefused(f"{text[:20]!r} is no number of seconds.") from error


def _answer(request: HttpRequest, *, refused: str = "") -> HttpResponse:
    if request.headers.get("HX-Request"):
        return _outcome(request, refused=refused)
    if refused:
        messages.error(request, refused)
    return HttpResponseRedirect(reverse("board-drills"))


def _outcome(request: HttpRequest, *, refused: str = "") -> HttpResponse:
    context = _newest(may_act=request.user.has_perm(MAY_ACT), now=clock.now())
    return render(request, "board/drill_outcome.html", {**context, "refused": refused})


urlpatterns: list[URLPattern] = [
    re_path("^board/drills/?$", pages.page(history, permission=MAY_SEE), name="board-drills"),
    re_path("^board/drills/newest/?$", pages.part(outcome, permission=MAY_SEE), name="board-drill-newest"),
    re_path("^board/drills/start/?$", admin.site.admin_view(require_POST(start)), name="board-drill-start"),
    re_path(
        "^board/drills/(?P<number>[0-9]{1,9})/stop/?$",
        admin.site.admin_view(require_POST(stop)),
        name="board-drill-stop",
    ),
]
