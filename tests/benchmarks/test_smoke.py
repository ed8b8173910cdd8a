"""Every suite of the benchmarks at tiny sizes, as `python -m benchmarks --smoke` runs it. What it prints says nothing
about speed; that it prints figures proves that the suite still finds what it measures."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from benchmarks import results, streaming, suites
from lib.home import PROJECT_DIR

pytestmark = pytest.mark.system

# Side by side, because they wait more than they compute. Each boots servers of its own.
SIDE_BY_SIDE = (
    ("ingest", "parse", "memory", "downloads", "reading", "webhook", "gaps", "board"),
    ("streaming", "archive", "system", "soak"),
)
EVERY_SUITE = [*suites.SUITES, *suites.WHOLE_SYSTEM]
COMPARISON = re.compile(
    r"bench (?P<name>\S+) ours=(?P<ours>\S+) other=(?P<other>\S+) ratio=(?P<ratio>\S+) goal=(?P<goal>\S+)"
)
NONE_IS_RIGHT = {"market_downloads"}  # ours asks for no list again
PATIENCE_SECONDS = 400


@dataclass
class Report:
    """What one suite printed: its comparisons by name, and everything."""

    comparisons: dict[str, re.Match[str]] = field(default_factory=dict)
    text: str = ""


@pytest.fixture(scope="module")
def results_before() -> str:
    return results.FILE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reports(results_before: str) -> Mapping[str, Report]:
    found: dict[str, Report] = {}
    for process in [_smoke(*names) for names in SIDE_BY_SIDE]:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        found |= _read(output)
    return found


def _smoke(*names: str) -> subprocess.Popen[str]:
    """On no server of this test run's; with bytecode, which halves the start of each of some thirty processes."""
    foreign = {"DATABASE_URL", "REDIS_URL", "MARKETMON_HOME", "PYTHONDONTWRITEBYTECODE"}
    environ = {name: value for name, value in os.environ.items() if name not in foreign}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks", "--smoke", *names]
    return subprocess.Popen(
        command, cwd=PROJECT_DIR, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _read(output: str) -> Mapping[str, Report]:
    found: dict[str, Report] = {}
    report = Report()
    for line in output.splitlines():
        if begun := re.fullmatch(r"suite (\w+)", line):
            report = found[begun[1]] = Report()
        if comparison := COMPARISON.fullmatch(line):
            report.comparisons[comparison["name"]] = comparison
        report.text += line + "\n"
    return found


@pytest.fixture(params=EVERY_SUITE)
def suite(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.timeout(PATIENCE_SECONDS + 10)
def test_each_suite_runs_to_its_end(suite: str, reports: Mapping[str, Report]):
    assert suite in reports
    assert "Traceback" not in reports[suite].text, reports[suite].text


def test_each_suite_compares_finite_positive_figures(suite: str, reports: Mapping[str, Report]):
    assert reports[suite].comparisons, reports[suite].text
    for name, comparison in reports[suite].comparisons.items():
        figures = [float(comparison[side]) for side in ("ours", "other")]
        assert all(map(math.isfinite, figures)), comparison[0]
        assert figures[1] > 0, comparison[0]
        assert (figures[0] == 0) if name in NONE_IS_RIGHT else (figures[0] > 0), comparison[0]


def test_no_goal_is_judged(suite: str, reports: Mapping[str, Report]):
    assert {comparison["goal"] for comparison in reports[suite].comparisons.values()} == {"-"}


def test_a_market_list_is_downloaded_once(reports: Mapping[str, Report]):
    assert float(reports["downloads"].comparisons["market_downloads"]["ours"]) == 0


def test_results_are_not_kept(reports: Mapping[str, Report], results_before: str):
    assert reports
    assert results.FILE.read_text(encoding="utf-8") == results_before


def test_fastapi_is_compared_with_or_its_absence_told(reports: Mapping[str, Report]):
    is_installed = all(importlib.util.find_spec(name) for name in ("fastapi", "asyncpg"))
    assert ("status_50000_uncached_vs_fastapi" in reports["reading"].comparisons) is is_installed
    assert ("skipped: FastAPI" in reports["reading"].text) is not is_installed
    assert "status_50000_uncached_vs_drf" in reports["reading"].comparisons


def test_cryptofeed_is_compared_with_or_its_absence_told(reports: Mapping[str, Report]):
    is_installed = streaming.find_cryptofeed() is not None
    assert ("streaming_frames" in reports["streaming"].comparisons) is is_installed
    assert ("skipped: cryptofeed" in reports["streaming"].text) is not is_installed


def test_no_suite_is_forgotten():
    assert sorted(name for names in SIDE_BY_SIDE for name in names) == sorted(EVERY_SUITE)


def test_no_lock_file_names_cryptofeed_or_its_gpl_parts():
    locked = {path.name: path.read_text(encoding="utf-8") for path in PROJECT_DIR.glob("requirements*.txt")}
    assert locked
    for name, text in locked.items():
        assert not re.search(r"^(cryptofeed|order[-_]book)==", text, re.MULTILINE), name
