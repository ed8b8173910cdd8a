"""Binance's account, for whoever signs with the sandbox's own key as Binance wants it.

{"balances":[{"asset":"BTC","free":"0.50000000","locked":"0.10000000"}],"accountType":"SPOT","updateTime":1795000000000}
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from sandbox.venues.base import Ask, Refused
from sandbox.view import View

API_KEY = "sandbox-api-key"
SECRET = "sandbox-secret"  # noqa: S105 - opens nothing but this sandbox
HELD = {"BTC": ("0.50000000", "0.10000000"), "ETH": ("4.00000000", "0.00000000"), "USDT": ("12000.50", "3500.00")}
WINDOW_MS = 60_000


def account(view: View, ask: Ask) -> Any:
    _check(view, ask)
    balances = [{"asset": asset, "free": free, "locked": locked} for asset, (free, locked) in HELD.items()]
    return {"accountType": "SPOT", "canTrade": False, "updateTime": view.clock_ms, "balances": balances}


def _check(view: View, ask: Ask) -> None:
    if ask.headers.get("X-MBX-APIKEY") != API_KEY:
        raise Refused(401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
    signed, _, signature = ask.query.rpartition("&signature=")
    expected = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, expected):
        raise Refused(400, {"code": -1022, "msg": "Signature for this request is not valid."})
    if abs(ask.whole("timestamp", 0) - view.clock_ms) > WINDOW_MS:
        raise Refused(400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."})
