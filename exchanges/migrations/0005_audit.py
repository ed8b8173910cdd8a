from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('exchanges', '0004_connectivity_checks'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('happened_at', models.DateTimeField()),
                ('who', models.CharField(max_length=150)),
                ('verb', models.CharField(max_length=30)),
                ('exchange', models.CharField(blank=True, max_length=64)),
                ('market', models.CharField(blank=True, max_length=100)),
                ('why', models.TextField(blank=True)),
                ('origin', models.CharField(blank=True, help_text="The caller's address, or the place of the command.", max_length=100)),
                ('correlation_id', models.CharField(blank=True, max_length=64)),
                ('before', models.JSONField(blank=True, default=dict, help_text='What undoing needs.')),
                ('changed', models.BooleanField(default=True, help_text='False when everything was already as wanted.')),
                ('undone_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'verbose_name_plural': 'audit entries',
            },
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['-happened_at', '-id'], name='audit_newest_first'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['exchange', '-happened_at'], name='audit_by_exchange'),
        ),
    ]
