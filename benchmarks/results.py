"""benchmarks/results.json: every figure with its date, and the machine it was measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.comparison import Comparison
from embedded.programs import find_postgres, find_valkey

FILE = Path(__file__).with_name("results.json")


def keep(comparisons: Iterable[Comparison], *, now: datetime) -> None:
    """Figures of other names stay as they were."""
    content = _load()
    by_name = {entry["name"]: entry for entry in content.get("comparisons", [])}
    by_name |= {one.name: one.record() | {"measured_at": _text(now)} for one in comparisons}
    _save(content | {"machine": machine(), "comparisons": [by_name[name] for name in sorted(by_name)]})


def keep_system_run(name: str, figures: dict[str, Any], *, now: datetime) -> None:
    content = _load()
    runs = content.get("system", {}) | {name: figures | {"measured_at": _text(now)}}
    _save(content | {"machine": machine(), "system": dict(sorted(runs.items()))})


def machine() -> dict[str, Any]:
    """What a reader must know before comparing absolute figures. Ratios travel, they do not."""
    return {
        "cpu": _first_value(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int((_first_value(Path("/proc/meminfo"), "MemTotal") or "0 kB").split()[0]) / 1e6, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": _words([str(find_postgres().binary), "--version"])[-1],
        "valkey": _words([str(find_valkey().binary), "--version"])[2].removeprefix("v="),
        **{name: version(name) for name in ("Django", "celery", "ccxt", "psycopg2-binary", "orjson")},
    }


def _load() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return content


def _save(content: dict[str, Any]) -> None:
    FILE.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _first_value(path: Path, key: str) -> str | None:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _words(command: list[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def _text(now: datetime) -> str:
    return now.strftime("%Y-%m-%d %H:%M:%SZ")
