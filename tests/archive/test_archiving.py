"""What is archived: every row once, in files that say what they are; late rows in a second part; nothing before."""

from __future__ import annotations

import json
from datetime import timedelta

import pyarrow.parquet as parquet
import pytest
from django.db import connection

from archive import targets, verifying
from archive.models import ArchiveFile
from collectors.history import archiving, partitions
from collectors.models import Tick, Watermark
from tests.archive.conftest import Archived, kept, rows_of_table

__all__ = ["kept"]


def faults(kept: Archived) -> list[str]:
    found = verifying.verify(targets.configured(), kept.at(4))
    return [f"{each.path}: {each.words}" for each in found if isinstance(each, verifying.ArchiveFault)]


def test_a_closed_day_is_one_file_for_each_exchange_with_all_its_rows(kept: Archived) -> None:
    kept.store("kraken")
    kept.store("luno", rows=3)

    kept.round(after=1.01)

    kraken, luno = kept.files()
    assert (kraken.exchange, kraken.rows, luno.exchange, luno.rows) == ("kraken", 12, "luno", 6)
    table = parquet.read_table(kept.folder / kraken.path, partitioning=None)
    names = [name for name in table.column_names if name != "symbol"]
    wanted = Tick.objects.filter(pipeline__market__exchange="kraken").order_by("pipeline_id", "received_at")
    assert [tuple(row[name] for name in names) for row in table.to_pylist()] == list(wanted.values_list(*names))
    assert set(table["symbol"].to_pylist()) == {"C0/USD", "C1/USD"}
    assert faults(kept) == []


def test_a_day_that_is_not_over_or_has_just_ended_is_not_archived(kept: Archived) -> None:
    kept.store()

    kept.round(after=1.001)

    assert kept.files() == []


def test_every_kind_comes_back_as_it_was_stored(kept: Archived) -> None:
    market = kept.markets[0].pk
    moment = kept.at(0) + timedelta(seconds=1, microseconds=7)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_trade (pipeline_id, trade_id, number, traded_at, received_at, price, amount, side,"
            " is_filled) VALUES (%s, '~a,\"b\" ü', NULL, %s, %s, 0.1, 1e-9, NULL, true),"
            " (%s, '7', 7, %s, %s, 3, 2, 'buy', false)",
            [market, moment, moment, market, moment, moment],
        )
        cursor.execute(
            "INSERT INTO collectors_orderbook (pipeline_id, received_at, bid_prices, bid_amounts, ask_prices,"
            " ask_amounts) VALUES (%s, %s, '{0.3,0.1}', '{1,2}', '{}', '{}')",
            [market, moment],
        )
        cursor.execute(
            "INSERT INTO collectors_funding (pipeline_id, received_at, rate, next_at) VALUES (%s, %s, -0.00012, %s)",
            [market, moment, moment],
        )
        cursor.execute(
            "INSERT INTO collectors_minutecandle VALUES (%s, false, %s, 1, 2, 0.5, 1.5, NULL, %s)",
            [market, moment, moment],
        )
        cursor.execute(
            "INSERT INTO collectors_rolluprevision (pipeline_id, samples, revision, minute_at, close, replaced_at)"
            " VALUES (%s, 1, 0, %s, 9.75, %s)", [market, moment, moment],
        )  # fmt: skip
    kept.store()
    kept.roll_up(0)

    kept.round(after=2.9)

    for dataset in archiving.KINDS:
        [file] = kept.files(dataset.kind)
        there = parquet.read_table(kept.folder / file.path, partitioning=None).to_pylist()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(dataset.names)} FROM {dataset.table} ORDER BY {', '.join(dataset.key)}")
            assert [tuple(row[name] for name in dataset.names) for row in there] == cursor.fetchall(), dataset.kind
    assert faults(kept) == []


