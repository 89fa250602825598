"""A TCP proxy that misbehaves as told: between a sender and the server, or server and database.

Latency, drip, black hole, reset, half-close, a cut after so many bytes, a swallowed answer. It runs
on a thread of its own; faults may change while connections are open.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_PIECE = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST, not FIN.
Upstream = tuple[str, int] | str  # Host and port, or the path of a UNIX socket.


@dataclass(frozen=True)
class Fault:
    """What is wrong with a connection; all defaults: nothing."""

    latency: float = 0  # Seconds before each piece, either way.
    piece: int = _PIECE  # Bytes passed on at once; few of them with a latency are a drip.
    is_refused: bool = False  # Reset as soon as it is accepted.
    is_dark: bool = False  # Open, but nothing passes: a black hole.
    cut_request_after: int | None = None  # Bytes sent upstream, then both sides are reset.
    cut_answer_after: int | None = None  # Bytes answered, then both sides; 0 swallows the answer.
    end_request_after: int | None = None  # Bytes, then upstream sees the end; answers still pass.


NO_FAULT = Fault()


class FaultProxy:
    """Forwards 127.0.0.1:port to an upstream.

    `fault_of` names the fault of each connection by its number (0, 1, ...); it is asked again for
    each piece, so it must not toss a coin each time. `on_piece` sees ("request" or "answer",
    count of pieces of that direction over all connections) before the piece is passed on, and
    `after_piece` thereafter.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.fault_of: Callable[[int], Fault] = lambda _: NO_FAULT
        self.on_piece: Callable[[str, int], None] = lambda _direction, _count: None
        self.after_piece: Callable[[str, int], None] = lambda _direction, _count: None
        self.connections = 0
        self.pieces = {"request": 0, "answer": 0}
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def use(self, fault: Fault) -> None:
        """Give every connection, open ones too, one fault."""
        self.fault_of = lambda _: fault

    async def _accept(
        self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self.connections = self.connections, self.connections + 1
        upstream: asyncio.StreamWriter | None = None
        try:
            if self.fault_of(number).is_refused:
                return
            upstream_reader, upstream = await self._connect()
            pumps = (
                self._pump("request", number, client_reader, upstream),
                self._pump("answer", number, upstream_reader, client),
            )
            async with asyncio.TaskGroup() as group:
                for pump in pumps:
                    group.create_task(pump)
        except* (OSError, _Cut, asyncio.CancelledError):
            pass
        finally:
            for writer in (client, upstream):
                _reset(writer)
            self._tasks.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.upstream, str):
            return await asyncio.open_unix_connection(self.upstream)
        return await asyncio.open_connection(*self.upstream)

    async def _pump(
        self,
        direction: str,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        passed = 0
        while data := await reader.read(self.fault_of(number).piece):
            fault = self.fault_of(number)
            await asyncio.sleep(fault.latency)
            while self.fault_of(number).is_dark:
                await asyncio.sleep(0.05)
            cut = fault.cut_request_after if direction == "request" else fault.cut_answer_after
            end = fault.end_request_after if direction == "request" else None
            limit = min((one for one in (cut, end) if one is not None), default=None)
            allowed = data if limit is None else data[: max(limit - passed, 0)]
            self.pieces[direction] += 1
            count = self.pieces[direction]
            self.on_piece(direction, count)
            writer.write(allowed)
            await writer.drain()
            self.after_piece(direction, count)
            passed += len(allowed)
            if limit is not None and passed >= limit:
                if cut is not None:
                    raise _Cut
                break
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _serve(self, is_ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, "127.0.0.1", self.port)
        )
        self.port = server.sockets[0].getsockname()[1]
        is_ready.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


class _Cut(Exception):
    """The connection ends here, as planned."""


def _reset(writer: asyncio.StreamWriter | None) -> None:
    if writer is None:
        return
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextmanager
def proxying(upstream: Upstream) -> Iterator[FaultProxy]:
    """Run a proxy on a free port until the end of the block."""
    proxy, is_ready = FaultProxy(upstream), threading.Event()
    thread = threading.Thread(target=proxy._serve, args=[is_ready], daemon=True)
    thread.start()
    try:
        assert is_ready.wait(10)
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(proxy._loop.stop)
        thread.join(10)
