#!/usr/bin/env python
"""Django's command line; `manage.py up` runs the whole system."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")
    from django.core.management import execute_from_command_line

    from marketmon.settings_table import WrongSettings

    try:
        execute_from_command_line(sys.argv)
    except WrongSettings as wrong:
        sys.exit(str(wrong))


if __name__ == "__main__":
    main()
