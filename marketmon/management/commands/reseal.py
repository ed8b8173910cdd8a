"""`manage.py reseal`: after a change of keys, seals every stored secret with the newest one."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from access import keys
from exchanges import resealing
from exchanges.resealing import ResealedSecret


def _second_factors() -> Iterator[ResealedSecret]:
    if settings.SECOND_FACTOR != "OFF":  # else they have no table
        from marketmon.sign_in import second_factor

        yield from second_factor.reseal()


class Command(BaseCommand):
    help = "Seal every stored secret with the newest key, and say which API keys still need an earlier pepper."

    def handle(self, *_: Any, **__: Any) -> None:
        found = [*resealing.reseal(), *_second_factors()]
        lost = [each.whose for each in found if not each.was_opened]
        self.stdout.write(f"{len(found) - len(lost)} secrets are sealed with the newest key")
        self._say_what_peppers_are_needed()
        if lost:
            raise CommandError(
                f"no key of ours opens {', '.join(lost)}: set them again, or give the key that sealed them"
            )

    def _say_what_peppers_are_needed(self) -> None:
        """Says which keys keep an earlier pepper: another takes the secret itself, which only its next use brings."""
        earlier = [key.prefix for key in keys.with_earlier_peppers()]
        if earlier:
            self.stdout.write(
                f"{len(earlier)} API keys move to the newest pepper when they are next used, and need the earlier one "
                f"until then: {', '.join(earlier)}"
            )
