"""The words of two places in the admin: the audit log's name, and the help of an exchange's transport."""

from django.db import migrations, models

import exchanges.models


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0012_market_is_collected")]

    operations = [
        migrations.AlterModelOptions(name="auditentry", options={"verbose_name_plural": "audit log"}),
        migrations.AlterField(
            model_name="exchange",
            name="transport",
            field=models.CharField(
                choices=exchanges.models.transports,
                default="auto",
                help_text="An exchange without a supported websocket is polled, whatever is chosen here.",
                max_length=10,
            ),
        ),
    ]