def test_a_late_fill_is_a_second_part_and_the_first_stays_as_it_is(kept: Archived) -> None:
    kept.store()
    kept.round(after=1.01)
    [first] = kept.files()
    content = (kept.folder / first.path).read_bytes()
    kept.fetch_later()

    kept.round(after=2.8)

    first, second = kept.files()
    assert second.rows == 1
    assert second.previous_sha256 == first.sha256
    assert (kept.folder / first.path).read_bytes() == content
    manifest = json.loads((kept.folder / first.path).with_name("manifest.json").read_text())
    assert [each["sha256"] for each in manifest["files"]] == [first.sha256, second.sha256]
    assert manifest["chain_sha256"] == second.sha256
    kept.round(after=2.9)
    assert len(kept.files()) == 2


def test_a_minute_that_changed_is_archived_again_and_its_old_state_as_a_revision(kept: Archived) -> None:
    kept.store()
    kept.roll_up(0)
    kept.round(after=1.01)
    kept.fetch_later(second=15)
    kept.roll_up(0)

    kept.round(after=2.9)

    assert [file.rows for file in kept.files("minutes") if file.exchange == "kraken"] == [2, 1]
    assert [file.rows for file in kept.files("revisions")] == [1]


def test_minutes_wait_until_the_day_is_rolled_up(kept: Archived) -> None:
    kept.store()
    kept.roll_up(0)
    Watermark.objects.filter(name="rollups").update(reached_at=kept.at(0.9))

    kept.round(after=1.5)

    assert kept.files("minutes") == []
    assert len(kept.files("ticks")) == 1


def test_by_the_hour_each_hour_is_a_file_and_what_comes_later_is_found_by_the_day(kept: Archived) -> None:
    kept.settings.ARCHIVE_GRAIN = "HOUR"
    Watermark.objects.filter(name__startswith="archive").exclude(name__endswith="ticks").update(reached_at=kept.at(3))
    kept.store()
    kept.fetch_later(second=3600 * 5, known_after=0.3)

    kept.round(after=1.01)

    assert [(file.hour, file.rows) for file in kept.files()] == [(0, 12), (5, 1)]
    kept.fetch_later(second=3600 * 5 + 1)
    kept.round(after=2.9)
    assert [(file.hour, file.rows) for file in kept.files()] == [(0, 12), (5, 1), (None, 1)]
    assert faults(kept) == []


# --- dropping -----------------------------------------------------------------------------------------------------


def partition(kept: Archived, day: int = 0) -> str:
    return partitions._name("collectors_tick", kept.at(day).date())


def test_a_partition_past_its_time_is_dropped_once_all_of_it_is_archived(kept: Archived) -> None:
    kept.store()
    kept.store("luno")
    before = rows_of_table("collectors_tick")

    kept.round(after=3.5)

    assert partition(kept) not in partitions.names("collectors_tick")
    assert sum(file.rows for file in kept.files()) == len(before)
    assert all(file.dropped_at is not None and file.covers == 0 for file in kept.files())


def test_rows_that_came_after_it_was_archived_are_archived_before_it_is_dropped(kept: Archived) -> None:
    kept.store()
    kept.round(after=1.01)
    Watermark.objects.filter(name__startswith=archiving.AGAIN).update(reached_at=kept.at(3))
    kept.fetch_later()

    kept.round(after=3.5)

    assert [file.rows for file in kept.files()] == [12, 1]
    assert partition(kept) not in partitions.names("collectors_tick")


def test_nothing_is_dropped_while_the_archive_fails(kept: Archived) -> None:
    kept.store()
    kept.folder.parent.joinpath("archive").write_text("a file where a folder should be")

    with pytest.raises(targets.TargetFailed):
        kept.round(after=9)

    assert partition(kept) in partitions.names("collectors_tick")
    assert ArchiveFile.objects.count() == 0


