"""Grids: made, judged against the real price, and followed on paper. Nothing here ever places an order."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import IntegrityError, transaction

from collectors.models import Pipeline, Tick
from exchanges.models import Market
from metrics.models import Grid, PaperFill, Verdict
from metrics.rules import grid_levels as ladder
from metrics.rules import regime

TICKS_AT_A_TIME = 20_000


class GridConflict(Exception):
    """A grid that cannot be made: its id exists, or its range overlaps an enabled grid."""


@dataclass(frozen=True, slots=True)
class DesiredGrid:
    """A grid as somebody asked for it; its fields have been checked."""

    grid_id: str | None
    lower: Decimal
    upper: Decimal
    levels: int
    spacing: str
    amount: Decimal
    stop_loss: Decimal | None
    enabled: bool
    source: str


@dataclass(frozen=True, slots=True)
class GridStatus:
    """A grid's state at one moment. None is what the stored price cannot tell; `error` says why."""

    grid: Grid
    ladder: ladder.GridLevels
    state: str | None
    last_price: float | None
    last_update: datetime | None
    in_range: bool | None
    to_lower_pct: float | None
    to_upper_pct: float | None
    verdict: Verdict | None
    exit_state: str | None
    exit_reasons: tuple[str, ...]
    error: str = ""


def create(market: Market, wanted: DesiredGrid, *, now: datetime) -> Grid:
    """Makes a grid. Raises GridConflict. The market's row lock puts two creations on one market in order."""
    with transaction.atomic():
        Market.objects.select_for_update(of=("self",), no_key=True).get(pk=market.pk)
        grid_id = wanted.grid_id or f"grid_{now:%Y%m%d_%H%M%S}_{uuid.uuid4().hex[:6]}"
        if Grid.objects.filter(pk=grid_id).exists():
            raise GridConflict(f"grid {grid_id} exists already")
        other = overlapping(market, wanted.lower, wanted.upper)
        if other is not None:
            raise GridConflict(
                f"it overlaps the enabled grid {other.pk} ({plain(other.lower_bound)} to {plain(other.upper_bound)})"
            )
        try:
            return Grid.objects.create(
                id=grid_id,
                market=market,
                enabled=wanted.enabled,
                lower_bound=wanted.lower,
                upper_bound=wanted.upper,
                levels=wanted.levels,
                spacing=wanted.spacing,
                amount_per_grid=wanted.amount,
                stop_loss=wanted.stop_loss,
                source=wanted.source,
                followed_until=now,
            )
        except IntegrityError as error:  # the same id on another market, at the same moment
            raise GridConflict(f"grid {grid_id} exists already") from error


def plain(price: Decimal) -> str:
    """Returns the price as text without the zeros that the column adds."""
    return f"{price.normalize():f}"


def overlapping(market: Market, lower: Decimal, upper: Decimal) -> Grid | None:
    """Returns an enabled grid of this market that shares a price with the range, or None."""
    return Grid.objects.filter(market=market, enabled=True, lower_bound__lte=upper, upper_bound__gte=lower).first()


def warnings_of(standing: GridStatus) -> list[str]:
    """Returns warnings of what makes the grid a doubtful one; it is made all the same."""
    fee, smallest = standing.grid.market.taker_fee, standing.ladder.profits_pct[0]
    found = []
    if fee is None:
        found.append("the market's taker fee is unknown: profit per grid was not compared with it")
    elif float(smallest) < 2 * fee * 100:
        found.append(f"profit per grid of {smallest:.4f} % is below two taker fees ({2 * fee * 100:.4f} %)")
    if standing.verdict is None or not standing.verdict.verdict:
        found.append("the market's regime is unknown")
    elif standing.verdict.verdict not in regime.RANGES:
        found.append(f"the market's regime is {standing.verdict.verdict}, no range")
    return found


def standings(grids: Iterable[Grid], *, now: datetime) -> list[GridStatus]:
    """Returns how these grids stand at `now`. Two queries."""
    chosen = list(grids)
    market_ids = {grid.market_id for grid in chosen}
    pipelines = {row.market_id: row for row in Pipeline.objects.filter(market_id__in=market_ids)}
    verdicts = newest_verdicts(market_ids)
    return [stand(grid, pipelines.get(grid.market_id), verdicts.get(grid.market_id), now=now) for grid in chosen]


def newest_verdicts(market_ids: Iterable[int], timeframe: str = "1h") -> dict[int, Verdict]:
    found = Verdict.objects.filter(series__market_id__in=list(market_ids), series__timeframe=timeframe)
    newest = found.order_by("series_id", "-analyzed_at", "-id").distinct("series_id").select_related("series")
    return {verdict.series.market_id: verdict for verdict in newest}


