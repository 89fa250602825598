"""Django's PostgreSQL backend, made fit for a database that is down or slow."""
