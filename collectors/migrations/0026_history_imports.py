"""What is fetched of the time before collection began, and how far each such import has come."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('collectors', '0025_bounded_lists'),
    ]

    operations = [
        migrations.CreateModel(
            name='HistoryImport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start_at', models.DateTimeField(verbose_name='from')),
                ('end_at', models.DateTimeField(verbose_name='until')),
                ('reached_at', models.DateTimeField()),
                ('state', models.CharField(default='running', max_length=8)),
                ('reason', models.TextField(blank=True)),
                ('stored_count', models.IntegerField(default=0)),
                ('known_count', models.IntegerField(default=0)),
                ('lacking_count', models.IntegerField(default=0)),
                ('requests', models.IntegerField(default=0)),
                ('attempts', models.SmallIntegerField(default=0)),
                ('next_try_at', models.DateTimeField(blank=True, null=True)),
                ('requested_at', models.DateTimeField()),
                ('requested_by', models.CharField(max_length=150)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('pipeline', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='imports', to='collectors.pipeline')),
            ],
            options={
                'verbose_name': 'history import',
                'indexes': [models.Index(fields=['-requested_at', '-id'], name='history_import_newest')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'running')), fields=('pipeline',), name='history_import_one_running'), models.CheckConstraint(condition=models.Q(('end_at__gt', models.F('start_at'))), name='history_import_has_length')],
            },
        ),
    ]
