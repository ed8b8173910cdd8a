"""Chainlink's price feeds through an Ethereum node: JSON-RPC, single or in batches, errors with HTTP 200.

-> {"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0xF403…","data":"0xfeaf968c"},"latest"]}
<- {"jsonrpc":"2.0","id":1,"result":"0x" and five words of 64 hex digits: round, answer, started, updated, round}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import chain, count
from typing import Any

from sandbox import prices
from sandbox.market import Market
from sandbox.venues.base import LIST, Ask, Venue
from sandbox.view import View

# Ethereum's proxies
PROXIES = {
    "BTC/USD": "0xF4030086522a5bEEa4988F8cA5B36dbC97BeE88c",
    "ETH/USD": "0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419",
    "LINK/USD": "0x2c1d072e956AFFC0D435Cb7AC38EF18d24d9127c",
    "SOL/USD": "0x4ffC43a60e009B551865A93d232E33Fce9f01507",
    "BNB/USD": "0x14e613AC84a31f709eadbdF89C6CC390fDc9540A",
    "AVAX/USD": "0xFF3EEb22B5E3dE6e705b44749C2559d704923FD7",
    "DOGE/USD": "0x2465CefD3b488BE410b941b1d4b2767088e2A028",
    "ADA/USD": "0xAE48c91dF1fE419994FFDa27da09D5aC69c30f55",
    "UNI/USD": "0x553303d460EE0afB37EdFf9bE42922D8FF63220e",
    "AAVE/USD": "0x547a514d5e3769680Ce22B2361c10Ea13619e8a9",
    "COMP/USD": "0xdbd020CAeF83eFd542f4De03e3cF0C28A4428bd5",
    "MKR/USD": "0xec1D1B3b0443256cc3860e24a46F108e699484Aa",
    "USDC/USD": "0x8fFfFfd4AfB6115b954Bd326cbe7B4BA576818f6",
    "USDT/USD": "0x3E7d1eAB13ad0104d2750B8863b489D65364e32D",
    "EUR/USD": "0xb49f677943BC038e9857d61E7d053CaA2C1734C1",
    "GBP/USD": "0x5c0Ab2d9b5a7ed9f470386e82BB36A3613cDd4b5",
}
DECIMALS = 8
PHASE = 7
ROUND_SECONDS = 60  # the shortest time between two rounds
BLOCK_SECONDS = 12
FIRST_BLOCK_AT = 1_438_269_973
REVERTED = (-32000, "execution reverted")


class RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def error(status: int) -> dict[str, Any]:
    code, message = (-32005, "limit exceeded") if status == 429 else (-32603, "internal error")
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}


def symbols() -> Iterator[str]:
    return chain(PROXIES, (f"SIM{number}/USD" for number in count(1)))


def id_of(market: Market) -> str:
    """Returns a proxy's address, in lower case."""
    made_up = "0x" + blake2b(market.symbol.encode(), digest_size=20).hexdigest()
    return PROXIES.get(market.symbol, made_up).lower()


def rpc(view: View, ask: Ask) -> Any:
    if LIST in ask.values:
        return [_answer(view, call) for call in ask.values[LIST]]
    return _answer(view, dict(ask.values))


def _answer(view: View, call: Any) -> dict[str, Any]:
    head = {"jsonrpc": "2.0", "id": call.get("id") if isinstance(call, dict) else None}
    try:
        return head | {"result": _result(view, call)}
    except RpcError as refusal:
        return head | {"error": {"code": refusal.code, "message": refusal.message}}


def _result(view: View, call: Any) -> Any:
    if not isinstance(call, dict) or not isinstance(call.get("params", []), list):
        raise RpcError(-32600, "invalid request")
    method = METHODS.get(str(call.get("method")))
    if method is None:
        raise RpcError(-32601, f"the method {call.get('method')} does not exist/is not available")
    return method(view, call.get("params", []))


def chain_id(_: View, __: list[Any]) -> Any:
    return "0x1"


def block_number(view: View, _: list[Any]) -> Any:
    return hex(_block(view))


def block(view: View, _: list[Any]) -> Any:
    """Renders a block; its time is the stamp clock's: a node that lags has an old one."""
    number = _block(view)
    return {"number": hex(number), "timestamp": hex(FIRST_BLOCK_AT + number * BLOCK_SECONDS), "transactions": []}


def eth_call(view: View, params: list[Any]) -> Any:
    what = params[0] if params and isinstance(params[0], dict) else {}
    market = view.markets.get(str(what.get("to", "")).lower())
    if market is None:
        return "0x"  # nobody lives there
    read = CALLS.get(str(what.get("data", ""))[:10])
    if read is None or market.is_halted or view.lies.drops(market.symbol):
        raise RpcError(*REVERTED)
    return "0x" + read(view, market)


def latest_round(view: View, market: Market) -> str:
    """Renders the round; an answer that a lie made may be negative or no number at all."""
    updated_at = prices.written_at(view.exchange, market.base, view.second)
    number = (PHASE << 64) | (updated_at // ROUND_SECONDS)
    shift = int(view.stamp) - view.second
    answer = round(float(view.quote(market).last) * 10**DECIMALS)
    return "".join(map(_word, (number, answer, updated_at + shift, updated_at + shift, number)))


def decimals(_: View, __: Market) -> str:
    return _word(DECIMALS)


def description(_: View, market: Market) -> str:
    """Renders a dynamic text: where it begins, how long it is, its bytes."""
    text = f"{market.base} / {market.quote}".encode()
    return _word(32) + _word(len(text)) + text.hex().ljust(64, "0")


def aggregator(_: View, market: Market) -> str:
    return blake2b(b"aggregator" + market.symbol.encode(), digest_size=20).hexdigest().rjust(64, "0")


def phase(_: View, __: Market) -> str:
    return _word(PHASE)


def version(_: View, __: Market) -> str:
    return _word(4)


def latest_answer(view: View, market: Market) -> str:
    return latest_round(view, market)[64:128]


def _block(view: View) -> int:
    return (int(view.stamp) - FIRST_BLOCK_AT) // BLOCK_SECONDS


def _word(value: int) -> str:
    return f"{value % (1 << 256):064x}"


METHODS: dict[str, Callable[[View, list[Any]], Any]] = {
    "eth_chainId": chain_id,
    "eth_blockNumber": block_number,
    "eth_getBlockByNumber": block,
    "eth_call": eth_call,
}
CALLS: dict[str, Callable[[View, Market], str]] = {
    "0xfeaf968c": latest_round,
    "0x313ce567": decimals,
    "0x7284e416": description,
    "0x245a7bfc": aggregator,
    "0x58303b10": phase,
    "0x54fd4d50": version,
    "0x50d25bcd": latest_answer,
}
VENUE = Venue(
    id="chainlink",
    hosts=("ethereum-rpc.publicnode.com",),
    size=len(PROXIES),
    symbols=symbols,
    id_of=id_of,
    routes={"/": rpc, "/rpc": rpc},
    error=error,
)
