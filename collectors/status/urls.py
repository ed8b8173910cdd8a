"""The routes of the pairs and pipelines APIs. Every path works with and without a trailing slash."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from collectors.status import metered, pipelines_view, rates_view, views


def route(place: str, view: type[metered.MeteredView], name: str) -> URLPattern:
    return re_path(rf"^{place}/?$", view.as_view(), name=name)


urlpatterns = [
    route("v1/status", views.Status, "v1-status"),
    route("v1/status/pairs", views.PairsStatus, "v1-status-pairs"),
    route("v1/status/pipelines", pipelines_view.PipelinesStatus, "v1-status-pipelines"),
    route("v1/rates/live", rates_view.LiveRates, "v1-rates-live"),
    route("v1/limits", views.LimitsView, "v1-limits"),
    route("v1/sources", views.Sources, "v1-sources"),
    re_path(r"^v1(/.*)?$", views.UnknownApiPath.as_view(), name="v1-unknown"),
]
