"""Kills a round of the archive at a step, and judges what is left of it."""

from __future__ import annotations

import os
import signal
import traceback
from datetime import datetime
from typing import Any

import pyarrow.parquet as parquet
from django.db import connection, connections

from archive import targets, verifying
from archive.models import ArchiveFile
from collectors.models import ProcessLease
from tests.archive.conftest import Archived

STEPS = ("before write", "before fsync", "before rename", "before ledger", "before drop")


def killed_at(kept: Archived, step: str, *, after: float, passes: int = 0) -> int:
    """Makes a round in a child that kills itself when it has come to a step; returns the signal that ended it."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        left = [passes]

        def kill(here: str) -> None:
            if here == step:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        try:
            kept.round(after=after, at=kill)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    ProcessLease.objects.filter(name="archive").delete()  # it ends by itself, in minutes
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def archived_rows(kept: Archived) -> list[tuple[int, datetime]]:
    """Key of each tick in the files that the ledger knows."""
    found: list[tuple[int, datetime]] = []
    for file in ArchiveFile.objects.filter(kind="ticks", state="stored"):
        table = parquet.read_table(kept.folder / file.path, columns=["pipeline_id", "received_at"], partitioning=None)
        found += zip(table["pipeline_id"].to_pylist(), table["received_at"].to_pylist(), strict=True)
    return found


def hot_rows() -> set[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pipeline_id, received_at FROM collectors_tick")
        return set(cursor.fetchall())


def assert_whole(kept: Archived, stored: set[tuple[Any, ...]], *, after: float) -> None:
    """Nothing is lost now or after the next round, nothing is archived twice, and what is left over is named."""
    assert hot_rows() | set(archived_rows(kept)) == stored
    assert_named(kept)

    kept.round(after=after)

    found = archived_rows(kept)
    assert len(found) == len(set(found))
    assert hot_rows() | set(found) == stored
    assert_named(kept)


def assert_named(kept: Archived) -> None:
    """Each file on the disk is one of the ledger, beside one, or named by the verification."""
    named = {each.path for each in verifying.verify(targets.configured(), kept.at(9))}
    beside = {f"{path.rpartition('/')[0]}/{name}" for path in named for name in ("manifest.json", "gaps.parquet")}
    assert set(kept.on_disk()) <= named | beside
