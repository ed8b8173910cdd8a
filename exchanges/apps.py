from django.apps import AppConfig
from django.core import checks


class ExchangesConfig(AppConfig):
    name = "exchanges"
    verbose_name = "Exchanges"

    def ready(self) -> None:
        from exchanges import secrets

        checks.register(secrets.check_key, "exchanges")
