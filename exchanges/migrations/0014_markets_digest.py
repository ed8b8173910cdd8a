"""The digest of the market list that all processes go by."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0013_words")]

    operations = [
        migrations.AddField(
            model_name="exchange",
            name="markets_digest",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=16),
        ),
    ]
