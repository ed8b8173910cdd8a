"""Websocket handshakes, and the requests of streams, at the gate: what their session asks before each."""

from __future__ import annotations

import asyncio
import time

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType

from feeds import waits
from feeds.base import Throttled
from feeds.request_gate import ConnectGate, request_cost
from lib import clock

PATIENCE_SECONDS = 8.0  # ccxt gives a handshake ten seconds, with the wait
LONGEST_SLEEP_SECONDS = 0.5
REFUSALS = frozenset({418, 429})


def gatekeeper(dials: ConnectGate) -> ClientMiddlewareType:
    """Returns what counts all requests of an aiohttp session. A gate blocks, so that it is asked in a thread."""

    async def pass_gate(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        is_handshake = "Upgrade" in request.headers
        gate, give_up_at = dials if is_handshake else dials.for_requests, time.monotonic() + PATIENCE_SECONDS
        while wait := await asyncio.to_thread(gate.ask, request_cost.get(), seconds_left=give_up_at - time.monotonic()):
            await asyncio.sleep(min(wait, LONGEST_SLEEP_SECONDS))
        response = await handler(request)
        if response.status in REFUSALS:
            told = waits.read(response.status, response.headers, "", now=clock.unix())
            what = f"{'handshake' if is_handshake else 'request'} refused"
            said = f"{what}: {told.remark}" if told.remark else what
            refusal = Throttled(said, retry_after_seconds=told.seconds, banned=told.banned)
            await asyncio.to_thread(gate.heed, refusal)
        return response

    return pass_gate
