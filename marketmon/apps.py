from django.apps import AppConfig


class MarketmonConfig(AppConfig):
    name = "marketmon"

    def ready(self) -> None:
        from marketmon import checks  # noqa: F401  (its import registers the system checks)
