"""Who says what of the archive: the command, the board, the incident; and what is removed when."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from archive.models import ArchiveFile
from collectors.history import archive_times, archiving
from collectors.history.archive_times import ArchiveTimes
from collectors.models import Watermark
from incidents.rules import findings
from incidents.rules.facts import FindableSigns
from incidents.signs import archived, health
from tests.archive.conftest import Archived, kept
from tests.archive.test_archiving import faults

__all__ = ["kept"]
NOW = datetime.fromisoformat("2026-11-28T12:00:00+00:00")


def command(*words: str) -> str:
    out = io.StringIO()
    call_command("archive", *words, stdout=out)
    return out.getvalue()


def test_the_command_lists_reads_and_verifies(kept: Archived) -> None:
    kept.store()
    kept.round(after=1.01)
    day = f"{kept.at(0):%Y-%m-%d}"

    assert "12 rows" in command("list", "--exchange", "kraken", "--kind", "ticks")
    lines = command("read", "kraken", "ticks", day, "--symbol", "C0/USD").splitlines()
    assert lines[0].startswith("symbol,pipeline_id,")
    assert len(lines) == 7
    assert "1 files are as they were written" in command("verify")
    (kept.folder / kept.files()[0].path).unlink()
    with pytest.raises(CommandError, match="1 things are wrong"):
        command("verify")


def test_where_there_is_no_archive_the_command_says_so(kept: Archived) -> None:
    kept.settings.ARCHIVE_URL = "off"

    with pytest.raises(CommandError, match="ARCHIVE_URL is off"):
        command("run")


# --- the board and incidents --------------------------------------------------------------------------------------


def told(times: ArchiveTimes) -> tuple[list[str], list[tuple[str, str]]]:
    """The alarms' causes, and the incidents that come of them."""
    alarms = archived.alarms(times, NOW)
    troubles = findings.find(FindableSigns(alarms=alarms, is_off=True), NOW).troubles
    return [each.cause for each in alarms], [(each.cause, str(each.severity)) for each in troubles]


@pytest.mark.parametrize(
    ("hours", "alarms", "incidents"),
    [(0.9, [], []), (1.1, ["archive"], []), (6.1, ["archive"], [("archive", "warning")])],
)
def test_late_archiving_is_on_the_board_after_an_hour_and_an_incident_after_six(
    hours: float, alarms: list[str], incidents: list[tuple[str, str]]
) -> None:
    assert told(ArchiveTimes(waiting_since=NOW - timedelta(hours=hours))) == (alarms, incidents)


def test_lost_rows_are_a_critical_incident() -> None:
    assert told(ArchiveTimes(lost_at=NOW - timedelta(hours=1))) == (["archive lost"], [("archive lost", "critical")])


def test_what_waits_is_known_from_the_watermarks(kept: Archived) -> None:
    kept.store()
    kept.round(after=1.01)

    def waiting(days: float) -> bool:
        seen, _ = health.ask_processes()
        return seen.archive.is_late(kept.at(days))

    assert not waiting(2.01)
    assert waiting(2.1)
    kept.round(after=2.1)
    assert not waiting(2.1)
    kept.settings.ARCHIVE_URL = "off"
    assert not waiting(9)


def test_what_was_stored_before_there_was_an_archive_has_waited_since_then(kept: Archived) -> None:
    Watermark.objects.filter(name__startswith="archive").delete()
    kept.store()
    Watermark.objects.create(name=archive_times.BEGUN, reached_at=kept.at(2.5))
    list(archiving.due(kept.at(2.5)))

    seen, _ = health.ask_processes()

    assert not seen.archive.is_late(kept.at(2.5))
    assert seen.archive.is_late(kept.at(2.6))


# --- expiry -------------------------------------------------------------------------------------------------------


def test_days_past_their_time_are_removed_and_stay_in_the_ledger(kept: Archived) -> None:
    kept.store()
    kept.store(day=1)
    kept.round(after=4.5)
    assert {file.state for file in kept.files()} == {"stored"}
    kept.settings.ARCHIVE_RETENTION_DAYS = 4

    kept.round(after=5.5)

    assert [file.state for file in kept.files()] == ["removed", "stored"]
    assert not any(f"day={kept.at(0):%Y-%m-%d}" in path for path in kept.on_disk() if "kind=ticks" in path)
    assert faults(kept) == []


def test_above_the_limit_the_oldest_go_but_none_that_a_table_still_has(
    kept: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.store()
    kept.store(day=1)
    kept.settings.ARCHIVE_MAX_GB = 1
    kept.round(after=3.5)  # the first day is dropped, the second is not
    ArchiveFile.objects.update(bytes=10**9)

    kept.round(after=3.6)

    assert [file.state for file in kept.files()] == ["removed", "stored"]


def test_a_manifest_names_what_is_left_of_its_day(kept: Archived, settings: Any) -> None:
    kept.store()
    kept.round(after=1.01)
    kept.fetch_later()
    kept.round(after=3.5)
    first, second = kept.files()
    ArchiveFile.objects.filter(pk=first.pk).update(bytes=10**9)
    settings.ARCHIVE_MAX_GB = 1

    kept.round(after=3.6)

    manifest = json.loads((kept.folder / second.path).with_name("manifest.json").read_text())
    assert [each["sha256"] for each in manifest["files"]] == [second.sha256]
