"""What the admin draws of regimes and grids."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

from collectors.models import Rollup
from metrics import analysis, charts
from metrics.models import Grid, PaperFill
from tests.metrics.conftest import Place
from tests.metrics.series import ranging


def lines_of(chart: charts.Chart) -> dict[str, Any]:
    return {line["label"]: line for line in json.loads(chart.data)["datasets"]}


def test_a_regimes_chart_has_bands_and_a_point_on_each_judged_bar(place: Place) -> None:
    place.candles(ranging(250))
    verdict = analysis.analyze(place.series(), now=place.now, source="test")

    chart = charts.of_series(place.series())

    lines = lines_of(chart)
    assert list(lines) == ["close", "upper band", "lower band", "lower bound", "upper bound"]
    assert all(low < high for low, high in zip(lines["lower band"]["data"], lines["upper band"]["data"], strict=True))
    assert lines["close"]["pointRadius"][:-1] == [0] * (charts.SERIES_BARS - 1)
    assert lines["close"]["pointBackgroundColor"][-1] == charts.VERDICT_COLOURS[verdict.verdict]
    assert {key.words for key in chart.keys} >= set(charts.VERDICT_COLOURS)


def test_a_chart_of_few_candles_has_no_bands_instead_of_wrong_ones(place: Place) -> None:
    place.candles(ranging(5))

    lines = lines_of(charts.of_series(place.series()))

    assert lines["upper band"]["data"] == lines["lower band"]["data"] == [None] * 5


def test_a_grids_chart_shows_every_fill_of_a_minute(place: Place) -> None:
    grid = make_grid(place, levels=5)
    minute = (place.now - timedelta(minutes=2)).replace(second=0, microsecond=0)
    Rollup.objects.create(pipeline_id=grid.market_id, minute_at=minute, samples=6, close=95.0)
    for seconds, side, price in ((1, "buy", 95), (2, "buy", 90), (3, "sell", 95)):
        moment = place.now - timedelta(minutes=2, seconds=seconds)
        PaperFill.objects.create(grid=grid, side=side, level=1, price=price, filled_at=moment)

    chart = charts.of_grid(grid)

    lines = lines_of(chart)
    assert sorted(point["y"] for point in lines["buy"]["data"]) == [90, 95]
    assert [point["y"] for point in lines["sell"]["data"]] == [95]
    assert {point["x"] for point in lines["buy"]["data"]} <= set(json.loads(chart.data)["labels"])
    assert "3 fills on paper" in chart.title


def test_a_grid_of_many_levels_draws_few_and_says_so(place: Place) -> None:
    chart = charts.of_grid(make_grid(place, levels=500))

    drawn = [label for label in lines_of(chart) if label.startswith("level ")]
    assert 10 < len(drawn) <= charts.LEVELS_SHOWN
    assert "levels (1 of 21 is drawn)" in [key.words for key in chart.keys]


def make_grid(place: Place, *, levels: int) -> Grid:
    bounds = {"lower_bound": Decimal(90), "upper_bound": Decimal(110), "stop_loss": Decimal(85)}
    return Grid.objects.create(
        id="g1", market=place.market(), levels=levels, spacing="arithmetic", amount_per_grid=Decimal(1), **bounds
    )
