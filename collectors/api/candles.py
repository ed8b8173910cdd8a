"""Candles of any interval, as JSON, CSV, Arrow and Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from django.core import signing
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import data
from access.models import Endpoint
from collectors.api import as_of, quality
from collectors.history import candle_formats, candles
from collectors.history.candles import SOURCES, CandleQuery, TooLong
from collectors.history.quality import of_span
from collectors.rules import intervals
from collectors.rules.quality import Quality
from exchanges import symbols
from exchanges.models import Exchange
from exchanges.symbols import SpelledMarket
from lib import clock
from web.errors import ServiceUnavailable
from web.queries import StrictQuery

DEFAULT_BARS = 1000
MOST = {"json": 1000, "csv": 1000, "arrow": 500_000, "parquet": 500_000}
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
CURSOR_SALT = "candles-cursor"
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class BarsRenderer(BaseRenderer):
    """A format of bars in DRF's list of formats; errors are JSON in all of them."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        response = (renderer_context or {}).get("response")
        if response is not None:
            response.headers["Content-Type"] = "application/json"
        return orjson.dumps(data, option=orjson.OPT_UTC_Z)


def _renderer(form: str) -> type[BarsRenderer]:
    return type(
        f"{form.capitalize()}Bars", (BarsRenderer,), {"format": form, "media_type": MEDIA_TYPES[form].partition(";")[0]}
    )


