"""`manage.py prepare`: does what must have happened before the processes start; again, it changes nothing."""

import os
from collections.abc import Iterator
from io import StringIO
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from embedded.settings import PROGRESS_MARK
from lib import clock, home
from lib.server_addresses import names_without_effect
from marketmon import prepared_tables, retired_settings, servers, settings_table
from metrics.checks import check_webhook_token
from operations import simulated

OF_THE_CODE = frozenset({"admin", "database", "models", "staticfiles", "templates", "urls"})  # `make check` has them


class Command(BaseCommand):
    help = "Migrate, sync the schedule and first-run data, create the first administrator."
    requires_system_checks = []  # asked below, and told in one line

    def handle(self, *_: Any, **__: Any) -> None:
        refuse_wrong_settings()
        refuse_wrong_servers()
        for ignored in names_without_effect:
            self._progress(f"{ignored} in the environment has no effect: DATABASE_URL says what a connection needs")
        if servers.settle_limits():
            self._progress("the pooler passes no limits on: they are settings of the role now")
        for retired, text in retired_settings.still_set():
            self._progress(retired_settings.in_words(retired, text))
        if not settings.METRICS_WEBHOOK_OPEN:
            for warning in check_webhook_token():
                self._progress(f"{warning.msg} {warning.hint}")
        prepared_tables.load_into_empty_database()
        call_command("migrate", interactive=False, verbosity=0)
        self._progress("tables are up to date")
        sync_says = StringIO()
        call_command("sync", stdout=sync_says)
        for line in sync_says.getvalue().splitlines():
            self._progress(line)
        if line := follow_sandbox():
            self._progress(line)
        if name := create_first_administrator():
            self._progress(f"administrator {name!r} created")

    def _progress(self, line: str) -> None:
        self.stdout.write(f"{PROGRESS_MARK}{line}")


def refuse_wrong_settings() -> None:
    """Checks what values mean; reading them has settled before that each may be what it is. Raises CommandError.

    Here and not by every process that follows: a worker that cannot start would only be started again.
    """
    wrong = [message for message in check_settings() if message.is_serious()]
    if wrong:
        raise CommandError(" ".join(f"{message.msg} {message.hint or ''}".strip() for message in wrong))


def check_settings() -> Iterator[CheckMessage]:
    """Yields what Django's checks find wrong, but for those of the code: it is everywhere the same, and imports all."""
    for check in registry.get_checks():
        if not OF_THE_CODE.intersection(check.tags):
            yield from check(app_configs=None, databases=None)


def refuse_wrong_servers() -> None:
    """Raises CommandError for a server of a version or kind with which nothing would ever be stored."""
    if refusals := [*servers.refusal_of_postgres(looks_at_limits=False), *servers.refusal_of_valkey()]:
        raise CommandError(" ".join(refusals))


def follow_sandbox() -> str:
    """Stops or brings back what is simulated, as SANDBOX says; returns it in words, empty when nothing changed."""
    is_on = settings_table.read(os.environ)["SANDBOX"]
    changed = simulated.follow(is_on=is_on, now=clock.now())
    if not changed:
        return ""
    after = "enabled again" if is_on else "disabled until the sandbox is on again: real ones are collected beside them"
    return f"{len(changed)} simulated exchanges are {after}"


def create_first_administrator() -> str | None:
    """Creates an administrator only in a database without any user, with credentials made for this home."""
    users = get_user_model().objects
    made = home.read_env_file(home.home_dir() / home.SECRETS_FILE)
    known = settings_table.read(os.environ)
    name, password = (known[key] or made.get(key, "") for key in ("ADMIN_USERNAME", "ADMIN_PASSWORD"))
    if not name or not password or users.exists():
        return None
    users.create_superuser(username=name, password=password)
    return name
