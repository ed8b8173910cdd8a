"""`python -m benchmarks [suite ...]`: runs the comparisons, prints a line for each, keeps them in results.json.

With `--smoke` every suite runs at tiny sizes, the whole system among them: no goal is judged and nothing is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from benchmarks import results, suites
from benchmarks.comparison import SLACK, Comparison
from benchmarks.servers import durable_servers, prepare_django

SYSTEM_RUNS = """
The whole system takes minutes and is measured on request:
  python -m benchmarks.system --exchanges 104 --markets 5 --interval 10 --seconds 120
  python -m benchmarks.system --exchanges 100 --markets 500 --interval 10 --seconds 180
  python -m benchmarks.soak --minutes 60"""


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    failed: list[str] = []
    with _servers_for(options.suites):
        done = list(_run(options.suites, suites.smoke if options.smoke else suites.measure, failed))
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    if options.smoke:
        return 1 if failed else 0
    results.keep(done, now=datetime.now(UTC))
    print(SYSTEM_RUNS)
    missed = [one.name for one in done if one.is_missed]
    if missed:
        print(f"\nmissed by more than {SLACK:.0%}: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed or failed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", epilog=SYSTEM_RUNS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of: {', '.join(suites.SUITES)} (default: all)")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, no goals, nothing kept; system and soak, too")
    options = parser.parse_args(arguments)
    known = {**suites.SUITES, **suites.WHOLE_SYSTEM} if options.smoke else suites.SUITES
    if unknown := set(options.suites) - set(known):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    options.suites = options.suites or list(known)
    return options


@contextlib.contextmanager
def _servers_for(names: Sequence[str]) -> Iterator[None]:
    """Durable servers, which this process uses from here on, when a suite needs them."""
    if suites.WITH_SERVERS_OF_ITS_OWN.issuperset(names):
        yield
        return
    with durable_servers() as environ:
        prepare_django(environ)
        yield


def _run(names: Sequence[str], run: Callable[[str], Iterator[Comparison]], failed: list[str]) -> Iterator[Comparison]:
    """Every suite, and a line for each comparison. One that fails is told and noted, and the next one runs."""
    for name in names:
        print(f"suite {name}", flush=True)
        began = time.monotonic()
        try:
            for one in run(name):
                print(one.line(), flush=True)
                yield one
        except Exception:  # noqa: BLE001  (whatever it is, the other suites are not concerned)
            traceback.print_exc()
            failed.append(name)
        print(f"suite {name} took {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
