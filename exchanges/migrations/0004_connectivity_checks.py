import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('exchanges', '0003_market_filter_and_blacklist'),
    ]

    operations = [
        migrations.CreateModel(
            name='ConnectivityCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('checked_at', models.DateTimeField()),
                ('occasion', models.CharField(max_length=20)),
                ('name', models.CharField(max_length=20)),
                ('result', models.CharField(max_length=10)),
                ('reason', models.TextField(blank=True)),
                ('duration_ms', models.IntegerField(default=0)),
            ],
        ),
        migrations.AddField(
            model_name='connectivitycheck',
            name='exchange',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='checks', to='exchanges.exchange'),
        ),
        migrations.AddIndex(
            model_name='connectivitycheck',
            index=models.Index(fields=['exchange', '-checked_at'], name='check_by_exchange'),
        ),
    ]
