"""Says which incident explains which other one: the tree of causes, by the incidents' keys.

system (what else of the system explains it: OF_SYSTEM) > line, all behind one address > exchange > transport >
markets > pair; whatever loses rows > budget. Each trouble names the keys that may explain it, the deepest first;
`changes` joins it to the first of them that is open, or opens within `JOIN_WITHIN`.
"""

from __future__ import annotations

from collections.abc import Iterable

from incidents.rules.conditions import MISSING, SILENT
from incidents.rules.facts import ExchangeSigns

POLLS, INTERNAL, STREAMS = "polls", "internal", "streams"
# What explains a silence of what is polled, and of what is streamed; the deepest cause first.
OF_POLLED = ("database", "valkey", "beat", "worker", "queue", POLLS)
OF_STREAMED = ("database", STREAMS)
OF_FAILED = ("database", "disk", "valkey", INTERNAL)
# What of the system explains what else of it.
OF_SYSTEM = {
    "queue": ("valkey", "worker", POLLS),
    POLLS: ("database", "valkey", "beat", "worker", "queue"),  # of these two, the one that shows first is the root
    "beat": ("database", "valkey"),
    "worker": ("database", "valkey"),
    STREAMS: ("database", "disk", "valkey", INTERNAL),
    INTERNAL: ("database", "disk"),
    "rollups": ("database", "valkey", "beat", "worker", "disk"),
    "archive": ("database", "valkey", "beat", "worker", "rollups"),
}
# Found by what they bring about: what is behind them may show a little later.
FOUND_BY_EFFECT = ("queue", POLLS, INTERNAL, STREAMS)
# Outcomes that a shared way out explains: the network, a proxy, DNS, certificates, an address that is rate-limited.
LINE_CAUSES = ("unreachable", "not_connected", "denied", "bad_reply", "throttled")


def system_key(cause: str) -> str:
    """Returns the key of an incident of the system."""
    return f"system:{cause}"


def system_keys(causes: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(system_key, causes))


def line_key(address: str) -> str:
    """Returns the key of the incident of all that are behind one address."""
    return f"line:{address}"[:200]


def budget_key(number: int) -> str:
    """Returns the key of the incident of an objective whose budget burns."""
    return f"budget:{number}"


def keys_of(exchange: str) -> tuple[str, str, str]:
    """Returns the keys of an exchange's incidents: of the whole, of its transport, of its markets."""
    return f"exchange:{exchange}", f"transport:{exchange}", f"markets:{exchange}"


def explainers(each: ExchangeSigns) -> tuple[str, ...]:
    """Returns the keys of what may explain an exchange's condition, the deepest cause first."""
    cause = each.condition.cause
    if cause in (SILENT, MISSING):
        return (*system_keys(OF_STREAMED if each.is_streamed else OF_POLLED), line_key(each.address))
    if cause == "failed":
        return system_keys(OF_FAILED)
    return (*clock_keys(cause), line_key(each.address)) if cause in LINE_CAUSES else ()


def clock_keys(cause: str) -> tuple[str, ...]:
    """Returns the key of a wrong clock where it may explain an outcome: signatures and certificates go by the time."""
    return system_keys(("clock",)) if cause == "denied" else ()


def explainers_of_burn(exchanges: Iterable[str]) -> tuple[str, ...]:
    """Returns the keys of what may explain that a budget burns: what stops all, then the exchanges that lose rows.

    Silent markets do not: few are told of them, and a budget that burns must be told.
    """
    return (*system_keys(OF_POLLED), *(keys_of(name)[0] for name in exchanges))
