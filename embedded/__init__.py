"""`manage.py up`: embedded PostgreSQL and Valkey and all of our processes, restarted when they die, stopped in order.

Standard library only: this process lives as long as the system and should weigh nothing.
"""
