import exchanges.depth_settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('exchanges', '0007_rate_budget'),
    ]

    operations = [
        migrations.AddField(
            model_name='exchange',
            name='depth',
            field=models.JSONField(blank=True, default=dict, help_text='Order books, trades and funding rates; empty for none. {"books": {"markets": ["BTC/USDT"], "top": 5, "levels": 10, "seconds": 10}, "trades": {"top": 3}, "funding": {"seconds": 60}}: of the markets named and the largest ones, every so many seconds.', validators=[exchanges.depth_settings.validate]),
        ),
    ]
