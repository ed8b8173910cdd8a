from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0014_markets_digest")]

    operations = [
        migrations.AddField(
            "exchange", "proxy_login", models.TextField(blank=True, db_default="", default="", editable=False)
        ),
    ]
