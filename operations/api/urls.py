"""Exchange management routes. They stand before `exchanges/{id}`, which would take their words for ids."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from operations.api.blacklist_views import BlacklistOperatorViews
from operations.api.catalogue_views import CatalogueViews
from operations.api.exchange_views import ExchangeOperatorViews
from operations.api.operator_views import OperatorViews
from operations.api.worker_views import WorkerOperatorViews

PLACE = r"^api/v1/exchanges"
ANYTHING = r"(?P<exchange>.+?)"  # what is no id is answered with 400, not with 404
ID = r"(?P<exchange>[A-Za-z0-9_-]{1,64})"


def _route(views: type[OperatorViews], place: str, name: str, title: str, **actions: str) -> URLPattern:
    """Returns a route; the title stands above the page in the browsable API."""
    return re_path(rf"{PLACE}/{place}/?$", views.as_view({**actions}, name=title), name=name)


urlpatterns = [
    re_path(
        rf"{PLACE}/config/?$", CatalogueViews.as_view({"get": "config"}, name="Exchanges"), name="exchanges-config"
    ),
    re_path(
        rf"{PLACE}/supported/?$",
        CatalogueViews.as_view({"get": "supported"}, name="Supported exchanges"),
        name="exchanges-supported",
    ),
    _route(ExchangeOperatorViews, "refresh", "exchanges-refresh", "Refresh all exchanges", post="refresh"),
    _route(ExchangeOperatorViews, "add/*", "exchanges-add-nothing", "Add an exchange", post="missing"),
    _route(ExchangeOperatorViews, f"add/{ANYTHING}", "exchanges-add", "Add an exchange", post="add"),
    _route(
        BlacklistOperatorViews,
        "blacklist/*",
        "exchanges-blacklist-nothing",
        "Blacklist an exchange",
        post="missing",
        delete="missing",
    ),
    _route(
        BlacklistOperatorViews,
        f"blacklist/{ANYTHING}",
        "exchanges-blacklist",
        "Blacklist an exchange",
        post="blacklist",
        delete="lift",
    ),
    _route(WorkerOperatorViews, "workers/*restart", "exchanges-restart-nothing", "Restart a worker", post="missing"),
    _route(WorkerOperatorViews, f"workers/{ANYTHING}/restart", "exchanges-restart", "Restart a worker", post="restart"),
    _route(
        WorkerOperatorViews, f"{ID}/ask-again", "exchanges-ask-again", "Ask an exchange again now", post="ask_again"
    ),
    _route(
        WorkerOperatorViews, f"{ID}/accept-list", "exchanges-accept-list", "Accept a market list", post="accept_list"
    ),
    _route(
        ExchangeOperatorViews,
        f"{ID}/settings",
        "exchange-settings",
        "Settings of an exchange",
        get="read_settings",
        patch="write_settings",
    ),
    _route(
        ExchangeOperatorViews,
        f"{ID}/checks",
        "exchange-checks",
        "Connectivity checks",
        get="read_checks",
        post="run_checks",
    ),
]
