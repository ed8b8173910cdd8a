"""The answer of live rates in the OpenAPI schema."""

from __future__ import annotations

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers as fields

from collectors.rules.pair_rates import REASONS
from collectors.status.packets import QualitySerializer

RATES = inline_serializer(
    "LiveRates",
    {
        "rates": inline_serializer(
            "LiveRate",
            {
                "pair": fields.CharField(),
                "vwap": fields.FloatField(allow_null=True, help_text="Null when no source told a volume."),
                "timestamp": fields.DateTimeField(allow_null=True),
                "sources": inline_serializer(
                    "RateSource",
                    {
                        "exchange": fields.CharField(),
                        "price": fields.FloatField(),
                        "volume": fields.FloatField(allow_null=True),
                        "timestamp": fields.DateTimeField(),
                        "age_seconds": fields.IntegerField(),
                        "kind": fields.ChoiceField(choices=["spot", "perpetual"]),
                    },
                    many=True,
                ),
                "freshness_seconds": fields.IntegerField(allow_null=True),
                "stale": fields.BooleanField(required=False, help_text="Only when older than max_age."),
                "conflict": fields.BooleanField(
                    required=False, help_text="Only when sources differ so much that there is no price."
                ),
                "excluded": fields.ListField(
                    child=fields.CharField(), required=False, help_text="Exchanges whose price is not used."
                ),
                "excluded_details": inline_serializer(
                    "RateExcluded",
                    {
                        "exchange": fields.CharField(),
                        "reason": fields.ChoiceField(choices=list(REASONS)),
                        "age_seconds": fields.IntegerField(),
                    },
                    many=True,
                    required=False,
                ),
            },
            many=True,
        ),
        "quality": QualitySerializer(help_text="Of all these rates; it counts sources."),
        "capped": inline_serializer(
            "CappedRates",
            {"pairs": fields.IntegerField(), "asked_for": fields.IntegerField()},
            required=False,
            help_text="Only when the plan gives fewer pairs than were asked for.",
        ),
    },
)
RATES_EXAMPLE = {
    "rates": [
        {
            "pair": "BTCNGN",
            "vwap": 135250000.5,
            "timestamp": "2026-03-23T11:59:53Z",
            "sources": [
                {
                    "exchange": "luno",
                    "price": 135250000.0,
                    "volume": 3.1,
                    "timestamp": "2026-03-23T11:59:53Z",
                    "age_seconds": 7,
                    "kind": "spot",
                },
                {
                    "exchange": "quidax",
                    "price": 135251550.5,
                    "volume": 1.0,
                    "timestamp": "2026-03-23T11:59:51Z",
                    "age_seconds": 9,
                    "kind": "spot",
                },
            ],
            "freshness_seconds": 7,
        }
    ],
    "quality": {
        "condition": "available",
        "completeness": 1.0,
        "expected": 2,
        "stored": 2,
        "filled": 0,
        "origins": {"live": 2, "candle": 0, "trade": 0},
        "open_gap_ids": [],
        "worst_cause": None,
        "frozen": False,
        "identity_unproven": False,
        "as_of": None,
    },
}
