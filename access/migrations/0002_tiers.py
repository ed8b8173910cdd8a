"""The three documented plans, as rows that operators edit. Their keys would be lost with them, so they stay on the way back."""

from django.db import migrations

FREE = ["pairs", "rates", "sources", "limits"]
ALL = ["pairs", "pipelines", "rates", "sources", "limits"]
TIERS = [
    {"name": "free", "rank": 10, "requests_per_minute": 10, "requests_per_hour": 300, "monthly_requests": 50_000,
     "monthly_credits": 1_000, "max_rows": 100, "endpoints": FREE},
    {"name": "pro", "rank": 20, "requests_per_minute": 120, "requests_per_hour": 3_600, "monthly_requests": 1_000_000,
     "monthly_credits": 2_500_000, "max_rows": 10_000, "endpoints": ALL},
    {"name": "business", "rank": 30, "requests_per_minute": 600, "requests_per_hour": 30_000,
     "monthly_requests": 10_000_000, "monthly_credits": 25_000_000, "max_rows": 100_000, "endpoints": ALL},
]


def add_tiers(apps, schema_editor):
    tier = apps.get_model("access", "Tier")
    for values in TIERS:
        tier.objects.get_or_create(name=values["name"], defaults=values)


class Migration(migrations.Migration):
    dependencies = [("access", "0001_initial")]

    operations = [migrations.RunPython(add_tiers, migrations.RunPython.noop)]
