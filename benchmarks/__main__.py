"""`python -m benchmarks [suite ...]`: runs the comparisons, prints a line for each, keeps them in results.json."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from benchmarks import results
from benchmarks.comparison import SLACK, Comparison
from benchmarks.servers import durable_servers, prepare_django

SUITES = {
    "ingest": "benchmarks.ingest",
    "parse": "benchmarks.parsing",
    "memory": "benchmarks.memory",
    "downloads": "benchmarks.downloads",
    "reading": "benchmarks.reading",
    "webhook": "benchmarks.webhook",
    "gaps": "benchmarks.gaps",
    "board": "benchmarks.board",
    "streaming": "benchmarks.streaming",
}
SYSTEM_RUNS = """
The whole system takes minutes and is measured on request:
  python -m benchmarks.system --exchanges 104 --markets 5 --interval 10 --seconds 120
  python -m benchmarks.system --exchanges 100 --markets 500 --interval 10 --seconds 180"""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", epilog=SYSTEM_RUNS)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of: {', '.join(SUITES)} (default: all)")
    names = parser.parse_args(arguments).suites or list(SUITES)
    if unknown := set(names) - set(SUITES):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    with durable_servers() as servers:
        prepare_django(servers)
        done = list(_printed(_run(names)))
    results.keep(done, now=datetime.now(UTC))
    print(SYSTEM_RUNS)
    missed = [one.name for one in done if one.is_missed]
    if missed:
        print(f"\nmissed by more than {SLACK:.0%}: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _run(names: Sequence[str]) -> Iterator[Comparison]:
    for name in names:
        yield from importlib.import_module(SUITES[name]).comparisons()


def _printed(comparisons: Iterator[Comparison]) -> Iterator[Comparison]:
    for one in comparisons:
        print(one.line(), flush=True)
        yield one


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
