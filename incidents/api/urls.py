"""The API's routes of incidents and of what is configured for them."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, re_path

from incidents.api.objectives import FORMS, ObjectiveViews
from incidents.api.views import ChannelViews, ConfiguredViews, IncidentViews, MaintenanceViews, RouteViews

KEY = "(?P<pk>[0-9]{1,18})"


def _configured(place: str, views: type[ConfiguredViews[Any]], name: str) -> list[URLPattern]:
    many = views.as_view({"get": "list", "post": "create"}, name=place.capitalize())
    one = views.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}, name=name.capitalize())
    return [
        re_path(rf"^api/v1/{place}/?$", many, name=f"{name}-list"),
        re_path(rf"^api/v1/{place}/{KEY}/?$", one, name=f"{name}-detail"),
    ]


def _act(verb: str, action: str) -> URLPattern:
    view = IncidentViews.as_view({"post": action}, name=f"{verb.capitalize()} an incident")
    return re_path(rf"^api/v1/incidents/{KEY}/{verb}/?$", view, name=f"incident-{verb}")


urlpatterns = [
    re_path(
        r"^api/v1/incidents/?$", IncidentViews.as_view({"get": "list", "post": "create"}, name="Incidents"),
        name="incident-list",
    ),
    re_path(
        rf"^api/v1/incidents/{KEY}/?$", IncidentViews.as_view({"get": "retrieve"}, name="Incident"),
        name="incident-detail",
    ),
    _act("acknowledge", "acknowledge"),
    _act("snooze", "snooze"),
    _act("note", "note_down"),
    _act("resolve", "resolve"),
    *_configured("maintenance", MaintenanceViews, "maintenance"),
    *_configured("channels", ChannelViews, "channel"),
    re_path(
        rf"^api/v1/channels/{KEY}/test/?$", ChannelViews.as_view({"post": "test"}, name="Test a channel"),
        name="channel-test",
    ),
    *_configured("routes", RouteViews, "route"),
    re_path(
        rf"^api/v1/routes/{KEY}/drill/?$", RouteViews.as_view({"post": "drill"}, name="Drill a route"),
        name="route-drill",
    ),
    *_configured("objectives", ObjectiveViews, "objective"),
    re_path(
        r"^api/v1/objectives/reports/?$", ObjectiveViews.as_view({"get": "reports"}, name="Reports of objectives"),
        name="objective-reports",
    ),
    re_path(
        rf"^api/v1/objectives/reports/(?P<month>[0-9]{{4}}-[0-9]{{2}})\.(?P<form>json|{'|'.join(FORMS)})$",
        ObjectiveViews.as_view({"get": "report"}, name="Report of objectives"), name="objective-report",
    ),
]  # fmt: skip