class NoArrow(exceptions.APIException):
    """The refusal of Arrow and Parquet where the library for them is not installed."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_detail = (
        "Arrow and Parquet need pyarrow, which is not installed here (requirements-archive.in); use json or csv."
    )


class CandleQuerySerializer(StrictQuery):
    exchange = serializers.CharField(max_length=64, help_text="Its id: binance.")
    symbol = serializers.CharField(max_length=100, help_text="In any usual spelling: BTC/USDT, BTC-USDT, btcusdt.")
    interval = serializers.CharField(default="1m", help_text=f"{intervals.FORMS[0].upper()}{intervals.FORMS[1:]}.")
    limit = serializers.IntegerField(
        required=False, min_value=1, help_text="At most 1,000 bars as JSON and CSV, 500,000 as Arrow and Parquet."
    )
    cursor = serializers.CharField(required=False, max_length=1000, help_text="Taken from `next_cursor`.")
    tz = serializers.CharField(default="UTC", max_length=64, help_text="Where days begin: Europe/Berlin.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is no name for a class attribute, `source` one that fields have.
        start = serializers.DateTimeField(required=False, help_text="Bars that open then or later.")
        end = serializers.DateTimeField(required=False, help_text="Bars that open before. Default: now.")
        words = "Bars of this source only; else of the first that has all of a bar."
        source = serializers.ChoiceField(choices=SOURCES, required=False, help_text=words)
        return {**super().get_fields(), "from": start, "to": end, "as_of": as_of.field(), "source": source,
                "min_quality": quality.LeastQualityField()}  # fmt: skip

    def validate_interval(self, text: str) -> intervals.Interval:
        try:
            return intervals.parse(text)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error

    def validate_tz(self, text: str) -> ZoneInfo:
        try:
            return ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise serializers.ValidationError("A name of the time zone database, such as Europe/Berlin.") from error

    def validate(self, query: dict[str, Any]) -> dict[str, Any]:
        now, most = self.context["now"], MOST[self.context["form"]]
        as_of.require_past(query.get("as_of"), now)
        if query.setdefault("limit", most) > most:
            raise serializers.ValidationError({"limit": [f"At most {most:,} in this format."]})
        end = query.setdefault("to", query.get("as_of") or now)
        if "from" not in query:
            whole = timedelta(seconds=query["interval"].seconds * DEFAULT_BARS)
            query["from"] = end - whole if end - EARLIEST > whole else EARLIEST
        if query["from"] >= end:
            raise serializers.ValidationError({"from": ["It must be before `to`."]})
        return query


class OriginsSerializer(serializers.Serializer[Any]):
    live = serializers.IntegerField(allow_null=True)
    candle = serializers.IntegerField(allow_null=True)
    trade = serializers.IntegerField(allow_null=True)


class BarSerializer(serializers.Serializer[Any]):
    opened_at = serializers.DateTimeField()
    open = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    close = serializers.FloatField(allow_null=True)
    volume = serializers.FloatField(allow_null=True, help_text="Null where it is not known, as for ticks.")
    samples = serializers.IntegerField(help_text="Minutes that hold rows; rows, where bars are shorter than a minute.")
    expected = serializers.IntegerField(
        allow_null=True, help_text="Minutes of the bar until now; null for shorter bars."
    )
    source = serializers.ChoiceField(choices=SOURCES)  # type: ignore[assignment]
    origin = OriginsSerializer(help_text="What it is made of, counted by origin.")
    no_trades = serializers.IntegerField(help_text="Minutes in which nobody traded, as the exchange's candles say.")
    is_final = serializers.BooleanField(help_text="It is over, and nothing of it is still to be asked for.")
    revision = serializers.IntegerField(allow_null=True, help_text="How often its minutes were changed.")
    known_at = serializers.DateTimeField(allow_null=True, help_text="Since when it is as it is.")
    gap_ids = serializers.ListField(child=serializers.IntegerField(), allow_null=True, help_text="Null with `as_of`.")


class CandlesSerializer(serializers.Serializer[Any]):
    exchange = serializers.CharField()
    symbol = serializers.CharField()
    interval = serializers.CharField()
    tz = serializers.CharField()
    as_of = serializers.DateTimeField(allow_null=True)
    candles = BarSerializer(many=True, help_text="Oldest first; bars without any row are left out.")
    quality = quality.QualitySerializer(help_text="Of the whole span, whatever the page holds.")
    next_cursor = serializers.CharField(allow_null=True)
    is_capped = serializers.BooleanField(help_text="The key's plan gives fewer bars than were asked for.")


@extend_schema(tags=["data"])
class CandleViews(data.DataView, APIView):
    """Candles of any interval from a second to a month, from the best source that covers each bar."""

    data_endpoint = Endpoint.CANDLES
    renderer_classes = [*APIView.renderer_classes, *map(_renderer, MEDIA_TYPES)]

    @extend_schema(parameters=[CandleQuerySerializer], responses=CandlesSerializer)
    def get(self, request: Request) -> HttpResponseBase:
        """Returns bars that open in [from, to), oldest first."""
        now = clock.now()
        form = request.accepted_renderer.format if request.query_params.get("format") in MEDIA_TYPES else "json"
        asked = CandleQuerySerializer(data=request.query_params, context={"now": now, "form": form})
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        market = _market(wanted["exchange"], wanted["symbol"])
        query = _from_cursor(_query(wanted, market, now), wanted.get("cursor"))
        query = replace(query, limit=data.capped(request, query.limit))
        if form in ("arrow", "parquet") and not candle_formats.has_arrow():
            raise NoArrow
        as_of.require_known(query.as_of)
        try:
            with candles.with_archived(query):  # once for the quality and the bars
                found = of_span(query.pipeline_id, start=query.start, end=query.end, now=now, as_of=query.as_of)
                packet = quality.require(found, wanted.get("min_quality"))
                rows, answer = _answer(form, query, market, packet)
            data.charge(request, rows)
        except TooLong as error:
            raise ServiceUnavailable(str(error)) from error
        if query.limit < wanted["limit"] and rows == query.limit:
            answer.headers["X-Rows-Capped"] = "true"
            if isinstance(answer, Response):
                answer.data["is_capped"] = True
        return answer


def _market(exchange_id: str, text: str) -> SpelledMarket:
    if not Exchange.objects.filter(pk=exchange_id.lower(), removed_at__isnull=True).exists():
        raise serializers.ValidationError({"exchange": [f"No exchange here has the id {exchange_id}."]})
    return symbols.resolved(exchange_id.lower(), text)


def _query(wanted: Mapping[str, Any], market: SpelledMarket, now: datetime) -> CandleQuery:
    return CandleQuery(
        pipeline_id=market.id,
        interval=wanted["interval"],
        start=wanted["from"],
        end=wanted["to"],
        zone=wanted["tz"],
        now=now,
        limit=wanted["limit"],
        as_of=wanted.get("as_of"),
        source=wanted.get("source"),
    )


def _answer(form: str, query: CandleQuery, market: SpelledMarket, packet: Quality) -> tuple[int, HttpResponseBase]:
    """Returns how many bars there are, and the answer."""
    headers = {"Cache-Control": "no-store", **as_of.headers(query.as_of, query.now), **quality.headers(packet)}
    if form in ("json", "csv"):
        bars = candles.read(query)
        following = _cursor(query, bars.rows[-1][0]) if bars.is_cut else None
        if form == "csv":
            return len(bars.rows), _file(form, candle_formats.as_csv(bars), market, query, headers, following)
        body = {"candles": candle_formats.as_json(bars), "quality": packet.body(), "next_cursor": following,
                "is_capped": False}  # fmt: skip
        return len(bars.rows), Response({**_heading(query, market), **body}, headers=headers)
    table, is_cut = candle_formats.arrow_table(query)
    following = _cursor(query, table["opened_at"][-1].as_py()) if is_cut else None
    described = {name: value for name, value in _heading(query, market).items() if value is not None}
    described["quality"] = headers[quality.HEADER]
    make = candle_formats.as_arrow if form == "arrow" else candle_formats.as_parquet
    return table.num_rows, _file(form, make(table, described), market, query, headers, following)


def _heading(query: CandleQuery, market: SpelledMarket) -> dict[str, str | None]:
    return {
        "exchange": market.exchange_id,
        "symbol": market.symbol,
        "interval": str(query.interval),
        "tz": query.zone.key,
        "as_of": clock.microseconds_z(query.as_of) if query.as_of else None,
    }


def _file(
    form: str, content: bytes, market: SpelledMarket, query: CandleQuery, headers: dict[str, str], following: str | None
) -> HttpResponse:
    name = f"{market.exchange_id}-{symbols.letters(market.symbol)}-{query.interval}.{form}"
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in ".-_") else "_" for letter in name)
    more = {
        "Content-Disposition": f'attachment; filename="{safe}"',
        **({"X-Next-Cursor": following} if following else {}),
    }
    return HttpResponse(content, content_type=MEDIA_TYPES[form], headers={**headers, **more})


# --- pages ------------------------------------------------------------------------------------------------------


def _cursor(query: CandleQuery, last: datetime) -> str:
    return signing.dumps([_identity(query), last.isoformat(), query.end.isoformat()], salt=CURSOR_SALT)


def _identity(query: CandleQuery) -> list[Any]:
    moment = query.as_of.isoformat() if query.as_of else None
    return [query.pipeline_id, str(query.interval), query.zone.key, moment, query.source]


def _from_cursor(query: CandleQuery, text: str | None) -> CandleQuery:
    """Returns the query for the bars behind a cursor. Raises ValidationError for one of another query."""
    if not text:
        return query
    try:
        identity, last, end = signing.loads(text, salt=CURSOR_SALT)
        start = datetime.fromisoformat(last) + timedelta(microseconds=1)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise serializers.ValidationError({"cursor": ["Take it from `next_cursor` unchanged."]}) from error
    if identity != _identity(query):
        raise serializers.ValidationError({"cursor": ["It belongs to another question."]})
    return replace(query, start=start, end=datetime.fromisoformat(end))
