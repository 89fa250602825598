"""Django database backend that starts the embedded server on the first connection."""

from pathlib import Path
from typing import Any

import psycopg

from billing_project.kernel.embedded.server import SUPERUSER, EmbeddedServer
from billing_project.kernel.postgres import base


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL whose HOST setting is the data folder of the embedded server."""

    def get_connection_params(self) -> dict[str, Any]:
        """Start the server if needed and point the connection at its socket."""
        socket_folder = EmbeddedServer(Path(self.settings_dict["HOST"])).start()
        params: dict[str, Any] = super().get_connection_params()
        return {**params, "host": str(socket_folder), "user": SUPERUSER}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect; a named database that does not exist yet is made, as nobody else could."""
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            if "does not exist" not in str(error) or self.settings_dict["NAME"] == SUPERUSER:
                raise
        self._make_database(conn_params)
        return super().get_new_connection(conn_params)

    def _make_database(self, conn_params: dict[str, Any]) -> None:
        address = {"host": conn_params["host"], "user": SUPERUSER, "dbname": SUPERUSER}
        with psycopg.connect(**address, autocommit=True) as connection:
            name = psycopg.sql.Identifier(conn_params["dbname"])
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name))
