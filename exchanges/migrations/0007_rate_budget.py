import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("exchanges", "0005_audit"),
    ]

    operations = [
        migrations.AddField(
            model_name="exchange",
            name="budget_seconds",
            field=models.FloatField(
                db_default=60.0,
                default=60.0,
                help_text="The time over which it counts requests; used with the number above.",
                validators=[
                    django.core.validators.MinValueValidator(0.1),
                    django.core.validators.MaxValueValidator(3600),
                ],
            ),
        ),
        migrations.AddField(
            model_name="exchange",
            name="budget_units",
            field=models.FloatField(
                blank=True,
                help_text="So many requests in the time below are the exchange's limit, in its client's weights; most "
                "requests weigh 1. Empty: what its client says.",
                null=True,
                validators=[django.core.validators.MinValueValidator(0.01)],
            ),
        ),
    ]
