"""Logins of proxies are sealed as credentials are. Back, they are written into the address again."""

from django.db import migrations

from exchanges import secrets
from web.redaction import HIDDEN, hide_login


def seal(apps, schema_editor):
    for exchange in apps.get_model("exchanges", "Exchange").objects.filter(proxy__contains="@", proxy_login=""):
        login = exchange.proxy.rpartition("@")[0].partition("://")[2]
        exchange.proxy, exchange.proxy_login = hide_login(exchange.proxy), secrets.seal_text(login)
        exchange.save(update_fields=["proxy", "proxy_login"])


def unseal(apps, schema_editor):
    for exchange in apps.get_model("exchanges", "Exchange").objects.exclude(proxy_login=""):
        login = secrets.unseal_text(exchange.proxy_login)
        exchange.proxy, exchange.proxy_login = exchange.proxy.replace(f"{HIDDEN}@", f"{login}@", 1), ""
        exchange.save(update_fields=["proxy", "proxy_login"])


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0015_proxy_login")]

    operations = [migrations.RunPython(seal, unseal)]
