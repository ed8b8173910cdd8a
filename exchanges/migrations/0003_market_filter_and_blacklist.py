import django.db.models.deletion
import exchanges.market_filter
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('exchanges', '0002_exchange_settings'),
    ]

    operations = [
        migrations.CreateModel(
            name='MarketBlacklistEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.TextField(blank=True)),
                ('is_automatic', models.BooleanField(default=False)),
                ('listed_at', models.DateTimeField()),
                ('listed_by', models.CharField(max_length=150)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('lifted_at', models.DateTimeField(blank=True, null=True)),
                ('lifted_by', models.CharField(blank=True, max_length=150)),
            ],
            options={
                'verbose_name_plural': 'market blacklist entries',
            },
        ),
        migrations.AddField(
            model_name='exchange',
            name='market_filter',
            field=models.JSONField(blank=True, default=dict, help_text='Which markets are collected; empty for all. {"quotes": ["USDT"], "symbols": ["BTC/EUR"], "top": 50}: of these quotes, of this list, and of those the 50 with the largest volume.', validators=[exchanges.market_filter.validate]),
        ),
        migrations.AddField(
            model_name='market',
            name='excluded',
            field=models.BooleanField(default=False, editable=False, help_text="Left out by the exchange's market filter."),
        ),
        migrations.AddIndex(
            model_name='blacklistentry',
            index=models.Index(condition=models.Q(('lifted_at__isnull', True)), fields=['expires_at'], name='blacklist_entry_to_expire'),
        ),
        migrations.AddField(
            model_name='marketblacklistentry',
            name='market',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='blacklist_entries', to='exchanges.market'),
        ),
        migrations.AddIndex(
            model_name='marketblacklistentry',
            index=models.Index(condition=models.Q(('lifted_at__isnull', True)), fields=['expires_at'], name='market_entry_to_expire'),
        ),
        migrations.AddConstraint(
            model_name='marketblacklistentry',
            constraint=models.UniqueConstraint(condition=models.Q(('lifted_at__isnull', True)), fields=('market',), name='one_running_entry_per_market'),
        ),
    ]
