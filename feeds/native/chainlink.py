"""Chainlink price feeds, read from an Ethereum node by JSON-RPC in batches.

Three ages are kept apart: our last poll is a quote's `received_at`, the feed's last round its `exchange_at` (right
though an hour or a day old, within the heartbeat), and a node whose newest block is old is not believed at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feeds import waits
from feeds.base import BadReply, FeedError, FeedSpec, Listing, MarketCache, Quote, Throttled, Unreachable, Unsupported
from feeds.native.feed import NativeFeed
from feeds.native.http import Headers
from feeds.native.oracles import ORACLES, Oracle
from feeds.shared.quotes import QuoteBatch
from feeds.shared.rejections import reject
from lib import clock

NODE = "https://ethereum-rpc.publicnode.com/"
LATEST_ROUND_DATA, DECIMALS, DESCRIPTION = "0xfeaf968c", "0x313ce567", "0x7284e416"
WORD = 64  # hex digits
NODE_MAY_LAG_SECONDS = 60.0  # five blocks
HEARTBEAT_GRACE_SECONDS = 300.0  # a transaction waits for its block
CALLS_A_BATCH = 40
ROUND_MEMORY_SECONDS = 600.0  # an older round for longer than this is a reorganised chain, not a lagging node
# JSON-RPC's own codes, and those of nodes and their hosts
LIMIT_CODES = frozenset({429, -32005, -32007, -32016, -32029, -32090, -32097})
BY_CODE: Mapping[int, type[FeedError]] = {
    -32601: Unsupported,
    -32603: Unreachable,
    -32002: Unreachable,
}

Method = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Round:
    """A price as latestRoundData() gives it."""

    number: int
    answer: int
    updated_at: int


class ChainlinkFeed(NativeFeed):
    name = "Chainlink"
    has = {"fetchMarkets": True, "fetchTickers": True, "fetchTicker": True, "fetchOrderBook": False, "oracle": True}
    rate_limit_ms = 500.0

    def __init__(self, spec: FeedSpec, market_cache: MarketCache | None = None) -> None:
        super().__init__(spec, market_cache)
        # The address of a hosted node carries its key, so it is kept as one.
        self._node = spec.credentials.get("token") or NODE
        self._oracles = {oracle.symbol: oracle for oracle in ORACLES}
        self._rounds: dict[str, tuple[int, float]] = {}

    def explain(self, status: int, headers: Headers, content: Any) -> FeedError | None:
        """Returns the one error that may stand for a whole batch, usually with HTTP 200; None where there is none."""
        return _refusal(content) if isinstance(content, dict) and status < 300 and "error" in content else None

    async def read_markets(self) -> Iterable[Listing]:
        answers = await self._ask([_call(oracle, what) for oracle in ORACLES for what in (DESCRIPTION, DECIMALS)])
        _raise_passing(answers, Throttled, Unreachable)
        listed = [
            _listing(oracle, is_right=_is(oracle, answers[2 * number], answers[2 * number + 1]))
            for number, oracle in enumerate(ORACLES)
        ]
        if not any(market.active for market in listed):
            raise _first_error(answers) or BadReply("the node knows none of the configured feeds")
        return listed

    async def read_quotes(self, batch: QuoteBatch, wanted: Mapping[str, Listing]) -> None:
        oracles = [self._oracles[symbol] for symbol in wanted if symbol in self._oracles]
        block, *answers = await self._ask(
            [("eth_getBlockByNumber", ["latest", False]), *(_call(oracle, LATEST_ROUND_DATA) for oracle in oracles)]
        )
        received_at = batch.call.answered_at
        _raise_passing(answers, Throttled)
        batch.made_at = _require_fresh_node(block, now=received_at)
        batch.call.row_count += len(answers)
        for oracle, answer in zip(oracles, answers, strict=True):
            self._take(batch, oracle, answer, received_at)
        if not batch.quotes and (error := _first_error(answers)) and not isinstance(error, BadReply):
            raise error

    async def prove_alive(self) -> None:
        (block,) = await self._ask([("eth_getBlockByNumber", ["latest", False])])
        _require_fresh_node(block, now=clock.unix())

    def _take(self, batch: QuoteBatch, oracle: Oracle, answer: Any, received_at: float) -> None:
        try:
            found = read_round(answer)
            fault = self._fault(oracle, found, received_at)
        except (ValueError, FeedError) as error:
            reject(batch.call, oracle.symbol, error, {"result": answer})
            return
        if fault:
            reject(batch.call, oracle.symbol, fault, {"result": answer})
            return
        self._rounds[oracle.symbol] = (found.number, received_at)
        last = found.answer / 10**oracle.decimals
        quote = Quote(oracle.symbol, last, None, None, None, None, None, None, float(found.updated_at), received_at)
        batch.add(quote)

    def _fault(self, oracle: Oracle, found: Round, now: float) -> str:
        """Returns why a round is not to be believed; empty when it is."""
        if found.answer <= 0:
            return f"the answer is {found.answer}, which is no price"
        if found.updated_at <= 0:
            return "a round that was never written"
        age = now - found.updated_at
        if age > oracle.heartbeat_seconds + HEARTBEAT_GRACE_SECONDS:
            return f"written {age:.0f} s ago, its heartbeat is {oracle.heartbeat_seconds} s"
        known, seen_at = self._rounds.get(oracle.symbol, (0, now))
        if found.number < known and now - seen_at < ROUND_MEMORY_SECONDS:
            return f"round {found.number} after round {known}: another node, or a lagging one"
        return ""

    async def _ask(self, methods: Sequence[Method]) -> list[Any]:
        """Returns a result or a FeedError for each, in their order; nodes answer a batch in any order."""
        found: list[Any] = []
        for begin in range(0, len(methods), CALLS_A_BATCH):
            chunk = methods[begin : begin + CALLS_A_BATCH]
            batch = [
                {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
                for number, (method, parameters) in enumerate(chunk)
            ]
            found += _by_id(await self.http.post(self._node, batch), len(chunk))
        return found


# "0x" and five words: round (phase << 64 | number), answer (two's complement), started, updated, answered in round
def read_round(result: Any) -> Round:
    """Returns the round; raises ValueError for what is no round, and a FeedError that is in its place."""
    if isinstance(result, FeedError):
        raise result
    words = _words(result)
    if len(words) < 5:
        raise ValueError(f"a round has five words, not {len(words)}")
    answer = words[1] - (1 << 256) if words[1] >> 255 else words[1]
    return Round(words[0], answer, words[3])


def read_text(result: Any) -> str:
    """Returns a dynamic text, which is where it begins, its length, and its bytes."""
    words = _words(result)
    if len(words) < 3 or words[0] != 32 or words[1] > 200:
        raise ValueError("no text")
    digits = str(result)[2 + 2 * WORD :]
    return bytes.fromhex(digits)[: words[1]].decode()


def _words(result: Any) -> list[int]:
    if not isinstance(result, str) or not result.startswith("0x") or (len(result) - 2) % WORD:
        raise ValueError("not a row of 32-byte words")
    return [int(result[at : at + WORD], 16) for at in range(2, len(result), WORD)]


def _call(oracle: Oracle, what: str) -> Method:
    return "eth_call", [{"to": oracle.proxy, "data": what}, "latest"]


def _listing(oracle: Oracle, *, is_right: bool) -> Listing:
    base, _, quote = oracle.symbol.partition("/")
    return Listing(oracle.symbol, base, quote, "spot", oracle.proxy, active=is_right, is_genuine=is_right)


def _is(oracle: Oracle, description: Any, decimals: Any) -> bool:
    """Says whether the contract calls itself what we think it is."""
    try:
        return (
            read_text(description).replace(" ", "").upper() == oracle.symbol and _words(decimals)[0] == oracle.decimals
        )
    except (ValueError, IndexError):
        return False


def _require_fresh_node(block: Any, *, now: float) -> float:
    """Returns when the block was made, {"number":"0x14a5b3c","timestamp":"0x6b017411"}. Raises Unreachable for an old
    one."""
    if isinstance(block, FeedError):
        raise block
    try:
        made_at = int(block["timestamp"], 16)
    except (TypeError, KeyError, ValueError) as error:
        raise BadReply("the node's newest block has no time") from error
    if now - made_at > NODE_MAY_LAG_SECONDS:
        raise Unreachable(f"the node is {now - made_at:.0f} s behind the chain")
    return float(made_at)


# [{"jsonrpc":"2.0","id":1,"result":"0x…"},{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"reverted"}}]
def _by_id(reply: Any, count: int) -> list[Any]:
    if not isinstance(reply, list):
        raise BadReply(f"a batch of {count} calls got one {type(reply).__name__}")
    found: list[Any] = [BadReply("no answer for this call of the batch")] * count
    for row in reply:
        id_ = row.get("id") if isinstance(row, dict) else None
        if type(id_) is int and 0 <= id_ < count:
            found[id_] = _refusal(row) if row.get("error") is not None else row.get("result")
    return found


# {"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"limit exceeded"}}
def _refusal(row: Mapping[str, Any]) -> FeedError:
    error = row.get("error")
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, error)
    if code in LIMIT_CODES or waits.asks_to_wait(str(message)):
        wait = waits.of_text(str(message), now=clock.unix())
        said = f"{wait.remark}; " if wait.remark else ""
        return Throttled(
            f"{said}the node says {code}: {str(message)[:200]}",
            retry_after_seconds=wait.seconds,
            banned=wait.banned,
        )
    kind = BY_CODE.get(code, BadReply) if isinstance(code, int) else BadReply
    if "header not found" in str(message):  # a node that has not seen this block yet
        kind = Unreachable
    return kind(f"the node says {code}: {str(message)[:200]}")


def _raise_passing(answers: Iterable[Any], *kinds: type[FeedError]) -> None:
    """Raises what will pass: it says nothing about a feed, and a wish that we wait counts for the whole batch."""
    for answer in answers:
        if isinstance(answer, kinds):
            raise answer


def _first_error(answers: Iterable[Any]) -> FeedError | None:
    return next((answer for answer in answers if isinstance(answer, FeedError)), None)
