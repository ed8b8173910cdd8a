"""Everything that can happen to the running system, one after the other: named by the system itself, nothing
acknowledged lost, and all back without a hand. `-k` tries some; the table comes last."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg2
import pytest

from tests.lab.faults import FAULTS, Fault
from tests.lab.plant import Plant, running_plant, wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
WELL_SECONDS = 180.0  # before a fault, after the one before
NAMED_SECONDS = 90.0
BACK_SECONDS = 120.0  # promised are 60 on a machine that does nothing else


@dataclass
class Row:
    """What came of one fault."""

    fault: str
    named: float | None = None
    back: float | None = None
    lost: int = -1
    verify: str = "not asked"

    def __str__(self) -> str:
        named = "-" if self.named is None else f"{self.named:.1f}"
        back = "never" if self.back is None else f"{self.back:.1f}"
        return f"{self.fault:<62} {named:>7} {back:>7} {self.lost:>5}  {self.verify}"


@pytest.fixture(scope="module")
def table() -> Iterator[list[Row]]:
    rows: list[Row] = []
    yield rows
    head = f"{'fault':<62} {'named s':>7} {'back s':>7} {'lost':>5}  verify"
    sys.stdout.write("\n".join(["", head, *map(str, rows), f"{len(rows)} faults", ""]))


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    with running_plant() as running:
        assert wait_until(lambda: running.stores_since(time.time() - 20), seconds=WELL_SECONDS) is not None
        yield running


def lost(plant: Plant, before: set[tuple[int, object]]) -> int:
    """How many of the rows are no longer there."""
    kept = set(
        plant.sql(
            "SELECT t.pipeline_id, t.received_at FROM collectors_tick AS t "
            "JOIN unnest(%s::bigint[], %s::timestamptz[]) AS k (id, at) "
            "ON k.id = t.pipeline_id AND k.at = t.received_at",
            [id_ for id_, _ in before],
            [at for _, at in before],
        )
    )
    return len(before - kept)


def test_there_are_enough_kinds() -> None:
    assert len({each.name for each in FAULTS}) == len(FAULTS) >= 60


@pytest.mark.parametrize("fault", FAULTS, ids=[each.name for each in FAULTS])
def test_it_is_named_nothing_is_lost_and_all_is_back(plant: Plant, table: list[Row], fault: Fault) -> None:
    row = Row(fault.name)
    table.append(row)
    began = time.time()
    assert wait_until(lambda: plant.stores_since(began), seconds=WELL_SECONDS) is not None, "well before it"
    mark, before = plant.log_length(), plant.rows()
    assert before

    with fault.inflict(plant):
        since = time.monotonic()
        if fault.says:
            row.named = wait_until(lambda: named(plant, fault, mark), seconds=max(NAMED_SECONDS, fault.lasts))
        while time.monotonic() - since < fault.lasts and row.named is None:
            time.sleep(0.2)

    ended = time.time()
    row.back = wait_until(lambda: plant.stores_since(ended), seconds=BACK_SECONDS)
    row.lost = lost(plant, before)
    done = plant.verify()
    row.verify = "ok" if done.returncode == 0 else done.stdout[-300:]
    assert row.lost == 0
    assert row.back is not None, plant.words(mark)[-3000:]
    assert done.returncode == 0, done.stdout + done.stderr
    if fault.says:
        assert row.named is not None, plant.words(mark)[-3000:]


def named(plant: Plant, fault: Fault, mark: int) -> bool:
    try:
        return re.search(fault.says, plant.words(mark)) is not None
    except psycopg2.Error:
        return False
