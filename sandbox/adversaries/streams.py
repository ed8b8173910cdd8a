"""Tickers that okx, bybit and bitget push: what is subscribed to by id, a row of each every so often.

Each of these sends a market's row only while the market is listed and traded. bybit takes ten topics a message.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from sandbox.adversaries.exchange import Adversary, Row
from sandbox.adversaries.unnamed import bitget_row, bybit_row, okx_row

BYBIT_TOPICS = 10
Said = dict[str, Any]


@dataclass(frozen=True)
class PushShape:
    """How a venue is listened to: the ids of a subscription, the answer to it, and the frame of one row."""

    ids: Callable[[Said], list[str]]
    confirm: Callable[[Said], Iterable[Row]]
    frame: Callable[[str, Row, int], Row]
    row: Callable[..., Row]


def _of_arguments(said: Said) -> list[str]:
    return [str(each["instId"]) for each in said.get("args", []) if isinstance(each, dict)]


def _bybit_ids(said: Said) -> list[str]:
    topics = [str(topic) for topic in said.get("args", [])]
    return [] if len(topics) > BYBIT_TOPICS else [topic.removeprefix("tickers.") for topic in topics]


def _bybit_confirm(said: Said) -> Iterable[Row]:
    is_too_long = len(said.get("args", [])) > BYBIT_TOPICS
    yield {"success": not is_too_long, "ret_msg": "args size >10" if is_too_long else "subscribe", "conn_id": "1",
           "req_id": said.get("req_id", ""), "op": said.get("op")}  # fmt: skip


def _confirm_each(said: Said) -> Iterable[Row]:
    return ({"event": said.get("op"), "arg": argument} for argument in said.get("args", []))


SHAPES: Mapping[str, PushShape] = {
    "okx": PushShape(
        _of_arguments, _confirm_each,
        lambda id_, row, at: {"arg": {"channel": "tickers", "instId": id_}, "data": [row]}, okx_row,
    ),
    "bybit": PushShape(
        _bybit_ids, _bybit_confirm,
        lambda id_, row, at: {"topic": f"tickers.{id_}", "ts": at, "type": "snapshot", "cs": at, "data": row},
        bybit_row,
    ),
    "bitget": PushShape(
        _of_arguments, _confirm_each,
        lambda id_, row, at: {
            "action": "snapshot", "arg": {"instType": "SPOT", "channel": "ticker", "instId": id_},
            "data": [{**row, "instId": id_}], "ts": at,
        },
        bitget_row,
    ),
}  # fmt: skip


class Listener:
    """One connection: what it has subscribed to, and a row of each every `seconds`."""

    def __init__(self, of: Adversary, shape: PushShape, seconds: float) -> None:
        self._of, self._shape, self._seconds = of, shape, seconds
        self._ids: set[str] = set()
        self._socket = web.WebSocketResponse()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        await self._socket.prepare(request)
        pushing = asyncio.ensure_future(self._push())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(message.data)
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
        return self._socket

    async def _hear(self, text: str) -> None:
        said = {"op": "ping"} if text == "ping" else json.loads(text)
        if text == "ping":
            await self._socket.send_str("pong")
        elif said.get("op") == "ping":
            await self._say({"success": True, "ret_msg": "pong", "op": "ping"})
        else:
            ids = set(self._shape.ids(said))
            self._ids = self._ids - ids if said.get("op") == "unsubscribe" else self._ids | ids
            for answer in self._shape.confirm(said):
                await self._say(answer)

    async def _push(self) -> None:
        while not self._socket.closed:
            for id_ in sorted(self._ids):
                market = self._of.markets.get(id_)
                if market is not None and not market.is_halted:
                    quote = self._of.pushed(market)
                    row = self._shape.row(market, quote)
                    await self._say(self._shape.frame(id_, row, quote.stamp_or(0)))
            await asyncio.sleep(self._seconds)

    async def _say(self, content: Row) -> None:
        await self._socket.send_str(json.dumps(content))
