"""The admin's frame: its name, its look, and the sidebar with every page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy

Item = dict[str, Any]
LIBRARIES_WORDS = {  # their lists, in our words
    "periodic tasks": "schedule",
    "log entries": "changed fields",
    "user sessions": "sessions",
    "authenticators": "second factors",
    "social accounts": "linked accounts",
}


def unfold(*, static_url: str, with_public_status: bool, with_second_factor: bool) -> dict[str, Any]:
    return {
        "SITE_TITLE": "marketmon",
        "SITE_HEADER": "marketmon",
        "SITE_SUBHEADER": "market data you can trust, or know why not",
        "SITE_URL": reverse_lazy("docs"),
        "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": f"{static_url}marketmon/favicon.svg"}],
        "STYLES": [f"{static_url}marketmon/contrast.css"],
        "SHOW_HISTORY": True,
        "SHOW_VIEW_ON_SITE": False,
        "DASHBOARD_CALLBACK": "board.views.fill",
        "SIDEBAR": {"show_search": True, "navigation": _sections(with_public_status, with_second_factor)},
    }


def _sections(with_public_status: bool, with_second_factor: bool) -> list[Item]:
    return [
        {"title": "Collection", "items": _collection()},
        {"title": "Order books and trades", "separator": True, "collapsible": True, "items": _depth()},
        {"title": "Operation", "separator": True, "items": _operation()},
        {"title": "Metrics", "separator": True, "items": _metrics()},
        {"title": "System", "separator": True, "items": _system(with_public_status, with_second_factor)},
    ]


def _collection() -> list[Item]:
    return [
        _item("Board", "monitor_heart", "admin:index"),
        _list("Exchanges", "account_balance", "exchanges_exchange"),
        _list("Workers", "engineering", "collectors_worker"),
        _list("Pipelines", "timeline", "collectors_pipeline"),
        _item("Gaps", "broken_image", "board-gaps"),
        _list("Runs", "history", "collectors_run"),
        _list("Status changes", "swap_horiz", "collectors_transition"),
        _list("Transport changes", "cell_tower", "collectors_switch"),
        _item("Archive", "inventory_2", "admin:archive_days"),
        _item("Rate limiter", "speed", "admin:collectors_ledger"),
        _list("Markets", "storefront", "exchanges_market"),
        _list("History imports", "history_edu", "collectors_historyimport"),
    ]


def _depth() -> list[Item]:
    return [
        _list("Order books", "stacked_bar_chart", "collectors_orderbooksnapshot"),
        _list("Trades", "receipt_long", "collectors_publictrade"),
        _list("Trade holes", "playlist_remove", "collectors_tradehole"),
        _list("Funding rates", "percent", "collectors_fundingsnapshot"),
        _list("Market data series", "checklist", "collectors_depthseries"),
        _list("Market data runs", "history", "collectors_depthrun"),
    ]


def _operation() -> list[Item]:
    return [
        _list("Incidents", "emergency", "incidents_incident"),
        _item("Objectives", "target", "board-objectives"),
        _list("Maintenance", "construction", "incidents_maintenance"),
        _list("Channels", "notifications", "incidents_alertchannel"),
        _list("Routes", "alt_route", "incidents_alertroute"),
        _list("Deliveries", "outbox", "incidents_delivery"),
        _list("Inbound heartbeats", "ecg_heart", "incidents_beat"),
        _list("Exchange blacklist", "block", "exchanges_blacklistentry"),
        _list("Market blacklist", "remove_shopping_cart", "exchanges_marketblacklistentry"),
        _list("Audit log", "gavel", "exchanges_auditentry"),
    ]


def _metrics() -> list[Item]:
    return [
        _list("Snapshots", "photo_camera", "metrics_collection"),
        _list("Regimes", "ssid_chart", "metrics_verdict"),
        _list("Grids", "grid_on", "metrics_grid"),
    ]


def _system(with_public_status: bool, with_second_factor: bool) -> list[Item]:
    public_status = {"title": "Public status", "icon": "public", "link": reverse_lazy("public-status")}
    return [
        _list("Schedule", "schedule", "django_celery_beat_periodictask"),
        _list("Changed fields", "fact_check", "auditlog_logentry", permission="auditlog.view_logentry"),
        _list("API keys", "key", "access_apikey", permission="access.view_apikey"),
        _list("Plans", "sell", "access_tier"),
        _list("Users", "group", "auth_user", permission="auth.view_user"),
        _list("Sessions", "devices", "usersessions_usersession", permission="usersessions.view_usersession"),
        *([_item("Second factor", "phonelink_lock", "mfa_index")] if with_second_factor else []),
        *([public_status] if with_public_status else []),
        _item("Documentation", "menu_book", "docs-pages"),
    ]


def _list(title: str, icon: str, model: str, *, permission: str = "") -> Item:
    """Returns an entry for the list of a model. With a `permission` only who has it sees the entry."""
    item = _item(title, icon, f"admin:{model}_changelist")
    return item | {"permission": _has(permission)} if permission else item


def _item(title: str, icon: str, route: str) -> Item:
    return {"title": title, "icon": icon, "link": reverse_lazy(route)}


def _has(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perm(permission)
