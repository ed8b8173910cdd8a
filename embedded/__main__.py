"""`python -m embedded`: the process that `manage.py up` turns into, without Django in memory."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from embedded.lock import RefusedError
from embedded.output import Terminal
from embedded.programs import ProgramMissingError
from embedded.settings import read_settings
from embedded.supervisor import Supervisor


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="manage.py up")
    parser.add_argument("--no-sandbox", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(arguments)
    terminal = Terminal(verbose=options.verbose)
    try:
        return Supervisor(read_settings(os.environ, with_sandbox=not options.no_sandbox), terminal).run()
    except (RefusedError, ProgramMissingError, RuntimeError) as error:
        terminal.complain(f"{error}")
    except OSError as error:  # a full disk, a home that is no folder, one that may not be written
        terminal.complain(in_words(error))
    except KeyboardInterrupt:  # before there was anything to stop
        return 128 + signal.SIGINT
    return 1


def in_words(error: OSError) -> str:
    """Describes what the system refused; our own refusals are words already."""
    if error.filename is None:
        return str(error)
    return (
        f"{error.filename}: {error.strerror}; see to it, or choose another folder with MARKETMON_HOME=/path/to/folder"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
