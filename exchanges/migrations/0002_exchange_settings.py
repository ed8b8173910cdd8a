import django.core.validators
import exchanges.models
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('exchanges', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='exchange',
            name='credentials',
            field=models.TextField(blank=True, editable=False),
        ),
        migrations.AddField(
            model_name='exchange',
            name='priority',
            field=models.PositiveSmallIntegerField(default=5, help_text='0 is collected first when workers are short, 9 last.', validators=[django.core.validators.MaxValueValidator(9)]),
        ),
        migrations.AddField(
            model_name='exchange',
            name='rate_limit_ms',
            field=models.FloatField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='exchange',
            name='removed_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='exchange',
            name='transport',
            field=models.CharField(choices=exchanges.models.transports, default='poll', help_text='stream: websocket where the venue has one.', max_length=10),
        ),
        migrations.AddConstraint(
            model_name='exchange',
            constraint=models.CheckConstraint(condition=models.Q(('removed_at__isnull', True), ('enabled', False), _connector='OR'), name='removed_is_not_enabled'),
        ),
    ]
