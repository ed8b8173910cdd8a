"""`manage.py apikey create|rotate|revoke|pause|resume|list`: keys without the admin's pages."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from access import keys
from access.models import ApiKey, Endpoint, Tier
from lib import clock


class Command(BaseCommand):
    help = "Makes and ends API keys. A key's text is printed once, by create and rotate."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="a new key")
        create.add_argument("name")
        create.add_argument("--tier", default="free")
        create.add_argument("--scope", action="append", default=[], choices=Endpoint.values)
        create.add_argument("--allow", action="append", default=[], metavar="ADDRESS", help="address or network")
        create.add_argument("--expires", type=_moment, metavar="2027-01-31T00:00:00Z")
        rotate = verbs.add_parser("rotate", help="a new secret; the old one stays good for a while")
        rotate.add_argument("prefix")
        rotate.add_argument("--overlap-hours", type=float, default=24.0)
        for verb in ("revoke", "pause", "resume"):
            verbs.add_parser(verb).add_argument("prefix")
        verbs.add_parser("list", help="all keys, without their secrets")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        getattr(self, f"_{verb}")(now=clock.now(), **options)

    def _create(self, *, now: datetime, name: str, tier: str, **options: Any) -> None:
        try:
            issued = keys.issue(
                name,
                _tier(tier),
                now=now,
                scopes=options["scope"],
                allowed_ips=options["allow"],
                expires_at=options["expires"],
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self._show(issued)

    def _rotate(self, *, now: datetime, prefix: str, overlap_hours: float, **_: Any) -> None:
        if not 0 <= overlap_hours <= 24 * 366:
            raise CommandError("--overlap-hours is between 0 and a year")
        self._show(keys.rotate(_key(prefix), now=now, overlap=timedelta(hours=overlap_hours)))

    def _revoke(self, *, now: datetime, prefix: str, **_: Any) -> None:
        keys.revoke(_key(prefix), now=now)
        self.stdout.write(f"{prefix} is revoked for good")

    def _pause(self, *, now: datetime, prefix: str, **_: Any) -> None:
        keys.pause(_key(prefix), now=now)
        self.stdout.write(f"{prefix} is paused")

    def _resume(self, *, prefix: str, **_: Any) -> None:
        keys.resume(_key(prefix))
        self.stdout.write(f"{prefix} is good again")

    def _list(self, *, now: datetime, **_: Any) -> None:
        for key in ApiKey.objects.select_related("tier").order_by("created_at"):
            used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
            self.stdout.write(f"{key.prefix}  {keys.state(key, now):8} {key.tier_id:10} used {used:16}  {key.name}")

    def _show(self, issued: keys.Issued) -> None:
        self.stderr.write(f"{issued.key.prefix}: keep it now, it cannot be shown again")
        self.stdout.write(issued.text)


def _tier(name: str) -> Tier:
    tier = Tier.objects.filter(pk=name).first()
    if tier is None:
        names = ", ".join(Tier.objects.order_by("rank").values_list("name", flat=True))
        raise CommandError(f"no tier {name}; there are {names}")
    return tier


def _key(prefix: str) -> ApiKey:
    key = ApiKey.objects.filter(public_id=prefix.removeprefix("mm_")[:8]).first()
    if key is None:
        raise CommandError("no such key; `apikey list` shows the prefixes")
    return key


def _moment(text: str) -> datetime:
    moment = parse_datetime(text)
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError("a moment with its zone, like 2027-01-31T00:00:00Z")
    return moment
