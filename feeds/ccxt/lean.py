"""A ccxt client that costs less and says more: laid over any exchange class with `lean_class`.

It asks before each request, refuses answers that are no data, credits idle time to the rate limit, and turns a
row that does not parse into a rejected row where ccxt would lose the whole batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from feeds import errors
from feeds.base import BadReply, FeedError, Superseded, Throttled
from feeds.ccxt.lazy import client_class
from feeds.ccxt.quirks import Repair, quirk_of
from feeds.loop import current_call
from feeds.request_gate import HeldBack, request_cost
from feeds.shared.headers import NO_HEADERS
from feeds.shared.identity import foreign_id, is_another, tell_apart
from feeds.shared.numbers import number, side
from feeds.shared.rejections import name_of, reject
from lib import clock

if TYPE_CHECKING:
    Client = Any
else:
    Client = object

BLANKS = " \t\r\n\ufeff"  # a byte order mark before JSON is none of its content
# Idle time worth this much may be used at once, so that a poll after a pause does not wait for the last one.
BURST_SECONDS = 0.5
# Statuses whose meaning no body changes; other 4xx are explained by the venue's JSON.
FINAL_STATUSES = frozenset({401, 407, 408, 418, 429, 451, 511})


@cache
def lean_class(exchange_id: str) -> type[Any]:
    original = client_class(exchange_id)
    parse_tickers = original.parse_tickers
    own = {} if parse_tickers.__module__.startswith("ccxt.base.") else {"parse_tickers": parse_tickers}  # hollaex
    quirk = quirk_of(exchange_id)
    own |= {"derives_quote_volume": quirk.derives_quote_volume}
    own |= {} if quirk.repair is None else {"repair": staticmethod(quirk.repair)}
    return type(original.__name__, (Lean, original), own)


class Lean(Client):
    repair: Repair | None = None
    derives_quote_volume = False
    _expects_html = False
    _free_at = 0.0
    _is_parsing_ticker = False
    _decoded: tuple[str, Any] | None = None

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        call = current_call.get()
        if call is not None:
            await call.ask_permission(request_cost.get())
        return await super().fetch(url, method, headers, body)

    async def throttle(self, cost: float | None = None) -> None:
        """Waits for the rate limit; ccxt's own makes a call pay for the one before even after a minute of silence."""
        request_cost.set(1.0 if cost is None else float(cost))
        step = (1.0 if cost is None else cost) * self.rateLimit / 1000
        now = time.monotonic()
        begin = max(self._free_at, now - BURST_SECONDS)
        self._free_at = begin + step
        if begin <= now:
            return
        try:
            await asyncio.sleep(begin - now)
        except asyncio.CancelledError:
            self._free_at -= step
            raise

    def on_rest_response(
        self, code: int, reason: str, url: str, method: str, response_headers: Any, response_body: str, *_: Any
    ) -> str:
        body = (response_body or "").strip(BLANKS)
        call = current_call.get()
        if call is not None:
            call.note_answer(code, body, at=clock.unix(), headers=response_headers or NO_HEADERS)
        if self._expects_html and code < 300:
            return body
        looks_like_json = body[:1] in ("{", "[")
        if code in FINAL_STATUSES or code >= 500 or (code >= 300 and not looks_like_json):
            raise self._status_error(code, reason, url, response_headers, body)
        if code < 300:
            _refuse_no_data(body, self.id, code)
        if looks_like_json:
            decoded = self._decode(body, code)
            if call is not None and call.asked_market is not None:
                self._refuse_another(decoded, call.asked_market)
            self._decoded = body, decoded
        return body

    def _refuse_another(self, answer: Any, market: Mapping[str, Any]) -> None:
        if other := foreign_id(answer, market, self.markets_by_id or {}):
            raise BadReply(f"{self.id} was asked for {market.get('id')} and answered for {other}")

    def parse_json(self, http_response: str) -> Any:
        """Returns the answer that the guard above has decoded, so that each is decoded once."""
        if self._decoded is not None and self._decoded[0] is http_response:
            decoded, self._decoded = self._decoded[1], None
            return decoded
        return super().parse_json(http_response)

    def handle_http_status_code(self, code: int, reason: str, url: str, method: str, body: str) -> None:
        if code >= 300:
            call = current_call.get()
            headers = NO_HEADERS if call is None else call.headers
            raise self._status_error(code, reason, url, headers, body or "")

    async def fetch_web_endpoint(self, *arguments: Any, **named: Any) -> Any:
        """Returns a page of the exchange's site, in which ccxt looks for values; asked for once."""
        self._expects_html = True
        try:
            return await super().fetch_web_endpoint(*arguments, **named)
        finally:
            self._expects_html = False

    async def fetch_currencies(self, params: Any = None) -> Any:
        """Returns the currencies, or those of the last list on an error: markets are listed without them as well. An
        exchange's wish that we wait, and our own restraint, end the call."""
        try:
            return await super().fetch_currencies(params or {})
        except Exception as error:
            failure = errors.from_exception(error)
            if isinstance(failure, Throttled | Superseded | HeldBack):
                raise
            return self.currencies or {}

    def set_markets(self, markets: Any, currencies: Any = None) -> Any:
        """Stores markets with two ids of one name told apart; ccxt would keep the later one, for the rows of both."""
        rows = list(markets.values() if isinstance(markets, dict) else markets)
        return super().set_markets(tell_apart(rows), currencies)

    def market(self, symbol: Any) -> Any:
        """Returns the market. Where ccxt looks a row's id up that the list does not have, it would refuse the whole
        answer: such a row has a market of its own, by which it is counted as unknown."""
        call = current_call.get()
        if call is None or not call.reads_all or symbol in self.markets or symbol in (self.markets_by_id or {}):
            return super().market(symbol)
        return self.safe_market_structure({"id": symbol, "symbol": symbol})

    def safe_market(self, market_id: Any = None, market: Any = None, delimiter: Any = None, kind: Any = None) -> Any:
        """Returns the market by the exchange's own id. ccxt names an unlisted id, maybe with another market's name."""
        found = super().safe_market(market_id, market, delimiter, kind)
        if delimiter and market_id is not None and self.markets_by_id and market_id not in self.markets_by_id:
            named = self.markets.get(found["symbol"])
            if named is not None and is_another(str(market_id), str(named["id"]), delimiter):
                return self.safe_market_structure({"symbol": market_id, "marketId": market_id})
        return found

    def parse_market(self, market: Any) -> Any:
        """Returns None for a market row that does not parse; ccxt would lose the whole list."""
        try:
            return super().parse_market(market)
        except Exception as error:  # noqa: BLE001 - see parse_ticker
            call = current_call.get()
            if call is not None:
                reject(call, name_of(market), error, market)
            return None

    def parse_ticker(self, ticker: Any, market: Any = None) -> Any:
        call = current_call.get()
        self._is_parsing_ticker = True
        try:
            return super().parse_ticker(ticker, market)
        except Exception as error:  # ccxt's parsers raise whatever a poisoned row makes them stumble over
            if call is None or isinstance(error, FeedError):
                raise
            call.row_count += 1
            reject(call, name_of(ticker, market), error, ticker)
            return {"symbol": None, "info": ticker}
        finally:
            self._is_parsing_ticker = False

    def parse_tickers(self, tickers: Any, symbols: Any = None, params: Any = None) -> Any:
        """Notes the quotes on the way; ccxt's copies of each ticker, filtered by symbol, are not needed."""
        if current_call.get() is None:
            return super().parse_tickers(tickers, symbols, params or {})
        if isinstance(tickers, list):
            rows = [self.parse_ticker(ticker) for ticker in tickers]
        else:
            rows = [self.parse_ticker(ticker, self._market_of(key)) for key, ticker in tickers.items()]
        return {row["symbol"]: row for row in rows if row.get("symbol") is not None}

    def _market_of(self, key: Any) -> Any:
        """Returns None for an id that several kinds of market share: the row says which."""
        return None if len((self.markets_by_id or {}).get(key) or ()) > 1 else self.safe_market(key)

    def parse_funding_rate(self, contract: Any, market: Any = None) -> Any:
        """Returns a rate without a symbol for one that does not parse, so that it costs only itself."""
        try:
            return super().parse_funding_rate(contract, market)
        except Exception as error:
            call = current_call.get()
            if call is None or market is not None:
                raise
            reject(call, name_of(contract), error, contract)
            return {"symbol": None, "info": contract}

    def create_ccxt_trade_id(self, *_: Any) -> None:
        """Returns None: a trade to which the exchange gives no id has none."""
        return

    def iso8601(self, timestamp: Any = None) -> Any:
        """Returns None for a ticker's time: as text it costs a fifth of parsing the ticker, and nobody reads it."""
        return None if self._is_parsing_ticker else super().iso8601(timestamp)

    def safe_ticker(self, ticker: dict[str, Any], market: Any = None) -> dict[str, Any]:
        """Notes for this call the numbers the exchange sent; every parser of ccxt ends here.

        `last` falls back to `close` (mexc sets only that), never to a sum of others.
        """
        call = current_call.get()
        if self.derives_quote_volume:
            ticker["quoteVolume"] = None
        try:
            _make_numbers(ticker)
        except (ValueError, OverflowError) as error:
            if call is None:
                raise
            call.row_count += 1
            reject(call, name_of(ticker, market), error, ticker.get("info"))
            return ticker | {"symbol": None}
        if call is not None:
            call.row_count += 1
            call.rows.append(ticker)
        return ticker

    def _decode(self, body: str, code: int) -> Any:
        try:
            decoded = self.on_json_response(body)
            return decoded if self.repair is None else self.repair(decoded)
        except (ValueError, RecursionError) as error:
            raise BadReply(f"{self.id} answered with broken JSON: {error}"[:300], status=code, excerpt=body) from error

    def _status_error(self, code: int, reason: str, url: str, headers: Any, body: str) -> FeedError:
        return errors.from_status(
            code, reason=reason or "", url=url, body=body, headers=dict(headers), now=clock.unix()
        )


def _make_numbers(ticker: dict[str, Any]) -> None:
    get = ticker.get
    last = get("last")
    ticker["last"] = ticker["close"] = number(get("close") if last is None else last)
    ticker["bid"] = side(get("bid"))
    ticker["ask"] = side(get("ask"))
    ticker["high"] = side(get("high"))
    ticker["low"] = side(get("low"))
    ticker["baseVolume"] = number(get("baseVolume"))
    ticker["quoteVolume"] = number(get("quoteVolume"))


def _refuse_no_data(body: str, exchange_id: str, code: int) -> None:
    if not body or body == "null":
        raise BadReply(f"{exchange_id} answered {code} with an empty body", status=code, excerpt=body)
    if body[0] == "<":
        raise BadReply(f"{exchange_id} answered {code} with HTML instead of JSON", status=code, excerpt=body)
