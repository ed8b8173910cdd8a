"""The archive's pages: days by exchange with their state, and the promises of `manage.py verify` about it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from archive.models import ArchiveFile
from collectors.gaps import invariants
from collectors.models.history import PipelineDay
from tests.archive.conftest import Archived, kept

__all__ = ["kept"]
DAYS = "/admin/archive/archivefile/days/"


def test_the_page_tells_each_day_of_each_exchange(kept: Archived, admin_client: Client) -> None:
    kept.store()
    kept.store("luno", day=1, rows=3)
    kept.round(after=3.5)

    page = admin_client.get(DAYS).content.decode()

    assert f"{kept.at(0):%Y-%m-%d}" in page
    assert "in files only" in page
    assert ">archived<" in page
    assert "luno" in page
    assert admin_client.get("/admin/archive/archivefile/").status_code == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [({"fault": "it is not there"}, "wrong: it is not there"), ({"state": "lost"}, "12 rows lost")],
)
def test_what_is_wrong_is_told_in_its_row(
    kept: Archived, admin_client: Client, change: dict[str, str], words: str
) -> None:
    kept.store()
    kept.round(after=1.01)
    ArchiveFile.objects.update(**change)

    assert words in admin_client.get(DAYS).content.decode()


def test_without_an_archive_and_with_odd_dates_the_page_says_so(kept: Archived, admin_client: Client) -> None:
    kept.settings.ARCHIVE_URL = "off"

    for query in ("", "?until=2026-02-31", "?until=x", "?until=0001-01-01", "?until=9999-12-31"):
        page = admin_client.get(DAYS + query)
        assert page.status_code == 200
        assert "Nothing is archived here" in page.content.decode()


def test_verify_finds_a_broken_chain_and_minutes_that_are_nowhere(kept: Archived) -> None:
    kept.store()
    kept.store(day=1)
    kept.roll_up(0, 1)
    kept.round(after=3.5)
    market = kept.markets[0].pk
    PipelineDay.objects.create(
        day=kept.at(1).date(), pipeline_id=market, expected=1, stored=1, filled=0, longest_gap_seconds=0
    )

    def broken() -> set[str]:
        results = invariants.check(since=kept.at(3) - timedelta(hours=1))
        return {each.promise for each in results if each.offences and "rchive" in each.promise}

    assert broken() == set()
    ArchiveFile.objects.filter(kind="minutes", day=kept.at(1).date()).delete()
    assert broken() == set()  # the table still has them
    kept.settings.ROLLUP_RETENTION_DAYS = 1
    from collectors import retention

    kept.settings.ARCHIVE_URL = "off"
    retention.run(kept.at(4))
    assert broken() == {"no day of minutes was dropped that is not archived"}
    ArchiveFile.objects.filter(pk=kept.files()[0].pk).update(previous_sha256="f" * 64, fault="it is not there")
    assert len(broken()) == 2
