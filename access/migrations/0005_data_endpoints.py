"""The plans pro and business open what is stored, too; free and plans of an operator's own stay as they are."""

from django.db import migrations

WORDS = ["history", "candles", "archive", "stream"]


def add_words(apps, schema_editor):
    for tier in apps.get_model("access", "Tier").objects.filter(name__in=["pro", "business"]):
        tier.endpoints = [*tier.endpoints, *(word for word in WORDS if word not in tier.endpoints)]
        tier.save(update_fields=["endpoints"])


def take_words(apps, schema_editor):
    for tier in apps.get_model("access", "Tier").objects.all():
        tier.endpoints = [word for word in tier.endpoints if word not in WORDS]
        tier.save(update_fields=["endpoints"])


class Migration(migrations.Migration):
    dependencies = [("access", "0004_names")]

    operations = [migrations.RunPython(add_words, take_words)]
