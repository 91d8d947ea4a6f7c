"""The sockets on which a server listens: one of each worker, all of one address."""

import os
import socket

from service.errors import SettingsError


class Listeners:
    """Sockets that are bound to an address; who serves begins to listen.

    The system shares connections out evenly among those of several that listen. Raises `SettingsError` where the
    address cannot be had, also where another server listens there.
    """

    def __init__(self, host: str, port: int, count: int = 1) -> None:
        self._place = f"{host} port {port}"
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
                0
            ]
            # By itself first: whoever shares the address would not be told that a stranger has it too.
            first = _bound(family, address[:2], is_shared=False)
            self._family, self._address = family, first.getsockname()[:2]
            self._is_shared = count > 1
            if self._is_shared:
                first.close()
                self._sockets = [self._new() for _ in range(count)]
            else:
                self._sockets = [first]
        except (OSError, UnicodeError) as error:
            raise self.refused(error) from None

    def of(self, number: int) -> socket.socket:
        """The socket of a worker."""
        return self._sockets[number]

    def keep(self, number: int) -> None:
        """Close those of the other workers: where they have ended, nobody shall be sent to them."""
        for other, one in enumerate(self._sockets):
            if other != number:
                one.close()

    def rest(self, number: int) -> None:
        """Let nobody be sent to a worker that is not there, until it listens again."""
        self._sockets[number].close()
        self._sockets[number] = self._new()

    def close(self) -> None:
        """Close all of them here; who has them from before goes on."""
        for one in self._sockets:
            one.close()

    def refused(self, error: OSError | UnicodeError) -> SettingsError:
        """What is told where it cannot be listened."""
        number = getattr(error, "errno", None)
        # The system's own words; a name that is not found has none, its number being of another kind.
        reason = os.strerror(number) if number and number > 0 else error
        return SettingsError(f"cannot listen on {self._place}: {reason}")

    def _new(self) -> socket.socket:
        return _bound(self._family, self._address, is_shared=True)


def _bound(family: int, address: tuple[str | int, int | bytes], *, is_shared: bool) -> socket.socket:
    one = socket.socket(family)
    try:
        # Connections that a server before us has ended may linger.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one
