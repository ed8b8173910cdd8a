"""One market list for all processes: judged before it is used, recalled when another is to be gone by."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from collectors import lease
from collectors.gaps import sweep
from collectors.history import partitions
from collectors.models import Gap, Pipeline, Run, Tick, Worker
from collectors.polling import market_list, notices
from collectors.polling import poll as polling
from collectors.rules.quote_checks import JudgedQuotes
from collectors.streaming import blocking_calls
from collectors.streaming.ownership import StreamTarget
from exchanges.models import Exchange, Market
from feeds import close_feeds, open_feed
from feeds.base import BadReply, MissingPart, Poll, RejectedRow
from feeds.deadlines import digest_of
from feeds.streams import market_cache_key
from lib import clock, valkey
from operations import commands
from tests.world import onboard_and_poll, poll, quotes, store_quotes


@pytest.fixture
def luno(transactional_db, sandbox, settings):
    """Polled once, on a sandbox whose markets are put right again."""
    settings.POLL_DEADLINE_SECONDS = 10.0
    partitions.ensure(clock.now())
    sandbox.reset()
    assert onboard_and_poll("luno") == "stored"
    yield Exchange.objects.get(pk="luno")
    sandbox.reset()


def as_another_process() -> None:
    """Nothing of what this process remembers is left."""
    close_feeds()
    market_list._known.clear()


def symbols() -> list[str]:
    return list(Market.objects.collected().filter(exchange="luno").order_by("symbol").values_list("symbol", flat=True))


def shrink(sandbox, *, keep: int) -> list[str]:
    gone = symbols()[keep:]
    sandbox.move_markets("luno", delist=gone)
    return gone


def refresh() -> str:
    return polling.refresh_markets("luno", now=clock.now())


def try_again() -> str:
    """A poll after the five minutes between two tries."""
    valkey.client().delete("marketmon:markets-tried:luno")
    return poll("luno")


def shared_digest(exchange: Exchange) -> str:
    packed = market_list.ValkeyMarketCache().load(market_cache_key(exchange.feed_spec()))
    assert packed is not None
    return digest_of(packed)


def test_the_list_that_all_go_by_is_the_one_in_the_cache(luno):
    assert luno.markets_digest == shared_digest(luno) != ""


def test_a_market_that_is_new_in_the_list_is_stored_by_the_first_poll_after_it_in_every_process(luno, sandbox):
    """The old list is warm in this process; another one has loaded the new."""
    sandbox.move_markets("luno", list=["FRESH/ZAR"])
    warm = open_feed(luno.feed_spec())
    assert "FRESH/ZAR" not in warm._client.markets
    from_another_process(luno)

    assert poll("luno") == "stored"

    assert Pipeline.objects.get(market__symbol="FRESH/ZAR").received_at is not None


def from_another_process(exchange: Exchange) -> None:
    """The list is loaded by a feed that is not this process's."""
    from feeds import _feeds_of_this_process

    feeds = _feeds_of_this_process()
    mine = feeds.pop(exchange.id)
    assert refresh() == "stored"
    feeds.pop(exchange.id).close()
    feeds[exchange.id] = mine


def test_a_list_that_no_cache_holds_is_loaded_by_the_next_poll(luno):
    as_another_process()
    valkey.client().flushdb()

    assert poll("luno") == "stored"

    luno.refresh_from_db()
    assert luno.markets_digest == shared_digest(luno)


def test_a_refused_list_is_neither_used_nor_shared(luno, sandbox):
    before, count = luno.markets_digest, len(symbols())
    shrink(sandbox, keep=3)
    assert refresh() == "bad_reply"
    sandbox.reset()

    assert poll("luno") == "stored"
    assert Run.objects.latest("id").rows_stored == count
    as_another_process()
    assert poll("luno") == "stored"

    assert Run.objects.latest("id").rows_stored == count
    assert shared_digest(luno) == before


def test_the_sound_rows_of_a_short_answer_are_stored_and_the_run_says_so(luno, sandbox):
    count = len(symbols())
    sandbox.fault("luno", "drop_symbols", params={"share": 0.9})

    assert [poll("luno"), poll("luno")] == ["stored", "stored"]

    run, worker = Run.objects.latest("id"), Worker.objects.get()
    assert 0 < run.rows_stored < count / 2
    assert f"{count} are usual" in run.excerpt
    assert (worker.status, worker.error_count, worker.usual_count) == ("running", 0, count)
    assert worker.stored_count == run.rows_stored


def test_a_count_is_usual_only_for_the_list_that_it_was_made_of(luno):
    """A poll under way writes its count after an operator has chosen fewer markets."""
    permit = lease.take("luno", lease_seconds=20, repeat=True)
    collected = polling._fetch_and_judge(permit, now=clock.now())
    Exchange.objects.update(market_filter={"top": 3})
    with market_list.changing("luno", now=clock.now()):
        pass
    now = clock.now()
    assert polling._finish_stored(permit, collected, started_at=now, finished_at=now, correlation_id="") == "stored"

    assert [poll("luno") for _ in range(3)] == ["stored"] * 3

    assert Run.objects.latest("id").rows_stored == 3
    assert Run.objects.latest("id").excerpt == ""


def test_a_restart_forgets_what_was_usual(luno):
    Worker.objects.update(usual_count=1000, refused_list="x", refused_count=2)

    commands.restart("luno", by="test", now=clock.now())

    assert Worker.objects.values_list("usual_count", "refused_count").get() == (0, 0)


