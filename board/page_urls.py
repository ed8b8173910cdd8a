"""The pages around the board. A symbol may hold slashes and colons, so it comes last in its address."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, re_path

from board import (
    exchange_page,
    gaps_page,
    heat_views,
    incident_page,
    objectives_page,
    pair_page,
    pipeline_page,
    route_page,
    search,
)
from board.pages import page, part
from operations import permissions

View = Callable[..., HttpResponse]
EXCHANGE = "(?P<exchange_id>[a-z0-9_-]{1,64})"
NUMBER = "(?P<number>[0-9]{1,9})"


def _page(place: str, view: View, name: str, *, permission: str) -> URLPattern:
    return re_path(rf"^board/{place}$", page(view, permission=permission), name=name)


def _part(place: str, view: View, name: str, *, permission: str) -> URLPattern:
    allowed: Callable[..., HttpResponseBase] = part(view, permission=permission)
    return re_path(rf"^board/{place}$", allowed, name=name)


urlpatterns = [
    _part("heat/?", heat_views.of_exchanges, "board-heat", permission="collectors.view_coverage"),
    _part(f"heat/{EXCHANGE}/?", heat_views.of_pipelines, "board-exchange-heat", permission="collectors.view_pipeline"),
    _page(f"exchanges/{EXCHANGE}/?", exchange_page.show, "board-exchange", permission=permissions.SEE_EXCHANGE),
    _page(
        "incidents/(?P<number>[0-9]{1,18})/?",
        incident_page.show,
        "board-incident",
        permission="incidents.view_incident",
    ),
    _page("objectives/?", objectives_page.show, "board-objectives", permission="incidents.view_objective"),
    _page("routes/(?P<number>[0-9]{1,18})/?", route_page.show, "board-route", permission="incidents.view_alertroute"),
    _page("gaps/?", gaps_page.show, "board-gaps", permission="collectors.view_gap"),
    _part("gaps/progress/?", gaps_page.show_progress, "board-gaps-progress", permission="collectors.view_gap"),
    _page("search/?", search.show, "board-search", permission="collectors.view_pipeline"),
    _page("pair/?", pair_page.show, "board-pair-of", permission="collectors.view_pipeline"),
    _part(
        "chart/pair/(?P<market>[0-9]{1,9})/?", pair_page.data, "board-pair-data", permission="collectors.view_pipeline"
    ),
    _part(f"chart/{NUMBER}/?", pipeline_page.data, "board-pipeline-data", permission="collectors.view_pipeline"),
    _page(
        f"pipelines/{NUMBER}/?",
        pipeline_page.show_by_number,
        "board-pipeline-by-number",
        permission="collectors.view_pipeline",
    ),
    path(
        "board/pipelines/<slug:exchange_id>/<path:symbol>",
        page(pipeline_page.show, permission="collectors.view_pipeline"),
        name="board-pipeline",
    ),
    path("board/pairs/<path:name>", page(pair_page.show, permission="collectors.view_pipeline"), name="board-pair"),
]
