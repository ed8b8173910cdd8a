"""The quality that goes with answers, as the OpenAPI schema describes it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from collectors.rules import quality as rules


class OriginCountsSerializer(serializers.Serializer[Any]):
    live = serializers.IntegerField(allow_null=True)
    candle = serializers.IntegerField(allow_null=True)
    trade = serializers.IntegerField(allow_null=True)


class QualitySerializer(serializers.Serializer[Any]):
    condition = serializers.ChoiceField(choices=rules.CONDITIONS)
    completeness = serializers.FloatField(allow_null=True, help_text="Stored of expected; null where nothing was due.")
    expected = serializers.IntegerField(help_text="Minutes that hold rows or are missing by a gap.")
    stored = serializers.IntegerField()
    filled = serializers.IntegerField(help_text="Minutes whose rows were all fetched later.")
    origins = OriginCountsSerializer(help_text="Rows by origin; null where minutes are older than this count.")
    open_gap_ids = serializers.ListField(child=serializers.IntegerField(), allow_null=True)
    worst_cause = serializers.CharField(allow_null=True)
    frozen = serializers.BooleanField(allow_null=True)
    identity_unproven = serializers.BooleanField(help_text="Some of it may have been another market's.")
    as_of = serializers.DateTimeField(allow_null=True)
