"""Every call updates its key's allowance and day: room on the page keeps those updates off the indexes (HOT)."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("access", "0002_tiers")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE access_allowance SET (fillfactor = 30); ALTER TABLE access_usageday SET (fillfactor = 50);",
            "ALTER TABLE access_allowance RESET (fillfactor); ALTER TABLE access_usageday RESET (fillfactor);",
        )
    ]
