"""The page that a message's link opens. GET and HEAD change nothing: previews and scanners open every link."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, re_path
from django.views.decorators.http import require_http_methods

from incidents import links, people
from incidents.models import Incident
from lib import clock

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HOURS = (1, 2, 4, 8, 24)
NAME_CHARACTERS = 60
GONE = "This link is none of ours, or is older than a week."


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, token: str) -> HttpResponse:
    """Shows the incident and a button; the button acknowledges."""
    try:
        link = links.read(token)
        incident = Incident.objects.get(pk=link.incident)
    except (links.BadLink, Incident.DoesNotExist):
        return _page(request, {"said": GONE}, status=410)
    said = _acknowledge(request, link) if request.method == "POST" else ""
    incident.refresh_from_db()
    now = clock.now()
    context = {
        "incident": incident, "said": said, "hours": HOURS, "is_open": incident.ended_at is None,
        "is_taken": incident.is_acknowledged(now),
    }  # fmt: skip
    return _page(request, context)


def _acknowledge(request: HttpRequest, link: links.AcknowledgeLink) -> str:
    name = " ".join(request.POST.get("name", "").split())[:NAME_CHARACTERS] or "somebody"
    text = request.POST.get("hours", "4")
    hours = int(text) if text in map(str, HOURS) else 4
    now = clock.now()
    try:
        people.acknowledge(
            link.incident, by=f"{name} (by {link.channel})", now=now, until=now + timedelta(hours=hours),
            comment=request.POST.get("comment", "")[:500],
        )  # fmt: skip
    except people.IncidentRefused as refusal:
        return str(refusal)
    return "Thank you. Nobody else is told for that time."


def _page(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    text = render_to_string("incidents/acknowledge.html", context, request=request)
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return HttpResponse(text, status=status, headers=headers)


urlpatterns: list[URLPattern] = [
    re_path(r"^incidents/acknowledge/(?P<token>[A-Za-z0-9_.:-]{1,600})/?$", show, name="incident-link"),
]
