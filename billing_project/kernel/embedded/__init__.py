"""PostgreSQL 18 from a wheel, for machines where nobody installed a database server."""
