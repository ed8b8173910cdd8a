"""Files keep everything within bounds; the terminal shows what somebody should act on."""

import io
import json
from pathlib import Path

import pytest

from embedded.output import LogFile, Terminal, notice


def test_log_files_are_rotated_and_bounded(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", max_bytes=100)
    for number in range(100):
        log.write(f"line {number:04d}\n".encode())
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.log", "web.log.1", "web.log.2", "web.log.3"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "web.log").read_text().endswith("line 0099\n")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"event": "run", "level": "info", "exchange": "kraken"}', None),
        (
            '{"event": "breaker opened", "level": "warning", "logger": "x", "exchange": "kraken"}',
            "warning: breaker opened exchange=kraken",
        ),
        ("2026-01-01 UTC [7] FATAL:  no space", "2026-01-01 UTC [7] FATAL:  no space"),
        ("2026-01-01 UTC [7] LOG:  checkpoint complete", None),
        ("ImportError: no module named x", "ImportError: no module named x"),
        ("  File manage.py, line 3", None),
        ("{not json", None),
        ("[1, 2]", None),
        ("", None),
    ],
)
def test_notices_are_warnings_only(line: str, shown: str | None) -> None:
    assert notice(line) == shown


def test_a_child_that_complains_without_end_is_cut_short() -> None:
    err = io.StringIO()
    terminal = Terminal(out=io.StringIO(), err=err)
    for _ in range(50):
        terminal.child_line("worker", json.dumps({"event": "no database", "level": "error"}))
    terminal.child_line("web", json.dumps({"event": "slow", "level": "warning"}))
    lines = err.getvalue().splitlines()
    assert lines[-2:] == ["  worker | ... more in logs/worker.log", "     web | warning: slow"]
    assert len(lines) == 5


def test_verbose_shows_everything() -> None:
    err = io.StringIO()
    Terminal(verbose=True, out=io.StringIO(), err=err).child_line("web", "anything")
    assert err.getvalue() == "     web | anything\n"
