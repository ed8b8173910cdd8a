"""Grids: what is refused, how they stand against the stored price, and fills on paper from real ticks."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError
from django.test import Client

from collectors.models import Pipeline
from metrics import analysis, grids
from metrics.models import Grid, PaperFill
from metrics.rules import grid_levels
from tests.metrics.conftest import Place
from tests.metrics.series import ranging, trending


def wanted(**changes: Any) -> dict[str, Any]:
    return {
        "market": "BTC/USDT",
        "exchange": "binance",
        "price_range": {"lower_bound": 90, "upper_bound": 110},
        "grid_structure": {"levels": 11, "spacing": "arithmetic", "amount_per_grid": 0.5},
        "enabled": True,
        **changes,
    }


def create(client: Client, **changes: Any) -> Any:
    return client.post("/grids/create", json.dumps(wanted(**changes)), "application/json")


def status(client: Client, **query: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = client.get("/grids/status", query).json()["grids"]
    return entries


def test_a_grid_is_created_with_the_documented_body(place: Place, api: Client) -> None:
    answer = create(api, stop_loss=80, grid_id="mine", source="n8n")

    body = answer.json()
    assert answer.status_code == 201
    assert list(body) == ["status", "grid_id", "timestamp", "grid", "warnings"]
    assert body["grid_id"] == "mine"
    assert body["grid"] == status(api)[0]
    assert list(body["grid"]) == [
        "grid_id",
        "market",
        "exchange",
        "enabled",
        "state",
        "price_range",
        "grid_structure",
        "stop_loss",
        "profit_per_grid_pct",
        "position",
        "regime",
        "exit_state",
        "exit_reasons",
        "updated_at",
    ]
    assert body["grid"]["grid_structure"] == {
        "levels": 11,
        "spacing": "arithmetic",
        "step": 2.0,
        "amount_per_grid": 0.5,
    }
    assert body["grid"]["position"]["last_price"] == 100.0
    assert body["grid"]["position"]["in_range"] is True
    assert body["grid"]["position"]["distance_to_lower_pct"] == pytest.approx(10)
    assert body["grid"]["state"] == "active"


@pytest.mark.parametrize(
    ("changes", "place_of_problem"),
    [
        ({"price_range": {"lower_bound": 0, "upper_bound": 5}}, ["body", "price_range", "lower_bound"]),
        ({"price_range": {"lower_bound": 5, "upper_bound": 5}}, ["body", "price_range", "upper_bound"]),
        ({"price_range": None}, ["body", "price_range"]),
        ({"grid_structure": {"levels": 1, "amount_per_grid": 1}}, ["body", "grid_structure", "levels"]),
        ({"grid_structure": {"levels": 501, "amount_per_grid": 1}}, ["body", "grid_structure", "levels"]),
        ({"grid_structure": {"levels": 2.5, "amount_per_grid": 1}}, ["body", "grid_structure", "levels"]),
        ({"grid_structure": {"levels": 5, "amount_per_grid": 0}}, ["body", "grid_structure", "amount_per_grid"]),
        ({"grid_structure": {"levels": 5}}, ["body", "grid_structure", "amount_per_grid"]),
        ({"stop_loss": 90}, ["body", "stop_loss"]),
        ({"stop_loss": -1}, ["body", "stop_loss"]),
        ({"enabled": "yes"}, ["body", "enabled"]),
        ({"grid_id": "no spaces"}, ["body", "grid_id"]),
        ({"market": 5}, ["body", "market"]),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(
    place: Place, api: Client, changes: dict[str, Any], place_of_problem: list[str]
) -> None:
    answer = create(api, **changes)

    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [place_of_problem]
    assert not Grid.objects.exists()


@pytest.mark.parametrize(("levels", "answered"), [(2, 201), (500, 201)])
def test_the_edges_of_levels(place: Place, api: Client, levels: int, answered: int) -> None:
    assert create(api, grid_structure={"levels": levels, "amount_per_grid": 1}).status_code == answered


@pytest.mark.parametrize("changes", [{"exchange": "nowhere"}, {"market": "NO/NE"}, {"exchange": "kraken"}])
def test_an_unknown_market_or_exchange_is_not_found(place: Place, api: Client, changes: dict[str, Any]) -> None:
    answer = create(api, **changes)

    assert answer.status_code == 404
    assert list(answer.json()) == ["status", "timestamp", "error"]


def test_an_id_and_an_enabled_range_can_be_taken_once(place: Place, api: Client) -> None:
    create(api, grid_id="first")

    same_id = create(api, grid_id="first", price_range={"lower_bound": 200, "upper_bound": 210})
    overlap = create(api, price_range={"lower_bound": 105, "upper_bound": 120}, enabled=False)
    beside = create(api, price_range={"lower_bound": 111, "upper_bound": 120})
    elsewhere = create(api, market="ETH/USDT")

    assert [answer.status_code for answer in (same_id, overlap, beside, elsewhere)] == [409, 409, 201, 201]
    assert "overlaps the enabled grid first (90 to 110)" in overlap.json()["error"]


def test_the_database_itself_keeps_enabled_grids_apart(place: Place, api: Client) -> None:
    create(api, grid_id="first")
    create(api, grid_id="second", price_range={"lower_bound": 111, "upper_bound": 120})

    with pytest.raises(IntegrityError, match="enabled_grids_do_not_overlap"):
        Grid.objects.filter(pk="second").update(lower_bound=100)


def test_a_step_below_two_fees_and_an_unknown_regime_are_warned_of(place: Place, api: Client) -> None:
    warnings = create(api, grid_structure={"levels": 500, "amount_per_grid": 1}).json()["warnings"]

    assert len(warnings) == 2
    assert "below two taker fees (0.2000 %)" in warnings[0]
    assert "regime is unknown" in warnings[1]


def test_a_trend_is_warned_of(place: Place, api: Client) -> None:
    place.candles(trending(250))
    analysis.analyze(place.series(), now=place.now, source="test")

    body = create(api).json()

    assert body["warnings"] == ["the market's regime is TREND, no range"]
    assert body["grid"]["exit_state"] == "MANDATORY_EXIT"


def test_a_good_range_with_wide_steps_brings_no_warning(place: Place, api: Client) -> None:
    place.candles(ranging(250))
    analysis.analyze(place.series(), now=place.now, source="test")

    assert create(api).json()["warnings"] == []


@pytest.mark.parametrize(
    ("price", "state", "in_range"),
    [(89.99, "out_of_range", False), (90.0, "active", True), (110.0, "active", True), (80.0, "stopped", False)],
)
def test_states_by_the_stored_price(place: Place, api: Client, price: float, state: str, in_range: bool) -> None:
    create(api, stop_loss=80)
    Pipeline.objects.update(last=price)

    entry = status(api)[0]

    assert (entry["state"], entry["position"]["in_range"]) == (state, in_range)
    assert [each["state"] for each in status(api, state=state)] == [state]
    if state == "stopped":
        assert entry["exit_state"] == "MANDATORY_EXIT"


def test_a_dead_price_says_nothing_of_the_grid(place: Place, api: Client) -> None:
    create(api)
    place.age("binance", 600)

    entry = status(api)[0]

    assert entry["state"] is None
    assert entry["position"]["last_price"] == 100.0
    assert entry["position"]["in_range"] is None
    assert entry["position"]["distance_to_upper_pct"] is None
    assert "old" in entry["error"]


def test_grids_can_be_filtered_and_an_unknown_one_is_not_found(place: Place, api: Client) -> None:
    create(api, grid_id="a")
    create(api, grid_id="b", market="ETH/USDT", enabled=False)

    assert [each["grid_id"] for each in status(api, market="ETH/USDT")] == ["b"]
    assert [each["grid_id"] for each in status(api, grid_id="a", exchange="binance")] == ["a"]
    assert [each["grid_id"] for each in status(api, state="disabled")] == ["b"]
    assert api.get("/grids/status?grid_id=c").status_code == 404
    assert api.get("/grids/status?state=good").status_code == 422


# --- levels and fills --------------------------------------------------------------------------------------------


def test_arithmetic_levels_are_equally_far_apart() -> None:
    steps = grid_levels.build(Decimal(90), Decimal(110), levels=11, spacing="arithmetic")

    assert [int(level) for level in steps.levels] == list(range(90, 111, 2))
    assert steps.step == 2
    assert [round(float(each), 4) for each in steps.profits_pct] == [1.8519, 2.2222]


def test_geometric_levels_have_equal_ratios_and_exact_ends() -> None:
    steps = grid_levels.build(Decimal(100), Decimal(1600), levels=5, spacing="geometric")

    assert [round(float(level), 9) for level in steps.levels] == [100, 200, 400, 800, 1600]
    assert (steps.levels[0], steps.levels[-1]) == (100, 1600)
    assert float(steps.step) == pytest.approx(2)


def test_a_crossed_level_is_filled_once_and_a_trembling_price_fills_nothing(place: Place, api: Client) -> None:
    create(api, grid_id="g")
    begun = Grid.objects.get(pk="g").created_at
    for second, price in enumerate([100, 99, 97.9, 98.1, 97.9, 98.1, 100.0, 105.0, 103.9]):
        place.tick(price, at=begun + timedelta(seconds=second + 1))
    now = begun + timedelta(seconds=60)

    counted = grids.follow_all(now=now)
    again = grids.follow_all(now=now)

    fills = PaperFill.objects.order_by("filled_at", "id").values_list("side", "price")
    assert [(side, int(price)) for side, price in fills] == [
        ("buy", 98),
        ("sell", 100),
        ("sell", 102),
        ("sell", 104),
    ]
    assert (counted, again) == (4, 0)


def test_fills_go_on_where_they_were_left(place: Place, api: Client) -> None:
    create(api, grid_id="g")
    begun = Grid.objects.get(pk="g").created_at
    place.tick(100, at=begun + timedelta(seconds=1))
    grids.follow_all(now=begun + timedelta(seconds=2))
    place.tick(97, at=begun + timedelta(seconds=3))

    assert grids.follow_all(now=begun + timedelta(seconds=4)) == 1
    assert PaperFill.objects.get().side == "buy"


def test_beyond_the_stop_loss_a_grid_stops_for_good(place: Place, api: Client) -> None:
    create(api, grid_id="g", stop_loss=80)
    begun = Grid.objects.get(pk="g").created_at
    for second, price in enumerate([95, 79, 95, 105]):
        place.tick(price, at=begun + timedelta(seconds=second + 1))

    grids.follow_all(now=begun + timedelta(seconds=10))
    later = grids.follow_all(now=begun + timedelta(seconds=20))

    assert Grid.objects.get(pk="g").stopped_at == begun + timedelta(seconds=2)
    assert set(PaperFill.objects.values_list("side", flat=True)) == {"buy"}
    assert later == 0
    assert status(api)[0]["state"] == "stopped"