def stand(grid: Grid, pipeline: Pipeline | None, verdict: Verdict | None, *, now: datetime) -> GridStatus:
    """Returns a grid's status. Pure: a price that is too old says where it was, and nothing of where the grid is."""
    steps = ladder.build(grid.lower_bound, grid.upper_bound, levels=grid.levels, spacing=grid.spacing)
    price = pipeline.last if pipeline else None
    error = price_error(pipeline, now)
    known = price if not error else None
    state, reasons = exit_of(grid, known, verdict)
    return GridStatus(
        grid=grid,
        ladder=steps,
        state=state_of(grid, known),
        last_price=price,
        last_update=pipeline.received_at if pipeline else None,
        in_range=None if known is None else grid.lower_bound <= Decimal(repr(known)) <= grid.upper_bound,
        to_lower_pct=None if not known else (known - float(grid.lower_bound)) / known * 100,
        to_upper_pct=None if not known else (float(grid.upper_bound) - known) / known * 100,
        verdict=verdict,
        exit_state=state,
        exit_reasons=reasons,
        error=error,
    )


def price_error(pipeline: Pipeline | None, now: datetime) -> str:
    """Says why the stored price cannot be relied on; empty when it can."""
    if pipeline is None or pipeline.received_at is None or pipeline.last is None:
        return "there is no price of this market"
    if pipeline.frozen:
        since = f" since {pipeline.changed_at:%Y-%m-%d %H:%M:%S} UTC" if pipeline.changed_at else ""
        return f"the price stands still{since} while others move"
    if pipeline.is_unconfirmed:
        return "the price has jumped, and nothing else agrees yet"
    age = (now - pipeline.received_at).total_seconds()
    limit = max(settings.METRICS_FRESH_SECONDS, 3 * pipeline.expected_seconds)
    return f"the newest price is {age:.0f} s old" if age > limit else ""


def state_of(grid: Grid, price: float | None) -> str | None:
    if not grid.enabled:
        return "disabled"
    if grid.stopped_at is not None:
        return "stopped"
    if price is None:
        return None
    if is_beyond_stop(grid, price):
        return "stopped"
    return "active" if grid.lower_bound <= Decimal(repr(price)) <= grid.upper_bound else "out_of_range"


def is_beyond_stop(grid: Grid, price: float) -> bool:
    return grid.stop_loss is not None and Decimal(repr(price)) <= grid.stop_loss


def exit_of(grid: Grid, price: float | None, verdict: Verdict | None) -> tuple[str | None, tuple[str, ...]]:
    """Returns the market's exit state and reasons, or a mandatory exit once the price is beyond the stop-loss."""
    if grid.stopped_at is not None or (price is not None and is_beyond_stop(grid, price)):
        return regime.MANDATORY_EXIT, ("the price is beyond the stop-loss",)
    if verdict is None:
        return None, ()
    return verdict.exit_state or None, tuple(verdict.exit_reasons)


# --- on paper ---------------------------------------------------------------------------------------------------------


def follow_all(*, now: datetime) -> int:
    """Counts the fills of every enabled grid up to `now`; returns how many."""
    running = Grid.objects.filter(enabled=True, stopped_at__isnull=True).values_list("pk", flat=True)
    return sum(follow(grid_id, now=now) for grid_id in list(running))


@transaction.atomic
def follow(grid_id: str, *, now: datetime) -> int:
    """Counts a grid's fills. Twice is harmless: the row lock orders two followers; the second finds no new ticks."""
    grid = Grid.objects.select_for_update(of=("self",)).get(pk=grid_id)
    since = grid.followed_until or grid.created_at
    ticks = _ticks(grid.market_id, since=since, until=now)
    if not ticks:
        return 0
    levels = ladder.build(grid.lower_bound, grid.upper_bound, levels=grid.levels, spacing=grid.spacing).levels
    stopped_at = next((at for at, price in ticks if is_beyond_stop(grid, float(price))), None)
    counted = [tick for tick in ticks if stopped_at is None or tick[0] <= stopped_at]
    first = grid.filled_level if grid.filled_level is not None else ladder.nearest_level(levels, counted[0][1])
    found, level = ladder.fills(levels, first, counted)
    PaperFill.objects.bulk_create(
        [PaperFill(grid=grid, level=n, side=side, price=levels[n], filled_at=at) for n, side, at in found],
        ignore_conflicts=True,
    )
    Grid.objects.filter(pk=grid.pk).update(filled_level=level, followed_until=ticks[-1][0], stopped_at=stopped_at)
    return len(found)


def _ticks(market_id: int, *, since: datetime, until: datetime) -> Sequence[tuple[datetime, Decimal]]:
    since = max(since, until - timedelta(hours=settings.RAW_RETENTION_HOURS))
    rows = Tick.objects.filter(pipeline_id=market_id, received_at__gt=since, received_at__lte=until)
    newest = rows.exclude(last=None).order_by("received_at").values_list("received_at", "last")[:TICKS_AT_A_TIME]
    return [(at, Decimal(repr(price))) for at, price in newest]
