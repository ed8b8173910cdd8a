from django.db import migrations, models

import exchanges.models


class Migration(migrations.Migration):
    """The default for exchanges that are added from now on; those that are there keep what operators chose."""

    dependencies = [("exchanges", "0008_exchange_depth")]

    operations = [
        migrations.AlterField(
            model_name="exchange",
            name="transport",
            field=models.CharField(
                choices=exchanges.models.transports,
                default="auto",
                help_text="Where the venue has no websocket that we listen to, each of these polls.",
                max_length=10,
            ),
        ),
    ]
