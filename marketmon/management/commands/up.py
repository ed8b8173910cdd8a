"""`manage.py up`: the whole system with one command."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from lib import home


class Command(BaseCommand):
    help = "Run everything in the foreground: servers, sandbox exchanges, and all of our processes. Ctrl-C stops it."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-sandbox", action="store_true", help="start no simulated exchanges (or SANDBOX=off)")
        parser.add_argument("--verbose", action="store_true", help="show everything that the processes print")

    def handle(self, *_: Any, no_sandbox: bool, verbose: bool, **__: Any) -> None:
        """Becomes the supervisor, which lives as long as the system and so should not carry Django around."""
        environ = {**home.callers_environment(), "MARKETMON_HOME": str(home.home_dir())}
        flags = ["--no-sandbox"] * no_sandbox + ["--verbose"] * verbose
        os.chdir(home.PROJECT_DIR)
        os.execve(sys.executable, [sys.executable, "-m", "embedded", *flags], environ)  # noqa: S606
