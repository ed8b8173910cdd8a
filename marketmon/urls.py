"""The whole public surface. Every path works with and without a trailing slash, with no redirect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.routers import APIRootView

from board import urls as board
from collectors.api import (
    candles,
    exports,
    gaps,
    market_data,
    pipelines,
    quality,
    runs,
    transitions,
    workers,
    workers_status,
)
from collectors.status import urls
from exchanges import api as exchanges
from incidents import beats, link_page
from incidents.api import urls as incidents
from marketmon import docs_pages, health
from marketmon.schema import SchemaView
from marketmon.sign_in import urls as sign_in
from metrics import urls as metrics
from operations.api import urls as operators
from web import errors, logins

admin.autodiscover()

handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.not_found
handler500 = errors.server_error


def route(place: str, view: Callable[..., HttpResponseBase], name: str) -> URLPattern:
    return re_path(rf"^{place}/?$", view, name=name)


def listing(place: str, views: type, name: str, *, key: str = "[0-9]{1,18}") -> list[URLPattern]:
    """Returns the routes of a read-only view set: its list and its rows."""
    as_view: Callable[..., Callable[..., HttpResponseBase]] = views.as_view  # type: ignore[attr-defined]
    return [
        route(f"api/v1/{place}", as_view({"get": "list"}, name=place.capitalize()), f"{name}-list"),
        route(f"api/v1/{place}/(?P<pk>{key})", as_view({"get": "retrieve"}, name=name.capitalize()), f"{name}-detail"),
    ]


def admin_urls() -> tuple[list[Any], str, str]:
    """Returns the admin's URLs without "view on site": no row has such a page, and its pattern of two paths takes a
    stranger's slashes quadratic time."""
    found = [each for each in admin.site.get_urls() if getattr(each, "name", "") != "view_on_site"]
    return found, "admin", admin.site.name


READ_ONLY = ["get", "head"]
EXCHANGE = "[a-z0-9_-]{1,64}"
START_PAGE = {
    "exchanges": "exchange-list",
    "workers": "worker-list",
    "markets": "market-list",
    "pipelines": "pipeline-list",
    "runs": "run-list",
    "gaps": "gap-list",
    "transitions": "transition-list",
    "orderbooks": "orderbook-list",
    "trades": "trade-list",
    "trades/holes": "hole-list",
    "funding": "funding-list",
    "incidents": "incident-list",
    "maintenance": "maintenance-list",
    "channels": "channel-list",
    "routes": "route-list",
    "objectives": "objective-list",
}

urlpatterns = [
    # Worker status and exchange management. Fixed words come before `exchanges/{id}`.
    route("api/v1/market/workers/status", workers_status.MarketWorkersStatus.as_view(), "market-workers-status"),
    route(
        "api/v1/exchanges/workers/status", workers_status.ExchangesWorkersStatus.as_view(), "exchanges-workers-status"
    ),
    # The pairs and pipelines APIs: pairs, pipelines, rates, limits and sources, under /v1.
    *urls.urlpatterns,
    *operators.urlpatterns,
    *incidents.urlpatterns,
    *link_page.urlpatterns,
    *beats.urlpatterns,
    # Probes.
    route("health", health.HealthView.as_view(http_method_names=READ_ONLY), "health"),
    route("live", health.Live.as_view(http_method_names=READ_ONLY), "live"),
    route("ready", health.Ready.as_view(http_method_names=READ_ONLY), "ready"),
    # The metrics webhook, its history, regimes and grids; Prometheus.
    *metrics.urlpatterns,
    # For people: the board and its pages, the public status page.
    *board.urlpatterns,
    # Our own views of the state, read-only.
    route("api/v1", APIRootView.as_view(api_root_dict=START_PAGE, permission_classes=[AllowAny]), "api-root"),
    *listing("exchanges", exchanges.ExchangeViews, "exchange", key=EXCHANGE),
    *listing("markets", exchanges.MarketViews, "market"),
    *listing("workers", workers.WorkerViews, "worker", key=EXCHANGE),
    *listing("pipelines", pipelines.PipelineViews, "pipeline"),
    route(
        "api/v1/pipelines/(?P<pk>[0-9]{1,18})/history",
        pipelines.PipelineViews.as_view({"get": "history"}, name="History of a pipeline"),
        "pipeline-history",
    ),
    route("api/v1/candles", candles.CandleViews.as_view(http_method_names=READ_ONLY), "candles"),
    route("api/v1/quality", quality.QualityViews.as_view(http_method_names=READ_ONLY), "quality"),
    route("api/v1/quality/calendar", quality.QualityCalendar.as_view(http_method_names=READ_ONLY), "quality-calendar"),
    *listing("runs", runs.RunViews, "run"),
    *listing("gaps", gaps.GapViews, "gap"),
    route("api/v1/gaps/export", exports.ExportViews.as_view({"get": "gaps"}, name="Gaps as CSV"), "gaps-export"),
    route("api/v1/ticks/export", exports.ExportViews.as_view({"get": "ticks"}, name="Quotes as CSV"), "ticks-export"),
    route(
        "api/v1/rollups/export",
        exports.ExportViews.as_view({"get": "rollups"}, name="Minutes as CSV"),
        "rollups-export",
    ),
    *listing("transitions", transitions.TransitionViews, "transition"),
    route(
        "api/v1/orderbooks", market_data.OrderBookViews.as_view({"get": "list"}, name="Order books"), "orderbook-list"
    ),
    route("api/v1/trades", market_data.TradeViews.as_view({"get": "list"}, name="Trades"), "trade-list"),
    route("api/v1/trades/holes", market_data.TradeHoleViews.as_view({"get": "list"}, name="Trade holes"), "hole-list"),
    route("api/v1/funding", market_data.FundingViews.as_view({"get": "list"}, name="Funding rates"), "funding-list"),
    # What all of it looks like, and people's pages.
    route("api/schema", SchemaView.as_view(), "schema"),
    route("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), "docs"),
    *docs_pages.urlpatterns,
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}marketmon/favicon.svg", permanent=True)),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/login/", logins.login),
    *sign_in.urlpatterns,
    path("admin/", admin_urls()),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
