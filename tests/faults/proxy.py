"""A small TCP proxy that does to connections what bad networks do."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

#: Bytes taken at once; of a slow line, as a packet of Ethernet carries.
CHUNK, PACKET = 65536, 1460
#: `SO_LINGER` on, for no time: the close sends RST instead of FIN.
AT_ONCE = struct.pack("ii", 1, 0)


class _Link:
    """One client's connection and ours to the target, with what is on its way between them."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.ends = [client]
        #: Bytes it may still carry before it is cut; None: no end.
        self.left: int | None = None
        self.swallowed = False

    def reset(self) -> None:
        for end in self.ends:
            sock = end.get_extra_info("socket")
            if sock is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            end.transport.abort()


class Proxy:
    """Listens on `port` of 127.0.0.1 and passes all to `target` (host, port); a context manager.

    One fault at a time: each call replaces the one before it, and `heal` ends it. The calls may
    come from any thread; when they return, the fault is on.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = 0
        #: Connections that `cut_after` has ended so far.
        self.cuts = 0
        #: Bytes that were passed on so far, both ways added.
        self.carried = 0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._passing: asyncio.Event
        self._delay = 0.0
        #: Bytes a second each way, and when each way has sent what was taken so far.
        self._rate: float | None = None
        self._sent_at = [0.0, 0.0]
        self._limit: int | None = None
        self._refusing = False

    def __enter__(self) -> "Proxy":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def heal(self) -> None:
        """End the fault. Connections that were in a black hole are reset: their bytes are lost."""

        def heal() -> None:
            self._set()
            self._reset(lambda link: link.swallowed)

        self._call(heal)

    def latency(self, seconds: float) -> None:
        """Let every byte come `seconds` later, each way."""
        self._call(lambda: self._set(delay=seconds))

    def slow(self, seconds: float, bytes_per_second: float) -> None:
        """Be a slow line that all connections share: so many bytes a second, each way.

        Every byte also comes `seconds` later, each way. New connections cost no time of their own.
        """
        self._call(lambda: self._set(delay=seconds, rate=bytes_per_second))

    def black_hole(self) -> None:
        """Pass nothing either way; connections stay open, new ones are accepted and silent."""
        self._call(lambda: self._set(passing=False))

    def reset(self) -> None:
        """Reset all present connections, once; new ones pass."""

        def reset() -> None:
            self._set()
            self._reset(lambda link: True)

        self._call(reset)

    def cut_after(self, n_bytes: int) -> None:
        """Reset each connection, present or new, once it carried `n_bytes` more, both ways added.

        The bytes up to there are passed on, so that a frame may end in its middle.
        """
        self._call(lambda: self._set(limit=n_bytes))

    def refuse(self) -> None:
        """Reset new connections at once; present ones pass."""
        self._call(lambda: self._set(refusing=True))

    # --- In the loop's thread -----------------------------------------------------------------

    def _call(self, change: Callable[[], None]) -> None:
        async def run() -> None:
            change()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def _set(
        self,
        *,
        delay: float = 0.0,
        rate: float | None = None,
        passing: bool = True,
        limit: int | None = None,
        refusing: bool = False,
    ) -> None:
        self._delay, self._rate, self._limit, self._refusing = delay, rate, limit, refusing
        for link in self._links:
            link.left = limit
            link.swallowed = link.swallowed or not passing
        if passing:
            self._passing.set()
        else:
            self._passing.clear()

    def _reset(self, which: Callable[[_Link], bool]) -> None:
        for link in [link for link in self._links if which(link)]:
            link.reset()
            self._links.discard(link)

    async def _listen(self) -> None:
        self._passing = asyncio.Event()
        self._passing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._reset(lambda link: True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        if self._refusing:
            link.reset()
            return
        link.left, link.swallowed = self._limit, not self._passing.is_set()
        self._links.add(link)
        try:
            await self._passing.wait()
            if link not in self._links:
                return  # it was swallowed, and ended by the healing
            far_reader, far_writer = await asyncio.open_connection(*self.target, limit=CHUNK)
            link.ends.append(far_writer)
            ways = ((reader, far_writer), (far_reader, writer))
            async with asyncio.TaskGroup() as group:
                for direction, (source, sink) in enumerate(ways):
                    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)
                    taking = self._take(link, source, on_the_way, direction)
                    self._keep(group.create_task(taking))
                    self._keep(group.create_task(self._give(link, sink, on_the_way)))
        except (OSError, ExceptionGroup):
            link.reset()
            self.cuts += link.left == 0
        finally:
            self._links.discard(link)
            for end in link.ends:
                end.close()

    def _keep(self, task: Any) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(
        self,
        link: _Link,
        source: asyncio.StreamReader,
        way: "asyncio.Queue[tuple[float, bytes]]",
        direction: int,
    ) -> None:
        while True:
            # In a black hole nothing is taken, so that the sender's window fills as it would.
            await self._passing.wait()
            data = await source.read(CHUNK if self._rate is None else PACKET)
            await way.put((self._arrival(len(data), direction), data))
            if not data:
                return

    def _arrival(self, n_bytes: int, direction: int) -> float:
        """Return when bytes arrive that are sent as soon as the line is free."""
        sent_at = self._loop.time()
        if self._rate is not None:
            sent_at = max(sent_at, self._sent_at[direction]) + n_bytes / self._rate
            self._sent_at[direction] = sent_at
        return sent_at + self._delay

    async def _give(
        self, link: _Link, sink: asyncio.StreamWriter, way: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        while True:
            due, data = await way.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._passing.wait()
            if link not in self._links:
                return
            if not data:
                if sink.can_write_eof():
                    sink.write_eof()
                return
            if link.left is not None:
                data = data[: link.left]
                link.left -= len(data)
            sink.write(data)
            self.carried += len(data)
            await sink.drain()
            if link.left == 0:
                raise ConnectionResetError
