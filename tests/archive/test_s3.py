"""The archive on a real S3 server, also while it is slow, cut off or away; and how strangers read it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive import targets
from collectors.history import partitions, reading
from tests.archive.conftest import Archived, kept
from tests.archive.s3 import BUCKET, KEY, SECRET, Gate, running_s3
from tests.archive.test_archiving import faults, partition

__all__ = ["kept"]
PAGE = Path(__file__).resolve().parents[2] / "docs/archive.md"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with running_s3(tmp_path_factory.mktemp("s3")) as port:
        gate = Gate(port)
        gate.start()
        yield gate
        gate.close()


@pytest.fixture
def on_s3(kept: Archived, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Archived:
    gate.mode = "open"
    folder = uuid.uuid4().hex
    kept.settings.ARCHIVE_URL = f"s3://{BUCKET}/{folder}"
    kept.settings.ARCHIVE_S3_ENDPOINT = f"http://127.0.0.1:{gate.port}"
    kept.settings.ARCHIVE_S3_KEY, kept.settings.ARCHIVE_S3_SECRET = KEY, SECRET
    kept.settings.ARCHIVE_S3_REGION = "us-east-1"
    monkeypatch.setattr(targets, "CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(targets, "REQUEST_SECONDS", 5.0)
    monkeypatch.setattr(targets, "TRIES", 1)
    return kept


def test_a_bucket_is_written_verified_read_and_dropped_from_as_a_folder_is(on_s3: Archived) -> None:
    on_s3.store()
    on_s3.fetch_later()
    wanted = {"start": on_s3.at(0), "end": on_s3.at(1), "limit": 100, "now": on_s3.at(4), "grain": "raw"}
    before = reading.read(on_s3.markets[0].pk, **wanted).rows  # type: ignore[arg-type]

    on_s3.round(after=3.5)

    assert partition(on_s3) not in partitions.names("collectors_tick")
    assert faults(on_s3) == []
    assert reading.read(on_s3.markets[0].pk, **wanted).rows == before  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["shut", "cut"])
def test_while_it_fails_nothing_is_dropped_and_later_all_is_there(on_s3: Archived, gate: Gate, mode: str) -> None:
    on_s3.store()
    gate.mode = mode

    with pytest.raises(targets.TargetFailed):
        on_s3.round(after=3.5)

    assert partition(on_s3) in partitions.names("collectors_tick")
    assert on_s3.files() == []
    gate.mode = "slow"
    on_s3.round(after=3.5)
    assert [file.rows for file in on_s3.files()] == [12]
    assert partition(on_s3) not in partitions.names("collectors_tick")
    gate.mode = "open"
    assert faults(on_s3) == []


def lines_of_page(number: int) -> str:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[number]


def run_as_stranger(program: str, folder: Path) -> str:
    """Output of a program in a Python that has nothing of ours."""
    environ = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=folder, env=environ, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pages_ten_lines_verify_and_read_a_day_by_pyarrow_alone(kept: Archived) -> None:
    kept.store()
    kept.round(after=1.01)
    kept.fetch_later()
    kept.round(after=2.9)
    program = lines_of_page(0).replace("2026-11-28", f"{kept.at(0):%Y-%m-%d}")
    assert len([line for line in program.splitlines() if line.strip()]) <= 12

    assert run_as_stranger(program + "\nprint(rows.num_rows)", kept.folder.parent).strip() == "13"

    part = kept.folder / kept.files()[0].path
    part.write_bytes(part.read_bytes()[:-1] + b"X")
    with pytest.raises(AssertionError, match="AssertionError: part-"):
        run_as_stranger(program, kept.folder.parent)


def test_the_pages_lines_read_it_over_s3_by_duckdb(on_s3: Archived, gate: Gate) -> None:
    on_s3.store()
    on_s3.round(after=1.01)
    given = f"KEY, SECRET, ENDPOINT = {KEY!r}, {SECRET!r}, '127.0.0.1:{gate.port}'\n"
    program = lines_of_page(1).replace('"archive/exchange', f'"{on_s3.settings.ARCHIVE_URL[5:]}/exchange')

    out = run_as_stranger(given + program + "\nprint(found)", Path("/"))

    assert out.strip() == "[('C0/USD', 6, 105.0), ('C1/USD', 6, 105.0)]"
