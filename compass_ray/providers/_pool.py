"""A provider's connections: kept for the next request, never more than so many at once."""

import asyncio
import functools
import socket
import ssl
from typing import NamedTuple

from aiohappyeyeballs import start_connection

from compass_ray.providers._connection import Connection

_KEPT = 50.0
"""Seconds that an unused connection is kept; most servers close theirs after 60 or more."""
_NEXT_ADDRESS = 0.25
"""Seconds after which a host's next address is tried beside the last (RFC 8305)."""


class Place(NamedTuple):
    """Where a server is: a host's name or address, and how it is spoken to."""

    host: str
    port: int
    tls: bool


class CannotConnect(Exception):
    """There is nobody, or nobody who can be trusted."""


class ConnectTimeout(Exception):
    """Nobody accepted the connection in time."""


class Pool:
    """At most `limit` connections in use; `patience` is seconds for one to be made."""

    def __init__(self, limit: int, patience: float) -> None:
        self._patience = patience
        self._turns = asyncio.Semaphore(limit)
        self._unused: dict[Place, list[Connection]] = {}
        self._in_use: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def take(self, place: Place) -> Connection:
        """Return a connection, once it is this caller's turn; `give_back` ends its use.

        Raises:
            CannotConnect, ConnectTimeout
        """
        await self._turns.acquire()
        try:
            connection = self._kept(place) or await self._connect(place)
        except BaseException:
            self._turns.release()
            raise
        self._in_use.add(connection)
        return connection

    def give_back(self, place: Place, connection: Connection) -> None:
        """Keep a connection to `place` for the next, unless its exchange was not complete."""
        self._in_use.discard(connection)
        self._turns.release()
        connection.end()
        if connection.is_free:
            self._unused.setdefault(place, []).append(connection)
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(_KEPT, self._close_unused)

    def close(self) -> None:
        """Close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in self._in_use.union(*self._unused.values()):
            connection.abort()

    def _kept(self, place: Place) -> Connection | None:
        """Return the connection that was used last."""
        kept = self._unused.get(place)
        while kept:
            connection = kept.pop()
            if connection.is_free:
                return connection
        return None

    def _close_unused(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time() - _KEPT
        for kept in self._unused.values():
            for connection in kept:
                if connection.unused_since <= before:
                    connection.abort()
        self._unused = {
            place: free
            for place, kept in self._unused.items()
            if (free := [connection for connection in kept if connection.is_free])
        }
        self._sweep = loop.call_later(_KEPT, self._close_unused) if self._unused else None

    async def _connect(self, place: Place) -> Connection:
        try:
            async with asyncio.timeout(self._patience):
                return await _connected(place)
        except TimeoutError as error:
            raise ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else None
            raise CannotConnect(why or type(error).__name__) from error


async def _connected(place: Place) -> Connection:
    """Return a new connection.

    Raises:
        OSError: nobody is there, or nobody who can be trusted.
        UnicodeError: there can be no such host.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    connected = await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS, loop=loop)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    try:
        _, connection = await loop.create_connection(
            Connection,
            sock=connected,
            ssl=trusted() if place.tls else None,
            server_hostname=place.host if place.tls else None,
        )
    except BaseException:
        connected.close()
        raise
    return connection


@functools.cache
def trusted() -> ssl.SSLContext:
    """Return the machine's trusted certificates, read once."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
