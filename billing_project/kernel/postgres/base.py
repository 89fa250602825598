"""Django database backend for a PostgreSQL of one's own."""

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL; keeps no log of statements unless somebody asks for one."""

    @property
    def queries_logged(self) -> bool:
        """Tell whether statements are kept: with DEBUG, Django would keep a batch's five MiB."""
        return bool(self.force_debug_cursor)
