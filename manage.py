#!/usr/bin/env python
"""Django's command line; `manage.py up` runs the whole system."""

import os
import sys

STAMPING = frozenset({"apikey", "backfill", "drill", "exchange", "sync"})  # commands that write the time down


def compare_clocks() -> None:
    """Lets a command go by PostgreSQL's clock where this host's differs."""
    import django

    django.setup()
    from lib import database_clock

    database_clock.compare_when_due()


def become_supervisor() -> None:
    """Runs `up` without Django's set-up, after the settings have been read: no process needs it before the servers."""
    from marketmon import settings  # noqa: F401  (its import refuses what is wrong)
    from marketmon.management.commands.up import Command

    Command().run_from_argv(sys.argv)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")
    from django.core.management import execute_from_command_line

    from marketmon.settings_table import WrongSettings

    try:
        if sys.argv[1:2] == ["up"]:
            become_supervisor()
        if STAMPING.intersection(sys.argv[1:2]):
            compare_clocks()
        execute_from_command_line(sys.argv)
    except WrongSettings as wrong:
        sys.exit(str(wrong))


if __name__ == "__main__":
    main()
