
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('collectors', '0020_parts'),
    ]

    operations = [
        migrations.CreateModel(
            name='ProcessLease',
            fields=[
                ('name', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('holder', models.CharField(max_length=100)),
                ('held_until', models.DateTimeField()),
            ],
        ),
    ]
