"""An exchange's id is one market of its kind."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0018_market_identity")]

    operations = [
        migrations.AddConstraint(
            "market",
            models.UniqueConstraint(fields=("exchange", "kind", "venue_id"), name="market_once_by_id"),
        ),
    ]
