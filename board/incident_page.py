"""The page of one incident: its timeline, what it explains, its cost, and who was told of it."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse

from board import pages
from incidents.models import Incident

MOST_ENTRIES = 200
MOST_CHILDREN = 100
ACT = "incidents.change_incident"


def show(request: HttpRequest, number: str) -> HttpResponse:
    """Shows an incident; messages to those who may act only."""
    incident = Incident.objects.select_related("parent").filter(pk=int(number)).first()
    if incident is None:
        raise Http404
    may_act = request.user.has_perm(ACT)
    deliveries = incident.deliveries.select_related("channel").order_by("-pk")[:MOST_ENTRIES] if may_act else []
    context = {
        "title": incident.title,
        "incident": incident,
        "children": incident.children.order_by("pk")[:MOST_CHILDREN],
        "entries": incident.entries.order_by("-happened_at", "-pk")[:MOST_ENTRIES],
        "deliveries": deliveries,
        "may_act": may_act,
        "may_resolve": incident.ended_at is None
        and bool(incident.opened_by or incident.is_drill or incident.quiet_since),
    }
    return pages.show(request, "board/incident.html", context)
