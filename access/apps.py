from django.apps import AppConfig
from django.core import checks


class AccessConfig(AppConfig):
    name = "access"

    def ready(self) -> None:
        from access import admin_key
        from access import checks as own_checks  # noqa: F401  (its import registers the system checks)

        checks.register(admin_key.check_admin_key, "access", deploy=True)
