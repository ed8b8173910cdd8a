"""Order books, trades, funding rates, and which trades are missing: read-only lists, the newest first."""

from __future__ import annotations

from typing import Any, ClassVar

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from access.data import DataList
from access.models import Endpoint
from collectors.models.market_data import FundingSnapshot, HoleState, OrderBookSnapshot, PublicTrade, TradeHole
from collectors.rules import trade_rows
from exchanges.models import Market
from exchanges.symbols import resolved_ids
from web.filters import MomentFilter


class DepthFilters(django_filters.FilterSet):
    """Filters whose `from` and `to` bound the column of the list's order; they are no names for class attributes."""

    exchange = django_filters.CharFilter(method="filter_nothing", help_text="Its id: binance.")
    symbol = django_filters.CharFilter(method="filter_nothing", help_text="In any usual spelling: BTC/USDT.")

    def filter_nothing(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return queryset

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filters the rows; markets are looked up first, so that few are read by pipeline in the history."""
        cleaned = self.form.cleaned_data
        start, end = cleaned.get("from"), cleaned.get("to")
        if start and end and start >= end:
            raise serializers.ValidationError({"from": ["It must be before `to`."]})
        queryset = super().filter_queryset(queryset)
        exchange, symbol = cleaned.get("exchange") or None, cleaned.get("symbol")
        if symbol:
            return queryset.filter(pipeline_id__in=resolved_ids(symbol, exchange_id=exchange))
        if exchange:
            markets = Market.objects.filter(exchange_id=exchange)
            return queryset.filter(pipeline_id__in=list(markets.values_list("id", flat=True)))
        return queryset


def _filters(model: type[Any], column: str, **more: Any) -> type[DepthFilters]:
    def bound(lookup: str, text: str) -> Any:
        return MomentFilter(field_name=column, lookup_expr=lookup, help_text=text)

    meta = type("Meta", (), {"model": model, "fields": []})
    named = {"from": bound("gte", f"`{column}`, inclusive."), "to": bound("lt", f"`{column}`, exclusive.")}
    return type(f"{model.__name__}Filters", (DepthFilters,), {**named, **more, "Meta": meta})


class _OfMarket(serializers.ModelSerializer[Any]):
    pipeline = serializers.IntegerField(source="pipeline_id")
    exchange = serializers.CharField(source="pipeline.market.exchange_id")
    symbol = serializers.CharField(source="pipeline.market.symbol")

    class Meta:
        model = OrderBookSnapshot
        fields: ClassVar[list[str]] = ["id", "pipeline", "exchange", "symbol"]


LEVELS = serializers.ListField(
    child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
    help_text="[price, amount], best first.",
)


class OrderBookSerializer(_OfMarket):
    sequence = serializers.IntegerField(
        allow_null=True, help_text="The exchange's number of this state, where it gives one."
    )
    bids = serializers.SerializerMethodField()
    asks = serializers.SerializerMethodField()

    class Meta:
        model = OrderBookSnapshot
        fields = [*_OfMarket.Meta.fields, "received_at", "exchange_at", "sequence", "bids", "asks"]

    @extend_schema_field(LEVELS)
    def get_bids(self, book: OrderBookSnapshot) -> list[tuple[float, float]]:
        return list(zip(book.bid_prices, book.bid_amounts, strict=True))

    @extend_schema_field(LEVELS)
    def get_asks(self, book: OrderBookSnapshot) -> list[tuple[float, float]]:
        return list(zip(book.ask_prices, book.ask_amounts, strict=True))


class TradeSerializer(_OfMarket):
    trade_id = serializers.SerializerMethodField(help_text="The exchange's; null where it gives none.")

    class Meta:
        model = PublicTrade
        fields = [*_OfMarket.Meta.fields, "trade_id", "traded_at", "received_at", "price", "amount", "side",
                  "is_filled"]  # fmt: skip
        extra_kwargs: ClassVar[dict[str, Any]] = {
            "is_filled": {"help_text": "Missed at first, and asked for later."},
            "side": {"help_text": "The taker's: buy or sell."},
        }

    def get_trade_id(self, trade: PublicTrade) -> str | None:
        return None if trade.trade_id.startswith(trade_rows.OWN_ID) else trade.trade_id


class FundingSerializer(_OfMarket):
    class Meta:
        model = FundingSnapshot
        fields = [*_OfMarket.Meta.fields, "received_at", "exchange_at", "rate", "interval_seconds", "next_at",
                  "mark_price", "index_price"]  # fmt: skip
        extra_kwargs: ClassVar[dict[str, Any]] = {
            "rate": {"help_text": "A share: 0.0001 is 0.01 % an interval, paid by longs when positive."},
            "next_at": {"help_text": "When it is paid next; null where the exchange does not say."},
        }


class TradeHoleSerializer(_OfMarket):
    class Meta:
        model = TradeHole
        fields = [*_OfMarket.Meta.fields, "first_number", "last_number", "started_at", "ended_at", "missing_count",
                  "filled_count", "state", "detected_at", "attempts", "next_try_at"]  # fmt: skip


class _Lists(DataList, ReadOnlyModelViewSet[Any]):
    data_endpoint = Endpoint.HISTORY

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().select_related("pipeline__market")


@extend_schema(tags=["depth"])
class OrderBookViews(_Lists):
    """The best levels of order books, snapshot by snapshot, of markets for which they are collected."""

    queryset = OrderBookSnapshot.objects.all()
    serializer_class = OrderBookSerializer
    filterset_class = _filters(OrderBookSnapshot, "received_at")
    orderings = ("-received_at", "received_at")


@extend_schema(tags=["depth"])
class TradeViews(_Lists):
    """Public trades, each once, of markets for which they are collected."""

    queryset = PublicTrade.objects.all()
    serializer_class = TradeSerializer
    filterset_class = _filters(PublicTrade, "traded_at")
    orderings = ("-traded_at", "traded_at")


@extend_schema(tags=["depth"])
class FundingViews(_Lists):
    """Funding rates of perpetuals, as they were said to be at each moment."""

    queryset = FundingSnapshot.objects.all()
    serializer_class = FundingSerializer
    filterset_class = _filters(FundingSnapshot, "received_at")
    orderings = ("-received_at", "received_at")


@extend_schema(tags=["depth"])
class TradeHoleViews(_Lists):
    """Trades that are missing: by the exchange's own numbers, or between two pages that do not touch."""

    queryset = TradeHole.objects.all()
    serializer_class = TradeHoleSerializer
    filterset_class = _filters(
        TradeHole, "started_at", state=django_filters.MultipleChoiceFilter(choices=HoleState.choices)
    )
    orderings = ("-started_at", "started_at", "-detected_at")
