"""The panels under an exchange's settings: the checks, the audit log, which fields changed, blacklists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_POST

from exchanges import connectivity
from exchanges.connectivity import Finding
from exchanges.models import AuditEntry, BlacklistEntry, ConnectivityCheck, Exchange, MarketBlacklistEntry
from lib import clock
from operations import permissions, tasks
from operations.admin.acting import send
from operations.admin.history import row_of
from web.admin import ago, cut, polled, utc
from web.redaction import hide_named

SHOWN_ROWS = 15
SHOWN_CHECKS = 5
CHECK_NAMES = ("health", "capabilities", "rate_limit", "worker")
LABELS = {"ok": "success", "started": "success", "failed": "danger", "skipped": "warning", "asking": "info"}
PATIENCE = timedelta(seconds=30)  # a check's budget, and its wait for a free worker


def urls(model_admin: Any) -> list[URLPattern]:
    def checks(request: HttpRequest, object_id: str) -> HttpResponse:
        return checks_fragment(request, object_id, may_act=model_admin.has_change_permission(request))

    def check(request: HttpRequest, object_id: str) -> HttpResponse:
        if not model_admin.has_change_permission(request):
            raise PermissionDenied
        return check_now(request, object_id)

    return [
        path(
            "<path:object_id>/checks/",
            polled(require_GET(checks), permission=permissions.SEE_EXCHANGE),
            name="exchanges_exchange_checks",
        ),
        path(
            "<path:object_id>/check-now/",
            model_admin.admin_site.admin_view(require_POST(check)),
            name="exchanges_exchange_check_now",
        ),
    ]


def context(request: HttpRequest, exchange_id: str) -> dict[str, Any]:
    """Returns everything for the panels, in a fixed number of queries."""
    now = clock.now()
    return {
        "audit_rows": [
            row_of(entry, request, now)
            for entry in AuditEntry.objects.filter(exchange=exchange_id).order_by("-happened_at", "-id")[:SHOWN_ROWS]
        ],
        "change_rows": _changes(exchange_id) if request.user.has_perm("auditlog.view_logentry") else None,
        "blacklist_rows": _blacklists(exchange_id, now),
        "market_rows": _markets(exchange_id, now),
        "exchange_id": exchange_id,
        **_checks(exchange_id, None, now),
        "may_check": request.user.has_perm(permissions.CHANGE_EXCHANGE),
    }


def checks_fragment(request: HttpRequest, exchange_id: str, *, may_act: bool) -> HttpResponse:
    since = parse_datetime(request.GET.get("since", "")[:40].replace(" ", "+"))
    since = since if since is not None and since.tzinfo is not None else None
    found = _checks(exchange_id, since, clock.now())
    return render(request, "admin/exchanges/checks.html", {**found, "exchange_id": exchange_id, "may_check": may_act})


def check_now(request: HttpRequest, exchange_id: str) -> HttpResponse:
    """Asks for the checks and shows them as being on their way; what is fresh and well is not asked again."""
    if not Exchange.objects.known().filter(pk=exchange_id).exists():
        raise Http404
    now = clock.now()
    fresh = connectivity.fresh(exchange_id, now=now)
    is_sent = fresh is None and send(request, tasks.check_connectivity, exchange_id=exchange_id)
    if not request.headers.get("HX-Request"):
        return HttpResponseRedirect(reverse("admin:exchanges_exchange_change", args=[exchange_id]))
    found = _checks(exchange_id, now if is_sent else None, now)
    found["remark"] = "Checked less than half a minute ago, and all was well." if fresh else ""
    if fresh is None and not is_sent:
        found["remark"] = "The queue cannot be reached, so nothing was asked."
    return render(request, "admin/exchanges/checks.html", {**found, "exchange_id": exchange_id, "may_check": True})


def rows_of(findings: Sequence[Finding | ConnectivityCheck], *, missing: str = "asking") -> list[dict[str, Any]]:
    """Returns the four checks in their order, those without a result as `missing`."""
    known = {finding.name: finding for finding in findings}
    rows = []
    for name in [*CHECK_NAMES, *(name for name in known if name not in CHECK_NAMES)]:
        finding = known.get(name)
        result = finding.result if finding else missing
        rows.append(
            {
                "name": name.replace("_", " "),
                "result": result,
                "variant": LABELS.get(result, ""),
                "duration": f"{finding.duration_ms} ms" if finding and finding.duration_ms else "",
                "reason": cut(finding.reason) if finding else "",
            }
        )
    return rows


def _checks(exchange_id: str, since: datetime | None, now: datetime) -> dict[str, Any]:
    """Returns the newest checks, or the wait for those that were asked for at `since`."""
    recent = ConnectivityCheck.objects.filter(exchange_id=exchange_id).order_by("-checked_at", "pk")
    found = list(recent[: SHOWN_CHECKS * len(CHECK_NAMES)])
    latest = [row for row in found if row.checked_at == found[0].checked_at]
    is_awaited = since is not None and (not latest or latest[0].checked_at < since)
    is_waiting = is_awaited and since is not None and now - since < PATIENCE
    return {
        "check_rows": rows_of([]) if is_waiting else rows_of(latest, missing="skipped") if latest else [],
        "checked": f"{ago(latest[0].checked_at, now)}, {latest[0].occasion}" if latest and not is_waiting else "",
        "checked_at": utc(latest[0].checked_at) if latest and not is_waiting else "",
        "earlier_checks": _earlier(found, now),
        "waiting_since": since.isoformat() if since is not None and is_waiting else "",
        "remark": "No answer yet: is a worker running?" if is_awaited and not is_waiting else "",
    }


def _earlier(found: Sequence[ConnectivityCheck], now: datetime) -> list[dict[str, str]]:
    """Returns the occasions before the newest, a line each."""
    occasions: dict[datetime, list[ConnectivityCheck]] = {}
    for row in found:
        occasions.setdefault(row.checked_at, []).append(row)
    return [
        {
            "when": ago(moment, now),
            "occasion": rows[0].occasion,
            "said": ", ".join(f"{row.name.replace('_', ' ')} {row.result}" for row in rows),
        }
        for moment, rows in list(occasions.items())[1:SHOWN_CHECKS]
    ]


def _changes(exchange_id: str) -> list[dict[str, Any]]:
    """Returns a row for each field that a person or a verb changed."""
    entries = (
        LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Exchange), object_pk=exchange_id)
        .select_related("actor")
        .order_by("-timestamp", "-id")[:SHOWN_ROWS]
    )
    return [
        {
            "when": utc(entry.timestamp),
            "who": entry.actor.get_username() if entry.actor else "-",
            "field": name.replace("_", " "),
            "old": cut(hide_named(name, str(change[0]))),
            "new": cut(hide_named(name, str(change[1]))),
        }
        for entry in entries
        for name, change in (entry.changes or {}).items()
        if entry.action == LogEntry.Action.UPDATE and len(change) == 2
    ][:SHOWN_ROWS]


def _blacklists(exchange_id: str, now: datetime) -> list[dict[str, str]]:
    entries = BlacklistEntry.objects.filter(exchange_id=exchange_id).order_by("-listed_at")[:SHOWN_ROWS]
    return [
        {
            "listed": utc(entry.listed_at),
            "by": entry.listed_by,
            "reason": entry.reason or "-",
            "until": utc(entry.expires_at) if entry.expires_at else "somebody lifts it",
            "lifted": utc(entry.lifted_at) if entry.lifted_at else "",
            "lifted_by": entry.lifted_by,
        }
        for entry in entries
    ]


def _markets(exchange_id: str, now: datetime) -> list[dict[str, str]]:
    """Returns the markets that are out now."""
    entries = (
        MarketBlacklistEntry.objects.running()
        .filter(market__exchange_id=exchange_id)
        .select_related("market")
        .order_by("-listed_at")[:SHOWN_ROWS]
    )
    return [
        {
            "market": entry.market.symbol,
            "by": entry.listed_by,
            "reason": cut(entry.reason) or "-",
            "until": utc(entry.expires_at) if entry.expires_at else "somebody lifts it",
            "lift_url": reverse("admin:exchanges_marketblacklistentry_lift", args=[entry.pk]),
        }
        for entry in entries
    ]