@pytest.mark.parametrize(("free_bytes", "is_lost"), [(9, True), (11, False)], ids=["9 % free", "11 % free"])
def test_rows_are_lost_at_the_most_only_on_a_disk_that_is_nearly_full_and_the_ledger_says_so(
    kept: Archived, monkeypatch: pytest.MonkeyPatch, free_bytes: int, is_lost: bool
) -> None:
    from lib import disk

    monkeypatch.setattr(disk, "database_disk", lambda: disk.DiskSpace(free_bytes, 100))
    kept.store()
    kept.folder.parent.joinpath("archive").write_text("a file where a folder should be")

    with pytest.raises(targets.TargetFailed):
        kept.round(after=9)

    assert (partition(kept) not in partitions.names("collectors_tick")) is is_lost
    assert [(file.state, file.rows, bool(file.fault)) for file in kept.files()] == (
        [("lost", 12, True)] if is_lost else []
    )


def test_without_an_archive_nothing_is_archived_and_retention_drops_as_before(kept: Archived) -> None:
    from collectors import retention

    kept.settings.ARCHIVE_URL = "off"
    kept.store()

    assert kept.round(after=3.5) == 0
    retention.run(kept.at(3.5))

    assert partition(kept) not in partitions.names("collectors_tick")
    assert not ArchiveFile.objects.exists()


def test_a_row_that_is_stored_again_after_its_day_was_dropped_is_not_archived_twice(kept: Archived) -> None:
    kept.store()
    kept.round(after=3.5)
    partitions.ensure_since(kept.at(0), kept.at(3.5))
    kept.store(rows=1)
    kept.fetch_later()

    kept.round(after=3.6)

    assert [file.rows for file in kept.files()] == [12, 1]
    assert partition(kept) not in partitions.names("collectors_tick")


# --- verification -------------------------------------------------------------------------------------------------


def test_what_is_changed_missing_or_unknown_is_named(kept: Archived) -> None:
    kept.store()
    kept.store("luno")
    kept.round(after=2.01)
    kraken, luno = kept.files()
    changed = kept.folder / kraken.path
    changed.write_bytes(changed.read_bytes()[:-1] + b"X")
    (kept.folder / luno.path).unlink()
    orphan = changed.with_name("part-0123456789ab.parquet")
    orphan.write_bytes(b"")

    found = faults(kept)

    assert any(kraken.path in line and "not what was written" in line for line in found)
    assert any(luno.path in line and "not there" in line for line in found)
    assert any("part-0123456789ab" in line and "no ledger" in line for line in found)
    assert len(found) == 3
    assert ArchiveFile.objects.get(pk=kraken.pk).fault


def test_a_file_before_that_was_exchanged_breaks_the_chain(kept: Archived) -> None:
    kept.store()
    kept.store(day=1)
    kept.round(after=2.01)
    first, _ = kept.files()
    ArchiveFile.objects.filter(pk=first.pk).update(sha256="0" * 64)

    assert any("the ledger lacks the file before it" in line for line in faults(kept))


def test_the_manifest_is_written_later_where_the_writer_was_stopped_before_it(kept: Archived) -> None:
    kept.store()
    kept.round(after=1.01)
    [file] = kept.files()
    manifest = (kept.folder / file.path).with_name("manifest.json")
    manifest.unlink()
    ArchiveFile.objects.update(described_at=None)
    assert len(faults(kept)) == 1

    kept.round(after=1.02)

    assert manifest.exists()
    assert faults(kept) == []


def test_two_rounds_at_once_are_one(kept: Archived) -> None:
    from collectors import process_lease

    kept.store()
    assert process_lease.take("archive", "another", seconds=60)

    assert kept.round(after=1.01) == 0
    assert kept.files() == []
    process_lease.release("archive", "another")
    assert kept.round(after=1.01) == 1


def test_who_was_overtaken_writes_no_second_entry(kept: Archived) -> None:
    from archive import ledger

    kept.store()

    def overtake(step: str) -> None:
        if step == "before ledger":
            ledger.append(ArchiveFile(kind="ticks", exchange="kraken", day=kept.at(0).date(), rows=0, sha256="a" * 64,
                                      known_until=kept.at(1), written_at=kept.at(1)))  # fmt: skip

    with pytest.raises(ledger.Overtaken):
        kept.round(after=1.01, at=overtake)

    assert [file.sha256 for file in kept.files()] == ["a" * 64]
