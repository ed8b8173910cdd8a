from django.apps import AppConfig
from django.core import checks


class ExchangesConfig(AppConfig):
    name = "exchanges"
    verbose_name = "Exchanges"

    def ready(self) -> None:
        from access import admin_key
        from exchanges import secrets

        checks.register(secrets.check_key, "exchanges")
        checks.register(admin_key.check_admin_key, "exchanges", deploy=True)