def test_the_same_short_list_is_accepted_the_third_time(luno, sandbox):
    gone = shrink(sandbox, keep=3)
    assert [refresh(), try_again()] == ["bad_reply", "stored"]
    assert Market.objects.filter(symbol__in=gone, active=True).count() == len(gone)

    assert try_again() == "stored"

    assert not Market.objects.filter(symbol__in=gone, active=True).exists()
    assert Worker.objects.values_list("refused_count", "symbols_tracked").get() == (0, 3)
    assert Run.objects.latest("id").rows_stored == 3


def test_short_lists_that_differ_are_not_accepted(luno, sandbox):
    outcomes = []
    for keep in (3, 2, 1):
        shrink_to(sandbox, keep)
        outcomes.append(refresh())

    assert outcomes == ["bad_reply"] * 3
    assert Worker.objects.get().refused_count == 1


def shrink_to(sandbox, keep: int) -> None:
    sandbox.reset()
    shrink(sandbox, keep=keep)


def test_an_exchange_that_was_removed_and_added_again_is_believed(luno, sandbox):
    shrink(sandbox, keep=3)
    commands.remove("luno", by="test", now=clock.now())
    commands.create("luno", by="test", now=clock.now(), base_url=luno.base_url)
    stored = Tick.objects.count()

    assert poll("luno") == "stored"

    assert Tick.objects.count() == stored + 3


def test_an_empty_list_is_never_accepted(luno):
    permit = lease.take("luno", lease_seconds=20, repeat=True)

    for _ in range(4):
        with pytest.raises(BadReply, match="kept the old list"):
            market_list.register(
                permit, [], open_feed(luno.feed_spec()).capabilities, digest="x", now=clock.now(), accepts_short=True
            )


def test_a_market_that_is_listed_and_never_came_is_a_gap_with_a_cause(luno, sandbox):
    sandbox.move_markets("luno", list=["FRESH/ZAR"])
    assert refresh() == "stored"
    listed_at = Worker.objects.get().markets_loaded_at
    fresh = Pipeline.objects.get(market__symbol="FRESH/ZAR")
    assert fresh.resumed_at == listed_at

    store_others(luno, fresh, listed_at, seconds=(4, 14))
    assert sweep.run(listed_at + timedelta(seconds=16)).gaps_opened == 0
    store_others(luno, fresh, listed_at, seconds=(24,))
    assert sweep.run(listed_at + timedelta(seconds=25)).gaps_opened == 1

    gap = Gap.objects.get()
    assert (gap.pipeline_id, gap.started_at, gap.cause) == (fresh.pk, listed_at, "never came")
    assert "listed, never came: 3 runs" in gap.evidence

    now = listed_at + timedelta(seconds=34)
    assert store_quotes("luno", quotes([fresh.pk], at=now), at=now) == 1
    sweep.run(now + timedelta(seconds=1))
    gap.refresh_from_db()
    assert (gap.ended_at, gap.cause) == (now, "never came")
    fresh.refresh_from_db()
    assert (fresh.gap_open, fresh.gaps_24h) == (False, 0)


def store_others(exchange: Exchange, missing: Pipeline, began: datetime, *, seconds: tuple[float, ...]) -> None:
    others = Pipeline.objects.live().filter(market__exchange=exchange).exclude(pk=missing.pk)
    for after in seconds:
        at = began + timedelta(seconds=after)
        store_quotes(exchange.id, quotes(list(others.values_list("pk", flat=True)), at=at), at=at)


def test_a_market_that_comes_in_time_has_no_gap(luno, sandbox):
    sandbox.move_markets("luno", list=["FRESH/ZAR"])
    assert refresh() == "stored"
    assert poll("luno") == "stored"

    sweep.run(clock.now())

    assert not Gap.objects.exists()


def test_a_stream_goes_on_by_the_list_it_has_until_the_one_to_go_by_can_be_had(luno, sandbox):
    held = blocking_calls.load_markets(stream_of(luno))
    assert held.digest == luno.markets_digest == digest_of(held.packed)

    Exchange.objects.update(markets_digest="of another list")
    assert blocking_calls.known_markets(stream_of(luno), held) == replace(held, version=0)

    sandbox.move_markets("luno", list=["FRESH/ZAR"])
    assert refresh() == "stored"
    followed = blocking_calls.known_markets(stream_of(luno), held)
    assert followed.version == Worker.objects.get().markets_version
    assert "FRESH/ZAR" in followed.pipelines
    assert digest_of(followed.packed) == followed.digest == Exchange.objects.get().markets_digest


def test_a_stream_does_not_take_over_a_list_that_was_refused(luno, sandbox):
    held = blocking_calls.load_markets(stream_of(luno))
    shrink(sandbox, keep=3)
    assert refresh() == "bad_reply"

    assert blocking_calls.load_markets(stream_of(luno)) == held


def stream_of(exchange: Exchange) -> StreamTarget:
    version = Worker.objects.get(pk=exchange.id).markets_version
    return StreamTarget(exchange.id, exchange.feed_spec(), "auto", 1, 10.0, version, None)


def test_the_run_says_what_a_poll_could_not_use_and_what_did_not_come():
    missing = MissingPart("swap", "unreachable", "timed out", ("A/B:B", "C/D:D"))
    poll_ = Poll((), 5, missing=(missing,), unknown_count=2, unknown_ids=("X", "Y"))

    repaired = RejectedRow("E/F", "implausible exchange time", "")
    said = notices.of_poll(poll_, JudgedQuotes((), (), (repaired,)), usual_count=None)

    assert said == (
        "swap is missing (2 markets): unreachable: timed out; 2 rows of markets that are not in the list: X, Y; "
        "1 stored without the time that the exchange gave (implausible exchange time): E/F"
    )
    assert notices.of_poll(Poll((), 5), JudgedQuotes((), ()), usual_count=None) == ""
