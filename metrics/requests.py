"""Requests to the metrics webhook API: token, body, fields. Wrong ones raise InvalidFields, all at once."""

from __future__ import annotations

import hmac
import io
from collections.abc import Mapping

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from rest_framework import exceptions
from rest_framework.request import Request

from metrics import grids, schemas
from metrics.collection import Trigger
from metrics.fields import Fields, InvalidFields
from metrics.models import Spacing
from web.drf import BODY_BYTES, GuardedJSONParser, PayloadTooLarge
from web.internal import is_internal, is_name_inside

DEFAULT_SOURCE = "n8n_schedule"
TEXT_SHOWN = 200


CLOSED = (
    "Closed while there is no token: set METRICS_WEBHOOK_TOKEN and send it as Bearer or X-Webhook-Token, or set "
    "INTERNAL_PORT and ask there"
)
UNPROVEN = "Valid webhook token required for this endpoint"


def why_refused(request: Request) -> str:
    """Returns why the caller may not use these routes, in words; empty when they may."""
    if is_internal(request.META):
        return ""
    if settings.METRICS_WEBHOOK_TOKEN:
        return "" if has_token(request.headers) else UNPROVEN
    return "" if settings.METRICS_WEBHOOK_OPEN else CLOSED


def is_from_others_page(request: Request) -> bool:
    """Says whether a browser asks on behalf of another site's page: who sits at it has not meant to change anything."""
    changes = request.method not in ("GET", "HEAD", "OPTIONS")
    return changes and request.headers.get("Sec-Fetch-Site", "") in ("cross-site", "same-site")


def require_own_host(request: Request) -> None:
    """Raises DisallowedHost for a name that is not ours: any page can let its own name lead to this machine."""
    if not is_internal(request.META):
        request.get_host()
    elif not is_name_inside(request.META):
        raise DisallowedHost("INTERNAL_PORT answers to addresses, names without a dot and those of ALLOWED_HOSTS.")


def has_token(headers: Mapping[str, str]) -> bool:
    """Says whether the caller sends the configured token; False while there is none."""
    token = settings.METRICS_WEBHOOK_TOKEN
    if not token:
        return False
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    claimed = [headers.get("X-Webhook-Token", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
    return True in [hmac.compare_digest(each.encode(), token.encode()) for each in claimed]  # all, in equal time


def body_of(request: Request) -> object:
    """Returns the body as the replaced service read it: none is an empty object, without a type it is JSON."""
    try:
        raw = request._request.body[: BODY_BYTES + 1]
    except RequestDataTooBig as error:
        raise _no_json(PayloadTooLarge.default_detail) from error
    if not raw.strip():
        return {}
    if "json" not in (request.content_type or "json"):
        return raw[:TEXT_SHOWN].decode("utf-8", "replace")
    try:
        return GuardedJSONParser().parse(io.BytesIO(raw))
    except (exceptions.ParseError, PayloadTooLarge) as error:
        raise _no_json(str(error.detail)) from error


def _no_json(reason: str) -> InvalidFields:
    problem = {"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error", "input": {}}
    return InvalidFields([{**problem, "ctx": {"error": reason}}])


def read_trigger(fields: Fields) -> Trigger:
    source, trigger_time = fields.text("source"), fields.text("trigger_time") or None
    if trigger_time:
        fields.moment("trigger_time")
    trigger = Trigger(
        source=DEFAULT_SOURCE if source is None else source,
        trigger_time=trigger_time,
        collection_id=fields.text("collection_id") or None,
    )
    fields.check()
    return trigger


def read_grid(fields: Fields) -> grids.DesiredGrid:
    prices, structure = fields.part("price_range"), fields.part("grid_structure")
    lower, upper = prices.amount("lower_bound"), prices.amount("upper_bound")
    if lower is not None and upper is not None and upper <= lower:
        prices.note("upper_bound", "greater_than", "Input should be greater than lower_bound")
    stop_loss = fields.amount("stop_loss", required=False)
    if stop_loss is not None and lower is not None and stop_loss >= lower:
        fields.note("stop_loss", "less_than", "Input should be less than price_range.lower_bound")
    grid_id = fields.text("grid_id") or None
    if grid_id is not None and not schemas.GRID_ID_PATTERN.fullmatch(grid_id):
        fields.note(
            "grid_id", "string_pattern_mismatch", "String should be 1-64 of letters, digits, '.', '_', ':', '-'"
        )
    wanted = {
        "levels": structure.integer("levels", low=2, high=500),
        "spacing": structure.choice("spacing", [*Spacing.values], "arithmetic"),
        "amount": structure.amount("amount_per_grid"),
    }
    enabled, source = fields.flag("enabled", default=False), fields.text("source")
    return grids.DesiredGrid(
        grid_id=grid_id,
        lower=lower,  # type: ignore[arg-type]  # a missing one has been noted, and `check` raises
        upper=upper,  # type: ignore[arg-type]
        stop_loss=stop_loss,
        enabled=enabled,
        source=source or "",
        **wanted,  # type: ignore[arg-type]
    )
