"""The routes of incidents, planned work, channels and routes: operators act, viewers see, the admin key may all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

import django_filters
from django.db import IntegrityError, models, transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet, ModelViewSet, ReadOnlyModelViewSet

from access.addresses import caller_address
from access.admin_key import AdminKeyAuthentication, AdminKeyHolder, MayManage, StaffSession
from exchanges.models import Exchange
from incidents import configuration, drills, people, testing
from incidents.api.serializers import (
    ChannelAnswerSerializer,
    ChannelSerializer,
    ChannelTestAnswerSerializer,
    ChannelTestSerializer,
    IncidentDetailSerializer,
    IncidentSerializer,
    MaintenanceSerializer,
    NewIncidentSerializer,
    NoteSerializer,
    PauseSerializer,
    ResolveSerializer,
    RouteSerializer,
)
from incidents.models import AlertChannel, AlertRoute, Incident, Maintenance
from incidents.rules.words import IncidentKind, Level
from lib import clock
from web.filters import MomentFilter, YesNoFilter

CHANGE = "incidents.change_incident"
T = TypeVar("T", bound=models.Model)


class IncidentConflict(exceptions.APIException):
    status_code = status.HTTP_409_CONFLICT


class IncidentAccess(GenericViewSet[T]):
    """Access by the admin key, or by a session with the permission for the model."""

    authentication_classes = [AdminKeyAuthentication, StaffSession]
    permission_classes = [MayManage]
    reading: ClassVar[tuple[str, ...]] = ("list", "retrieve")
    model_name: ClassVar[str] = ""

    def permission_of(self, wanted: str | None) -> str:
        return f"incidents.{'view' if wanted in self.reading else 'change'}_{self.model_name}"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answers 405 before anything else where the route does not have the method."""
        if getattr(self, "action", None) is None:
            self.format_kwarg = None
            with suppress(exceptions.APIException):
                self.perform_authentication(request)
            raise exceptions.MethodNotAllowed(request.method or "")
        super().initial(request, *args, **kwargs)

    def facts(self, request: Request) -> dict[str, Any]:
        """Returns who acts, and when."""
        return {"by": request.user.get_username(), "now": clock.now()}

    def note(self, request: Request, verb: str, what: str) -> None:
        address = caller_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
        configuration.record(verb, what=what, origin=str(address or ""), **self.facts(request))


