"""Django database backend that starts the embedded server on the first connection."""

from pathlib import Path
from typing import Any

from django.db.backends.postgresql import base

from billing_project.kernel.embedded.server import SUPERUSER, EmbeddedServer


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL whose HOST setting is the data folder of the embedded server."""

    def get_connection_params(self) -> dict[str, Any]:
        """Start the server if needed and point the connection at its socket."""
        socket_folder = EmbeddedServer(Path(self.settings_dict["HOST"])).start()
        params: dict[str, Any] = super().get_connection_params()
        return {**params, "host": str(socket_folder), "user": SUPERUSER}
