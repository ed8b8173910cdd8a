"""Bodies of the metrics webhook API for OpenAPI; `fields` reads requests and `dialect` renders answers."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

GRID_ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class CollectRequest(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {  # `source` is no name for a class attribute of a serializer
            "source": serializers.CharField(required=False, allow_null=True, default="n8n_schedule"),
            "trigger_time": serializers.CharField(required=False, allow_null=True, help_text="ISO 8601"),
            "collection_id": serializers.CharField(required=False, allow_null=True, max_length=200),
        }


class CollectResponse(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["success", "error"])
    collection_id = serializers.CharField()
    timestamp = serializers.DateTimeField()
    data_points_collected = serializers.IntegerField()
    storage_status = serializers.ChoiceField(["committed", "failed"])
    dashboard_updated = serializers.BooleanField()
    trigger_source = serializers.CharField()
    error = serializers.CharField(required=False)


class ValidationProblem(serializers.Serializer[Any]):
    type = serializers.CharField()
    loc = serializers.ListField(child=serializers.JSONField())
    msg = serializers.CharField()
    input = serializers.JSONField(allow_null=True)
    ctx = serializers.DictField(required=False, help_text="Where a body is no JSON: why not.")


class Detail(serializers.Serializer[Any]):
    detail = ValidationProblem(many=True)


class Error(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["error"])
    timestamp = serializers.DateTimeField()
    error = serializers.CharField()


class SnapshotSerializer(serializers.Serializer[Any]):
    account_balance = serializers.ListField(child=serializers.DictField())
    account_balance_hidden = serializers.BooleanField(
        required=False, help_text="Nobody is shown balances while METRICS_WEBHOOK_TOKEN is not set."
    )
    market_data = serializers.ListField(child=serializers.DictField())
    grids = serializers.ListField(child=serializers.DictField())
    regimes = serializers.ListField(child=serializers.DictField())


class HistoryEntry(serializers.Serializer[Any]):
    collection_id = serializers.CharField()
    timestamp = serializers.DateTimeField()
    trigger_source = serializers.CharField()
    trigger_time = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    storage_status = serializers.CharField()
    data_points_collected = serializers.IntegerField()
    dashboard_updated = serializers.BooleanField()
    duration_ms = serializers.IntegerField()
    error = serializers.CharField(allow_null=True)
    snapshot = SnapshotSerializer(required=False)


class HistoryResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    timestamp = serializers.DateTimeField()
    count = serializers.IntegerField()
    next_cursor = serializers.CharField(allow_null=True)
    metrics = HistoryEntry(many=True)


class Bounds(serializers.Serializer[Any]):
    lower_bound = serializers.FloatField(allow_null=True)
    upper_bound = serializers.FloatField(allow_null=True)


class RegimeMetrics(serializers.Serializer[Any]):
    adx = serializers.FloatField(allow_null=True)
    efficiency_ratio = serializers.FloatField(allow_null=True)
    autocorrelation = serializers.FloatField(allow_null=True)
    ou_half_life = serializers.FloatField(allow_null=True)
    normalized_slope = serializers.FloatField(allow_null=True)
    bollinger_bandwidth = serializers.FloatField(allow_null=True)
    atr = serializers.FloatField(allow_null=True)
    volatility_expansion_ratio = serializers.FloatField(allow_null=True)
    zscore = serializers.FloatField(allow_null=True)


class Regime(serializers.Serializer[Any]):
    market = serializers.CharField()
    exchange = serializers.CharField()
    timeframe = serializers.CharField()
    verdict = serializers.ChoiceField(["RANGE_OK", "RANGE_WEAK", "TRANSITION", "TREND"], allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    trend_score = serializers.FloatField(allow_null=True)
    analyzed_at = serializers.DateTimeField(allow_null=True)
    bar_time = serializers.DateTimeField(allow_null=True)
    bars_used = serializers.IntegerField()
    insufficient_data = serializers.BooleanField()
    stale = serializers.BooleanField()
    metrics = RegimeMetrics()
    exit_state = serializers.ChoiceField(
        ["NORMAL", "WARNING", "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT"], allow_null=True
    )
    exit_reasons = serializers.ListField(child=serializers.CharField())
    error = serializers.CharField(required=False, help_text="Why there is no verdict, or no newer candle.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()  # `range` is no name for a class attribute
        at = list(fields).index("metrics")
        return dict([*list(fields.items())[:at], ("range", Bounds()), *list(fields.items())[at:]])


class RegimesResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    timestamp = serializers.DateTimeField()
    count = serializers.IntegerField()
    regimes = Regime(many=True)


class AnalyzeResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    timestamp = serializers.DateTimeField()
    count = serializers.IntegerField()
    analysis_id = serializers.CharField()
    regimes = Regime(many=True)


class AnalyzeRequest(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            "market": serializers.CharField(
                required=False, allow_null=True, help_text="Omitted: all that are watched."
            ),
            "exchange": serializers.CharField(required=False, allow_null=True),
            "timeframe": serializers.CharField(required=False, default="1h"),
            "lookback": serializers.IntegerField(required=False, default=200, min_value=60, max_value=1000),
            "source": serializers.CharField(required=False, default="manual"),
            "analysis_id": serializers.CharField(required=False, allow_null=True),
        }


class GridStructure(serializers.Serializer[Any]):
    levels = serializers.IntegerField(min_value=2, max_value=500)
    spacing = serializers.ChoiceField(["arithmetic", "geometric"], required=False, allow_null=True)
    amount_per_grid = serializers.FloatField()


class ShownStructure(serializers.Serializer[Any]):
    levels = serializers.IntegerField()
    spacing = serializers.ChoiceField(["arithmetic", "geometric"])
    step = serializers.FloatField(help_text="A price when arithmetic, a ratio when geometric.")
    amount_per_grid = serializers.FloatField()


class Profit(serializers.Serializer[Any]):
    min = serializers.FloatField()
    max = serializers.FloatField()


class PositionSerializer(serializers.Serializer[Any]):
    last_price = serializers.FloatField(allow_null=True)
    in_range = serializers.BooleanField(allow_null=True)
    distance_to_lower_pct = serializers.FloatField(allow_null=True)
    distance_to_upper_pct = serializers.FloatField(allow_null=True)
    last_update = serializers.DateTimeField(allow_null=True)


class GridRegime(serializers.Serializer[Any]):
    verdict = serializers.CharField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)


class GridSerializer(serializers.Serializer[Any]):
    grid_id = serializers.CharField()
    market = serializers.CharField()
    exchange = serializers.CharField()
    enabled = serializers.BooleanField()
    state = serializers.ChoiceField(["active", "disabled", "out_of_range", "stopped"], allow_null=True)
    price_range = Bounds()
    grid_structure = ShownStructure()
    stop_loss = serializers.FloatField(allow_null=True)
    profit_per_grid_pct = Profit(help_text="Before fees.")
    position = PositionSerializer()
    regime = GridRegime()
    exit_state = serializers.CharField(allow_null=True)
    exit_reasons = serializers.ListField(child=serializers.CharField())
    updated_at = serializers.DateTimeField()
    error = serializers.CharField(required=False, help_text="Why the price tells nothing.")


class GridsResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    timestamp = serializers.DateTimeField()
    count = serializers.IntegerField()
    grids = GridSerializer(many=True)


class GridRequest(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            "market": serializers.CharField(),
            "exchange": serializers.CharField(),
            "price_range": Bounds(),
            "grid_structure": GridStructure(),
            "stop_loss": serializers.FloatField(required=False, allow_null=True),
            "enabled": serializers.BooleanField(required=False, default=False),
            "grid_id": serializers.CharField(required=False, allow_null=True, max_length=64),
            "source": serializers.CharField(required=False, allow_null=True),
        }


class GridResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    grid_id = serializers.CharField()
    timestamp = serializers.DateTimeField()
    grid = GridSerializer()
    warnings = serializers.ListField(child=serializers.CharField())
