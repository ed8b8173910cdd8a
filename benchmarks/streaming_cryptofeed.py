"""The other side, in a process of its own with the Python of `.venv-cryptofeed`.

`python -m benchmarks.streaming_cryptofeed <exchange url> <host> <port> <user> <password> <database>`:
cryptofeed as its manual shows it, with its own Postgres backend and its defaults (uvloop, too). Its addresses are
ours, and its parser of tickers is handed the 24 h tickers, too, which hold what it looks for. Nothing
of ours is loaded here, and nothing of cryptofeed is loaded by ours.
"""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from typing import Any

from cryptofeed import FeedHandler, connection
from cryptofeed.backends.postgres import TickerPostgres
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import TICKER
from cryptofeed.exchanges import Binance
from yapic import json


class Tickers(Binance):  # type: ignore[misc]
    async def message_handler(self, msg: str, conn: Any, timestamp: float) -> None:
        await self._ticker(json.loads(msg, parse_float=Decimal)["data"], timestamp)


def main(url: str, host: str, port: str, user: str, password: str, database: str) -> None:
    _without_tls(connection)
    netloc = url.removeprefix("http://")
    Tickers.websocket_endpoints = [WebsocketEndpoint(f"wss://{netloc}/stream.binance.com:9443")]
    Tickers.rest_endpoints = [RestEndpoint(f"{url}/api.binance.com", routes=Routes("/api/v3/exchangeInfo"))]
    store = TickerPostgres(host=host, port=int(port), user=user, pw=password or None, db=database, table="bench_ticker")
    handler = FeedHandler(config={"uvloop": True, "log": {"filename": "/dev/null", "level": "WARNING"}})
    handler.add_feed(Tickers(symbols=Tickers.symbols(), channels=[TICKER], callbacks={TICKER: store}))
    asyncio.set_event_loop(asyncio.new_event_loop())  # newer uvloops do not make one when asked
    handler.run()


def _without_tls(module: Any) -> None:
    """It insists on wss:// in the address; neither side pays for TLS here."""
    connect = module.connect
    module.connect = lambda address, **options: connect(address.replace("wss://", "ws://", 1), **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
