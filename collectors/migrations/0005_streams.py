import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('collectors', '0004_gap_ledger'),
        ('exchanges', '0005_audit'),
    ]

    operations = [
        migrations.CreateModel(
            name='Stream',
            fields=[
                ('exchange', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='stream', serialize=False, to='exchanges.exchange')),
                ('holder', models.CharField(blank=True, max_length=100)),
                ('held_until', models.DateTimeField(blank=True, null=True)),
                ('is_delivering', models.BooleanField(default=False)),
                ('since', models.DateTimeField(blank=True, null=True)),
                ('reason', models.TextField(blank=True)),
            ],
        ),
        migrations.CreateModel(
            name='Switch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('happened_at', models.DateTimeField()),
                ('to_transport', models.CharField(max_length=10)),
                ('reason', models.TextField(blank=True)),
                ('exchange', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='switches', to='exchanges.exchange')),
            ],
            options={
                'verbose_name_plural': 'switches',
                'indexes': [models.Index(fields=['-happened_at', '-id'], name='switch_newest_first')],
            },
        ),
    ]
