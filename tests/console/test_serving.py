"""The HTTP server as it is set up; tests/faults breaks a running one."""

from pathlib import Path

from billing_project.console.processes import server_command
from billing_project.console.serving import THREADS, make_server


def test_the_server_listens_on_this_machine_only() -> None:
    assert make_server(8000, 2).bind_addr == "127.0.0.1"


def test_the_command_starts_this_module() -> None:
    _, flag, module, *arguments = server_command(8123, 3)

    assert (flag, module) == ("-m", "billing_project.console.serving")
    assert arguments == ["--port", "8123", "--workers", "3"]
    assert Path(*module.split(".")).with_suffix(".py").exists()


def test_threads_of_two_servers_find_connections_in_the_embedded_database() -> None:
    # Tests run two at once, of two workers each.
    assert 2 * 2 * THREADS < 160 - 40, "max_connections, less what the worker and people need"
