"""Clients of several servers, which move on to the next when one ends."""

import socket
import threading
from dataclasses import dataclass, field

_BODY = b'{"instances": [[1, 2, 3]]}'
_HEAD = b"POST /v1/models/sum_of_three:predict HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
_SECONDS = 20
"""That no answer takes."""


@dataclass
class Fleet:
    """Servers behind clients, each of which stays with one until it ends."""

    endpoints: list[tuple[str, int]]
    stopped: threading.Event = field(default_factory=threading.Event)
    answered: int = 0
    retried: int = 0
    failures: list[str] = field(default_factory=list)

    def client(self, index: int) -> None:
        """Ask over and over, as fast as is polite."""
        connection: socket.socket | None = None
        while not self.stopped.wait(0.02):
            for _ in range(10):
                if connection is None:
                    index += 1
                received = b""
                try:
                    connection = connection or socket.create_connection(
                        self.endpoints[index % len(self.endpoints)], timeout=_SECONDS
                    )
                    connection.sendall(_HEAD + _BODY)
                    while not received.endswith(b"]}"):
                        part = connection.recv(65536)
                        if not part:
                            break
                        received += part
                except ConnectionError:
                    pass
                if received.startswith(b"HTTP/1.1 200") and received.endswith(b"]}"):
                    self.answered += 1
                    if b"connection: close" in received:
                        connection = self._closed(connection)
                    break
                connection = self._closed(connection)
                if received:
                    self.failures.append(repr(received))
                    break
                self.retried += 1
            else:
                self.failures.append("no server takes it")
        self._closed(connection)

    @staticmethod
    def _closed(connection: socket.socket | None) -> None:
        if connection is not None:
            connection.close()
