"""Whether a market is collected stands in one column. The table is written anew: 50,000 markets take a few seconds.

A migration of its own, so that no lock on exchanges is held meanwhile.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0011_exchange_is_collected")]

    operations = [
        migrations.AddField(
            model_name="market",
            name="is_collected",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Q(("active", True), ("blacklisted", False), ("excluded", False)),
                output_field=models.BooleanField(),
            ),
        ),
        # Markets seldom change, so for weeks the planner would know nothing of the new column.
        migrations.RunSQL("ANALYZE exchanges_market", migrations.RunSQL.noop),
    ]