def _sent(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data={} if request.data is None else request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def stored(store: Callable[[], T]) -> T:
    """Stores a row; what cannot be stored is a 400 that says why."""
    try:
        with transaction.atomic():
            return store()
    except configuration.Misconfigured as error:
        raise serializers.ValidationError({name: [fault] for name, fault in error.faults.items()}) from error
    except IntegrityError as error:
        raise serializers.ValidationError({"name": ["There is one of this name."]}) from error


# --- incidents ----------------------------------------------------------------------------------------------------


class IncidentFilters(django_filters.FilterSet):
    open = YesNoFilter(field_name="ended_at", lookup_expr="isnull")
    kind = django_filters.MultipleChoiceFilter(choices=[(kind.value, kind.value) for kind in IncidentKind])
    severity = django_filters.MultipleChoiceFilter(choices=[(level.value, level.value) for level in Level])
    exchange = django_filters.CharFilter(field_name="exchanges", method="of_exchange")
    root = YesNoFilter(field_name="parent", lookup_expr="isnull")

    class Meta:
        model = Incident
        fields: ClassVar[list[str]] = []

    def of_exchange(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(exchanges__contains=[value.lower()])


# `from` is no name for a class attribute.
IncidentFilters.base_filters["from"] = MomentFilter(field_name="opened_at", lookup_expr="gte")
IncidentFilters.base_filters["to"] = MomentFilter(field_name="opened_at", lookup_expr="lt")


@extend_schema(tags=["incidents"])
class IncidentViews(IncidentAccess[Incident], ReadOnlyModelViewSet[Incident]):
    """Incidents, newest first, and what people do with them."""

    queryset = Incident.objects.all()
    serializer_class = IncidentSerializer
    filterset_class = IncidentFilters
    model_name = "incident"
    orderings = ("-opened_at", "opened_at")

    @extend_schema(operation_id="incidents_retrieve", responses=IncidentDetailSerializer)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Returns one incident with its timeline and what it explains; operators see the messages, too."""
        return Response(self._detail(request, self.get_object()))

    def _detail(self, request: Request, incident: Incident) -> dict[str, Any]:
        body = dict(IncidentSerializer(incident).data)
        may_act = isinstance(request.user, AdminKeyHolder) or request.user.has_perm(CHANGE)
        shown = IncidentDetailSerializer(incident)
        for name in ("children", "entries", "deliveries"):
            rows = getattr(incident, name).order_by("pk")
            rows = rows.select_related("channel") if name == "deliveries" else rows
            wanted = rows[:1000] if may_act or name != "deliveries" else []
            body[name] = shown.fields[name].to_representation(wanted)
        return body

    @extend_schema(
        operation_id="incidents_open", request=NewIncidentSerializer, responses={201: IncidentDetailSerializer}
    )
    def create(self, request: Request) -> Response:
        """Opens an incident that no sign tells of."""
        sent = _sent(NewIncidentSerializer, request)
        unknown = set(sent["exchanges"]) - set(Exchange.objects.values_list("pk", flat=True))
        if unknown:
            raise serializers.ValidationError({"exchanges": [f"There is no exchange {sorted(unknown)[0]}."]})
        incident = people.open_one(**sent, **self.facts(request))
        return Response(self._detail(request, incident), status=201)

    @extend_schema(operation_id="incidents_acknowledge", request=PauseSerializer, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Says that somebody is on it; it is told again when that time is over and it lasts (default four hours)."""
        return self._paused(request, pk, people.acknowledge)

    @extend_schema(operation_id="incidents_snooze", request=PauseSerializer, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def snooze(self, request: Request, pk: str) -> Response:
        """Puts telling off (default one hour)."""
        return self._paused(request, pk, people.snooze)

    def _paused(self, request: Request, pk: str, pause: Callable[..., Incident]) -> Response:
        sent, facts = _sent(PauseSerializer, request), self.facts(request)
        until: datetime | None = sent.get("until")
        if "for_seconds" in sent:
            until = facts["now"] + timedelta(seconds=sent["for_seconds"])
        return self._done(request, pk, lambda: pause(int(pk), until=until, comment=sent["comment"], **facts))

    @extend_schema(operation_id="incidents_note", request=NoteSerializer, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def note_down(self, request: Request, pk: str) -> Response:
        """Adds a note; a public one stands on the status page."""
        sent = _sent(NoteSerializer, request)
        return self._done(request, pk, lambda: people.write(int(pk), **sent, **self.facts(request)))

    @extend_schema(operation_id="incidents_resolve", request=ResolveSerializer, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def resolve(self, request: Request, pk: str) -> Response:
        """Ends an incident that a person opened, or whose signs are gone; 409 while its cause lasts."""
        sent = _sent(ResolveSerializer, request)
        return self._done(request, pk, lambda: people.resolve(int(pk), **sent, **self.facts(request)))

    def _done(self, request: Request, pk: str, act: Callable[[], Any]) -> Response:
        try:
            act()
        except Incident.DoesNotExist as error:
            raise exceptions.NotFound(f"there is no incident {pk}") from error
        except people.StillLasts as error:
            raise IncidentConflict(str(error)) from error
        except people.IncidentRefused as error:
            raise serializers.ValidationError(str(error)) from error
        return Response(self._detail(request, Incident.objects.get(pk=pk)))


# --- configuration ------------------------------------------------------------------------------------------------


class ConfiguredViews(IncidentAccess[T], ModelViewSet[T]):
    """Rows that operators make, change and delete; each change is in the audit log."""

    http_method_names = ["get", "head", "options", "post", "patch", "delete"]
    orderings: ClassVar[tuple[str, ...]] = ("id", "-id")

    def perform_destroy(self, row: T) -> None:
        self.note(self.request, f"delete {self.model_name}", str(row))
        row.delete()


@extend_schema(tags=["incidents"])
class MaintenanceViews(ConfiguredViews[Maintenance]):
    """Planned work: collection goes on, and nobody is told of what it covers."""

    queryset = Maintenance.objects.all()
    serializer_class = MaintenanceSerializer
    model_name = "maintenance"

    def perform_create(self, serializer: serializers.BaseSerializer[Maintenance]) -> None:
        self._save(serializer, Maintenance(created_by=self.request.user.get_username()[:150]), "add maintenance")

    def perform_update(self, serializer: serializers.BaseSerializer[Maintenance]) -> None:
        assert serializer.instance is not None
        self._save(serializer, serializer.instance, "change maintenance")

    def _save(self, serializer: serializers.BaseSerializer[Maintenance], row: Maintenance, verb: str) -> None:
        for name, value in serializer.validated_data.items():
            setattr(row, name, value)

        def store() -> Maintenance:
            configuration.check_maintenance(row, clock.now())
            row.save()
            return row

        serializer.instance = stored(store)
        self.note(self.request, verb, row.reason)


@extend_schema(tags=["incidents"])
class ChannelViews(ConfiguredViews[AlertChannel]):
    """Ways to tell people and programs. Addresses are sealed and never shown again."""

    queryset = AlertChannel.objects.all()
    serializer_class = ChannelSerializer
    model_name = "alertchannel"

    @extend_schema(responses={201: ChannelAnswerSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Makes a channel; a webhook's signing secret is in this answer and in no other."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        secret = self._save(serializer, AlertChannel(), "add channel")
        more = {"signing_secret": secret} if secret else {}
        return Response({**serializer.data, **more}, status=201)

    def perform_update(self, serializer: serializers.BaseSerializer[AlertChannel]) -> None:
        assert serializer.instance is not None
        self._save(serializer, serializer.instance, "change channel")

    def _save(self, serializer: serializers.BaseSerializer[AlertChannel], row: AlertChannel, verb: str) -> str:
        sent: Mapping[str, Any] = serializer.validated_data
        made = ""

        def store() -> AlertChannel:
            nonlocal made
            row.name, row.is_enabled = sent.get("name", row.name), sent.get("is_enabled", row.is_enabled)
            kind = sent.get("kind", row.kind)
            if "address" in sent:
                made = configuration.set_address(row, kind, sent["address"], sent.get("secret", ""))
            elif kind != row.kind or sent.get("secret"):
                raise configuration.Misconfigured({"address": "Give the address again with its kind or secret."})
            row.save()
            return row

        serializer.instance = stored(store)
        self.note(self.request, verb, f"{row.name}: {row.kind} {row.shown}")
        return made

    def perform_destroy(self, row: AlertChannel) -> None:
        led = configuration.routes_with(row)
        if led:
            raise IncidentConflict(f"Routes lead to it: {', '.join(led[:5])}.")
        super().perform_destroy(row)

    @extend_schema(operation_id="channels_test", request=ChannelTestSerializer, responses=ChannelTestAnswerSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Sends a test with a code; the code, typed back, proves that somebody reads this channel."""
        sent, channel, now = _sent(ChannelTestSerializer, request), self.get_object(), clock.now()
        if not sent["code"]:
            delivery = testing.send_test(channel, now=now)
            return Response({"is_verified": False, "delivery": delivery.pk})
        if not testing.verify(channel, sent["code"], now=now):
            raise serializers.ValidationError({"code": ["This is not the code of the newest test."]})
        return Response({"is_verified": True, "delivery": None})


@extend_schema(tags=["incidents"])
class RouteViews(ConfiguredViews[AlertRoute]):
    """Who is told of what, and when."""

    queryset = AlertRoute.objects.all()
    serializer_class = RouteSerializer
    model_name = "alertroute"

    def perform_create(self, serializer: serializers.BaseSerializer[AlertRoute]) -> None:
        self._save(serializer, AlertRoute(), "add route")

    def perform_update(self, serializer: serializers.BaseSerializer[AlertRoute]) -> None:
        assert serializer.instance is not None
        self._save(serializer, serializer.instance, "change route")

    def _save(self, serializer: serializers.BaseSerializer[AlertRoute], row: AlertRoute, verb: str) -> None:
        sent = _plain(serializer.validated_data)

        def store() -> AlertRoute:
            configuration.check_route(sent)
            for name, value in sent.items():
                setattr(row, name, value)
            row.save()
            return row

        serializer.instance = stored(store)
        self.note(self.request, verb, row.name)

    @extend_schema(operation_id="routes_drill", request=None, responses={201: IncidentSerializer})
    @action(detail=True, methods=["post"])
    def drill(self, request: Request, pk: str) -> Response:
        """Sends a drill through the route's real channels; its incident tells what was delivered, and when."""
        route = self.get_object()
        self.note(request, "drill route", route.name)
        return Response(IncidentSerializer(drills.start(route, **self.facts(request))).data, status=201)


def _plain(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Returns validated data as plain JSON: the serializers' own mappings are none to PostgreSQL."""
    plain = dict(sent)
    if "steps" in plain:
        plain["steps"] = [dict(step) for step in plain["steps"]]
    if plain.get("quiet_hours") is not None:
        plain["quiet_hours"] = dict(plain["quiet_hours"])
    return plain
