"""Names of two lists in the admin: market data series and market data runs."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("collectors", "0014_longer_outcomes")]

    operations = [
        migrations.AlterModelOptions(
            name="depthseries",
            options={"verbose_name": "market data series", "verbose_name_plural": "market data series"},
        ),
        migrations.AlterModelOptions(name="depthrun", options={"verbose_name": "market data run"}),
    ]
