"""Django's backend for PostgreSQL, and what it has to know of servers and poolers."""
