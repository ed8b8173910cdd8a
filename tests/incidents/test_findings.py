"""What is found, and what explains it: each fault alone, and in pairs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from incidents.rules import conditions
from incidents.rules.conditions import Condition, SourceState
from incidents.rules.facts import ExchangeSigns, FindableSigns, Found, GapSigns, PairSigns
from incidents.rules.findings import find
from incidents.rules.verdict import Alarm, Tone
from tests.incidents.conftest import START as NOW

LONG_AGO = NOW - timedelta(hours=1)
NAMES = ("binance", "coinbase", "kraken", "luno", "valr")


def well(name: str, **facts: object) -> ExchangeSigns:
    usual = {"address": "direct", "stored_at": NOW, "markets": 100, "fresh": 100}
    return ExchangeSigns(Condition(name, SourceState.DELIVERS), **{**usual, **facts})  # type: ignore[arg-type]


def bad(name: str, cause: str, state: SourceState = SourceState.DOWN, **facts: object) -> ExchangeSigns:
    since = NOW - timedelta(seconds=90)
    why = conditions.WORDS.get(cause, cause)
    return replace(well(name, **facts), condition=Condition(name, state, why, since, "said", cause))


def signs(*exchanges: ExchangeSigns, **facts: object) -> FindableSigns:
    there = {each.condition.exchange for each in exchanges}
    return FindableSigns([*exchanges, *(well(name) for name in NAMES if name not in there)], **facts)  # type: ignore[arg-type]


def roots(found: Found) -> list[str]:
    keys = {each.key for each in found.troubles}
    return [each.key for each in found.troubles if not keys & set(each.explained_by)]


def alarm(cause: str, tone: Tone = Tone.DANGER) -> Alarm:
    return Alarm(f"{cause} is wrong", "mend it", tone=tone, cause=cause)


def all_bad(cause: str, **facts: object) -> list[ExchangeSigns]:
    return [bad(name, cause, **facts) for name in NAMES]


def test_nothing_is_found_where_all_is_well() -> None:
    assert find(signs(), NOW) == Found()


# Each fault with the one root that it has, as `signs` would show it.
FAULTS: dict[str, tuple[FindableSigns, list[str]]] = {
    **{
        f"one {cause}": (signs(bad("kraken", cause)), ["exchange:kraken"])
        for cause in ("unreachable", "bad_reply", "throttled", "denied", "failed", "silent", "unsupported", "held_back")
    },
    **{
        f"all {cause}": (signs(*all_bad(cause)), ["line:direct"])
        for cause in ("unreachable", "bad_reply", "denied", "not_connected", "throttled")
    },
    "all silent": (signs(*all_bad("silent")), ["system:polls"]),
    "all failed": (signs(*all_bad("failed")), ["system:internal"]),
    **{
        f"{cause} and all silent": (signs(*all_bad("silent"), alarms=[alarm(cause)]), [f"system:{cause}"])
        for cause in ("worker", "beat", "valkey", "database")
    },
    "worker, queue and all silent": (
        signs(*all_bad("silent"), alarms=[alarm("worker"), alarm("queue")]), ["system:worker"],
    ),
    **{
        f"{cause} alone": (signs(alarms=[alarm(cause)]), [f"system:{cause}"])
        for cause in ("pulse", "beat", "valkey", "database", "disk", "clock", "rollups", "channel", "notifier", "queue")
    },
    "clock and all denied": (signs(*all_bad("denied"), alarms=[alarm("clock")]), ["system:clock"]),
    "database and all failed": (signs(*all_bad("failed"), alarms=[alarm("database")]), ["system:database"]),
    "a proxy": (
        signs(*(bad(name, "unreachable", address="proxy") for name in NAMES[:3])), ["line:proxy"],
    ),
    "two behind a proxy": (
        signs(*(bad(name, "unreachable", address="proxy") for name in NAMES[:2])),
        ["exchange:binance", "exchange:coinbase"],
    ),
    "no stream delivers": (
        signs(*(well(name, is_stream_wanted=True, stream_short_since=LONG_AGO) for name in NAMES[:3])),
        ["system:streams"],
    ),
    "one stream": (
        signs(
            well("kraken", is_stream_wanted=True, stream_short_since=LONG_AGO),
            well("luno", is_stream_wanted=True, is_streamed=True),
        ),
        ["transport:kraken"],
    ),
    "markets": (
        signs(replace(bad("kraken", "missing", SourceState.DEGRADED), fresh=10)), ["markets:kraken"],
    ),
    "three markets": (
        signs(gaps=[GapSigns("kraken", "exchange outage", 3, LONG_AGO)]), ["markets:kraken"],
    ),
    "a watched pair": (signs(pairs=[PairSigns("BTC/USD", ("kraken",), LONG_AGO, 1)]), ["pair:BTC/USD"]),
    "a watched pair of a dead exchange": (
        signs(bad("kraken", "unreachable"), pairs=[PairSigns("BTC/USD", ("kraken",), LONG_AGO, 0)]),
        ["exchange:kraken"],
    ),
    "two exchanges by themselves": (
        signs(bad("kraken", "unreachable"), bad("luno", "denied")), ["exchange:kraken", "exchange:luno"],
    ),
    "a dead exchange and a hung worker": (
        signs(bad("kraken", "unreachable"), *(bad(name, "silent") for name in NAMES if name != "kraken"),
              alarms=[alarm("worker")]),
        ["system:worker", "exchange:kraken"],
    ),
    "a dead exchange, and no poll stores": (
        signs(bad("kraken", "unreachable"), *(bad(name, "silent") for name in NAMES if name != "kraken")),
        ["system:polls", "exchange:kraken"],
    ),
    "a dead exchange, the rest behind a dead line": (
        signs(bad("kraken", "denied"), *(bad(name, "unreachable") for name in NAMES if name != "kraken")),
        ["line:direct"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_the_root_is_named(name: str) -> None:
    given, wanted = FAULTS[name]

    assert sorted(roots(find(given, NOW))) == sorted(wanted)


@pytest.mark.parametrize(
    "given",
    [
        signs(bad("kraken", "throttled", SourceState.DEGRADED)),
        signs(gaps=[GapSigns("kraken", "market quiet", 90, LONG_AGO)]),
        signs(gaps=[GapSigns("kraken", "exchange outage", 2, LONG_AGO)]),
        signs(well("kraken", is_stream_wanted=True, stream_short_since=NOW - timedelta(seconds=60))),
    ],
    ids=["one failed run", "quiet markets", "two markets", "a session that is renewed"],
)
def test_what_mends_itself_is_no_incident(given: FindableSigns) -> None:
    young = [
        replace(each, condition=replace(each.condition, since=NOW - timedelta(seconds=30)))
        if each.condition.since
        else each
        for each in given.exchanges
    ]
    assert find(replace(given, exchanges=young), NOW).troubles == ()


def test_what_cannot_be_judged_is_unknown() -> None:
    waiting = replace(well("kraken"), condition=Condition("kraken", SourceState.UNKNOWN, "waiting to start"))

    assert "exchange:kraken" in find(signs(waiting), NOW).unknown
    assert "system:worker" in find(signs(alarms=[alarm("valkey")], is_valkey_away=True), NOW).unknown
    assert "exchange:luno" in find(signs(is_off=True), NOW).unknown
    assert find(signs(*all_bad("silent"), is_off=True), NOW).troubles == ()


def test_a_start_is_no_outage() -> None:
    found = find(signs(*all_bad("silent"), alarms=[alarm("worker"), alarm("disk")], is_starting=True), NOW)

    assert [each.key for each in found.troubles] == ["system:disk"]
    assert {"system:worker", "system:polls", "exchange:kraken"} <= found.unknown


def test_an_exchange_is_alone_when_others_have_stored_since() -> None:
    def kraken(*others: ExchangeSigns) -> bool:
        found = find(signs(bad("kraken", "unreachable"), *others), NOW)
        return next(each for each in found.troubles if each.key == "exchange:kraken").is_alone

    assert kraken()
    assert not kraken(well("luno", stored_at=NOW - timedelta(minutes=5)))
    assert not kraken(bad("luno", "silent"))
