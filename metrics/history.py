"""Pages of past collections, newest first, with their snapshots when asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.core import signing
from django.db.models import Exists, OuterRef, Q, QuerySet

from metrics import dialect
from metrics.dialect import Body
from metrics.fields import Fields
from metrics.models import Balance, Collection, GridReading, MarketPoint, Verdict

SNAPSHOT_ROWS = 20_000  # of a page with snapshots: it ends early, and its cursor goes on


@dataclass(frozen=True, slots=True)
class Query:
    start: datetime | None
    end: datetime | None
    source: str | None
    status: str | None
    market: str | None
    limit: int
    cursor: tuple[str, int] | None
    with_snapshot: bool


@dataclass(frozen=True, slots=True)
class CollectionPage:
    entries: Sequence[Body]
    next_cursor: str | None


def read_query(fields: Fields) -> Query:
    """Reads a query from the request's fields. Raises InvalidFields."""
    query = Query(
        start=fields.moment("from"),
        end=fields.moment("to"),
        source=fields.text("source"),
        status=fields.choice("status", ("success", "error"), None),
        market=fields.text("market"),
        limit=fields.integer("limit", low=1, high=1000, default=100),
        cursor=_read_cursor(fields),
        with_snapshot=fields.choice("include", ("snapshot",), None) is not None,
    )
    fields.check()
    return query


def read(query: Query, *, with_balances: bool) -> CollectionPage:
    """Returns a page of collections by one query, and four more for snapshots."""
    rows = list(_chosen(query)[: query.limit + 1])
    page = rows[: query.limit]
    if query.with_snapshot:
        page = _within_rows(page)
    entries = [dialect.history_entry(row) for row in page]
    if query.with_snapshot:
        snapshots = _snapshots(page, query.market, with_balances=with_balances)
        entries = [{**entry, "snapshot": snapshots[row.pk]} for entry, row in zip(entries, page, strict=True)]
    return CollectionPage(entries, _cursor_of(page[-1]) if len(rows) > len(page) else None)


def _chosen(query: Query) -> QuerySet[Collection]:
    rows = Collection.objects.filter(settled_at__isnull=False).order_by("-started_at", "-id")
    if query.start:
        rows = rows.filter(started_at__gte=query.start)
    if query.end:
        rows = rows.filter(started_at__lt=query.end)
    if query.source is not None:
        rows = rows.filter(trigger_source=query.source)
    if query.status:
        rows = rows.filter(status=query.status)
    if query.market:
        points = MarketPoint.objects.filter(collection=OuterRef("pk"), market__symbol=query.market)
        rows = rows.filter(Exists(points))
    if query.cursor:
        started_at = datetime.fromisoformat(query.cursor[0])
        rows = rows.filter(started_at__lte=started_at)
        rows = rows.filter(Q(started_at__lt=started_at) | Q(pk__lt=query.cursor[1]))
    return rows


def _within_rows(page: Sequence[Collection]) -> list[Collection]:
    """Returns as many collections as fit, and one in any case."""
    kept: list[Collection] = []
    total = 0
    for row in page:
        total += row.data_points_collected
        if kept and total > SNAPSHOT_ROWS:
            break
        kept.append(row)
    return kept


def _snapshots(page: Sequence[Collection], market: str | None, *, with_balances: bool) -> dict[int, Body]:
    ids = [row.pk for row in page]
    found: dict[int, Body] = defaultdict(lambda: _empty_snapshot(with_balances=with_balances))
    balances = Balance.objects.filter(collection__in=ids) if with_balances else Balance.objects.none()
    for balance in balances.order_by("exchange_id", "asset"):
        found[balance.collection_id]["account_balance"].append(dialect.balance_entry(balance))
    for row in _points(ids, market):
        found[row["collection_id"]]["market_data"].append(dialect.market_entry(row))
    for reading in GridReading.objects.filter(collection__in=ids).order_by("grid_id"):
        body = orjson.loads(reading.body)
        if market in (None, body["market"]):
            found[reading.collection_id]["grids"].append(body)
    verdicts = Verdict.objects.filter(collection__in=ids).select_related("series__market").order_by("id")
    for verdict in verdicts:
        if market in (None, verdict.series.market.symbol):
            entry = dialect.regime_entry(verdict, now=verdict.analyzed_at)
            found[verdict.collection_id]["regimes"].append(entry)  # type: ignore[index]
    return {pk: found[pk] for pk in ids}


def _empty_snapshot(*, with_balances: bool) -> Body:
    hidden = {} if with_balances else {"account_balance_hidden": True}
    return {"account_balance": [], **hidden, "market_data": [], "grids": [], "regimes": []}


def _points(ids: Sequence[int], market: str | None) -> Iterable[Mapping[str, Any]]:
    points = MarketPoint.objects.filter(collection__in=ids)
    if market:
        points = points.filter(market__symbol=market)
    names = ("last", "bid", "ask", "volume_24h", "received_at")
    ordered = points.order_by("market__exchange_id", "market__symbol")
    rows: Iterable[Mapping[str, Any]] = ordered.values("collection_id", "market__exchange_id", "market__symbol", *names)
    return rows


def _cursor_of(row: Collection) -> str:
    return signing.dumps([row.started_at.isoformat(), row.pk], salt="metrics-history")


def _read_cursor(fields: Fields) -> tuple[str, int] | None:
    text = fields.data.get("cursor")
    if not text:
        return None
    try:
        started_at, pk = signing.loads(str(text), salt="metrics-history")
    except (signing.BadSignature, ValueError, TypeError):
        fields.note("cursor", "value_error", "Value error, take it from next_cursor unchanged")
        return None
    return str(started_at), int(pk)
