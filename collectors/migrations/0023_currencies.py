"""What prices tell of currencies: values in one of them, by which sizes are compared, and pairs that stand still."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collectors", "0022_unconfirmed")]

    operations = [
        migrations.CreateModel(
            name="CurrencyValue",
            fields=[
                ("code", models.CharField(max_length=50, primary_key=True, serialize=False)),
                ("value", models.FloatField()),
                ("unit", models.CharField(max_length=50)),
                ("learned_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="CalmPair",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("base", models.CharField(max_length=50)),
                ("quote", models.CharField(max_length=50)),
                ("calm_since", models.DateTimeField()),
                ("range_share", models.FloatField()),
                ("price", models.FloatField()),
                ("learned_at", models.DateTimeField()),
            ],
            options={"constraints": [models.UniqueConstraint(fields=("base", "quote"), name="calm_pair_once")]},
        ),
    ]
