"""The JSON of incidents, planned work, channels and routes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from incidents.models import AlertChannel, AlertRoute, ChannelKind, Delivery, Incident, IncidentEntry, Maintenance

TEXT_CHARACTERS = 2000


class IncidentEntrySerializer(serializers.ModelSerializer[IncidentEntry]):
    class Meta:
        model = IncidentEntry
        fields = ["happened_at", "kind", "by", "text", "is_public", "state"]
        read_only_fields = fields


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    channel = serializers.CharField(source="channel.name")

    class Meta:
        model = Delivery
        fields = [
            "id", "channel", "event", "step", "repetition", "state", "due_at", "next_try_at", "attempts", "is_repeat",
            "sent_at", "status", "elapsed_ms", "excerpt",
        ]  # fmt: skip
        read_only_fields = fields


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    parent = serializers.IntegerField(source="parent_id", allow_null=True)  # type: ignore[assignment]
    is_open = serializers.BooleanField()
    rows_missing = serializers.IntegerField(help_text="Rows that should have come: the sum over its gaps.")
    rows_recovered = serializers.IntegerField(help_text="Rows of them that were filled in later.")
    affected = serializers.IntegerField(help_text="Markets without current rows.")

    class Meta:
        model = Incident
        fields = [
            "id", "kind", "cause", "severity", "title", "detail", "advice", "exchanges", "affected", "parent", "since",
            "opened_at", "ended_at", "is_open", "state", "reopened", "rows_missing", "rows_recovered",
            "acknowledged_by", "acknowledged_at", "acknowledged_until", "snoozed_until", "opened_by", "is_drill",
            "version",
        ]  # fmt: skip
        read_only_fields = fields


class IncidentDetailSerializer(IncidentSerializer):
    children = IncidentSerializer(many=True)
    entries = IncidentEntrySerializer(many=True)
    deliveries = DeliverySerializer(many=True, help_text="Empty for those who may only look.")

    class Meta(IncidentSerializer.Meta):
        fields = [*IncidentSerializer.Meta.fields, "children", "entries", "deliveries"]
        read_only_fields = fields


class PauseSerializer(serializers.Serializer[Any]):
    until = serializers.DateTimeField(required=False)
    for_seconds = serializers.FloatField(required=False, min_value=1, max_value=7 * 86_400)
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)

    def validate(self, sent: dict[str, Any]) -> dict[str, Any]:
        if "until" in sent and "for_seconds" in sent:
            raise serializers.ValidationError({"until": ["Either until or for_seconds."]})
        return sent


class NoteSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=TEXT_CHARACTERS)
    is_public = serializers.BooleanField(default=False)
    state = serializers.ChoiceField(
        choices=["investigating", "identified", "monitoring", "resolved"], required=False, default=""
    )


class ResolveSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=TEXT_CHARACTERS, required=False, allow_blank=True, default="")


class NewIncidentSerializer(serializers.Serializer[Any]):
    title = serializers.CharField(max_length=200)
    severity = serializers.ChoiceField(choices=["info", "warning", "critical"], default="warning")
    exchanges = serializers.ListField(child=serializers.CharField(max_length=64), required=False, default=list)
    text = serializers.CharField(max_length=TEXT_CHARACTERS, required=False, allow_blank=True, default="")


class MaintenanceSerializer(serializers.ModelSerializer[Maintenance]):
    exchanges = serializers.ListField(
        child=serializers.CharField(max_length=64), required=False, help_text="Empty: all, and the system itself."
    )
    rrule = serializers.CharField(
        required=False, allow_blank=True, max_length=300, help_text="Such as FREQ=WEEKLY;BYDAY=SU; empty: once."
    )
    expires_at = serializers.DateTimeField(required=False, help_text="When a rule ends; at most 400 days ahead.")

    class Meta:
        model = Maintenance
        fields = [
            "id", "reason", "exchanges", "starts_at", "ends_at", "rrule", "zone", "expires_at", "is_public",
            "created_by",
        ]  # fmt: skip
        read_only_fields = ["created_by"]


class ChannelSerializer(serializers.ModelSerializer[AlertChannel]):
    kind = serializers.ChoiceField(choices=ChannelKind.choices)
    address = serializers.CharField(write_only=True, max_length=2000, help_text="Kept sealed, and never shown again.")
    secret = serializers.CharField(
        write_only=True, required=False, allow_blank=True, max_length=400,
        help_text="A webhook's signing secret (made when left out, and shown once), a token of Alertmanager or ntfy.",
    )  # fmt: skip

    failure = serializers.CharField(source="last_error", read_only=True, help_text="What the last failed try said.")

    class Meta:
        model = AlertChannel
        fields = [
            "id", "name", "kind", "address", "secret", "shown", "is_enabled", "verified_at", "last_good_at",
            "failing_since", "failure",
        ]  # fmt: skip
        read_only_fields = ["shown", "verified_at", "last_good_at", "failing_since"]


class ChannelAnswerSerializer(ChannelSerializer):
    signing_secret = serializers.CharField(required=False, help_text="Only in the answer that made it.")

    class Meta(ChannelSerializer.Meta):
        fields = [*ChannelSerializer.Meta.fields, "signing_secret"]


class ChannelTestSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(
        required=False, allow_blank=True, max_length=8, default="",
        help_text="The code of the newest test, typed back; left out: a test is sent.",
    )  # fmt: skip


class ChannelTestAnswerSerializer(serializers.Serializer[Any]):
    is_verified = serializers.BooleanField()
    delivery = serializers.IntegerField(allow_null=True)


class StepSerializer(serializers.Serializer[Any]):
    after_seconds = serializers.FloatField(default=0)
    channels = serializers.ListField(child=serializers.CharField(max_length=60))
    repeat_seconds = serializers.FloatField(default=0)


class QuietHoursSerializer(serializers.Serializer[Any]):
    zone = serializers.CharField(default="UTC")

    def get_fields(self) -> dict[str, Any]:
        words = {"from": serializers.CharField(max_length=5), "to": serializers.CharField(max_length=5)}
        return {**words, **super().get_fields()}  # `from` is no name for a class attribute


class RouteMatchSerializer(serializers.Serializer[Any]):
    exchanges = serializers.ListField(child=serializers.CharField(max_length=64), required=False)
    kinds = serializers.ListField(child=serializers.CharField(max_length=12), required=False)
    severities = serializers.ListField(child=serializers.CharField(max_length=8), required=False)
    pairs = serializers.ListField(child=serializers.CharField(max_length=60), required=False)


class RouteSerializer(serializers.ModelSerializer[AlertRoute]):
    match = RouteMatchSerializer(source="*", required=False)
    steps = StepSerializer(many=True)
    quiet_hours = QuietHoursSerializer(required=False, allow_null=True)

    class Meta:
        model = AlertRoute
        fields = ["id", "name", "is_enabled", "match", "steps", "quiet_hours", "shortest_seconds", "tells_recovery"]
