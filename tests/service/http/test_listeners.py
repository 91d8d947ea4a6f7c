"""Behaviour of service.http.listeners."""

import socket
from collections import Counter

import pytest

from service.errors import SettingsError
from service.http.listeners import Listeners


def connect(listeners: Listeners) -> socket.socket:
    """A client."""
    return socket.create_connection(listeners.of(0).getsockname()[:2], timeout=10)


def accepted(one: socket.socket) -> int:
    """How many clients wait at a socket; all that came are there at once on this machine."""
    one.settimeout(0)
    count = 0
    while True:
        try:
            one.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_all_have_one_address(host: str, count: int) -> None:
    """Also where the system chose the port; nobody is connected before somebody serves."""
    listeners = Listeners(host, 0, count)
    assert len({listeners.of(number).getsockname() for number in range(count)}) == 1
    with pytest.raises(ConnectionRefusedError):
        connect(listeners)
    listeners.of(0).listen()
    connect(listeners).close()
    listeners.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        listeners.of(count - 1).getsockname()


def test_connections_are_shared_out() -> None:
    """Evenly, as far as chance goes, among those that listen."""
    listeners = Listeners("127.0.0.1", 0, 3)
    for number in (0, 2):
        listeners.of(number).listen(256)
    clients = [connect(listeners) for _ in range(200)]
    shares = Counter({number: accepted(listeners.of(number)) for number in (0, 2)})
    assert shares.total() == 200
    assert min(shares.values()) > 60
    for client in clients:
        client.close()
    listeners.close()


def test_nobody_is_sent_to_who_rests() -> None:
    """Until it listens again."""
    listeners = Listeners("127.0.0.1", 0, 2)
    for number in range(2):
        listeners.of(number).listen(64)
    listeners.rest(1)
    clients = [connect(listeners) for _ in range(40)]
    assert accepted(listeners.of(0)) == 40
    listeners.of(1).listen(64)
    clients += [connect(listeners) for _ in range(40)]
    assert accepted(listeners.of(1)) > 0
    for client in clients:
        client.close()
    listeners.close()


def test_a_worker_keeps_its_own() -> None:
    """The others are closed."""
    listeners = Listeners("127.0.0.1", 0, 2)
    listeners.keep(1)
    listeners.of(1).listen()
    with pytest.raises(OSError, match="Bad file descriptor"):
        listeners.of(0).getsockname()
    listeners.close()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("others", [1, 2])
def test_a_port_that_is_taken_is_told(count: int, others: int) -> None:
    """In the system's words, also where whoever has it would share it."""
    taken = Listeners("127.0.0.1", 0, others)
    taken.of(0).listen()
    with pytest.raises(SettingsError, match=r"cannot listen on 127\.0\.0\.1 port [0-9]+: Address already in use"):
        Listeners("127.0.0.1", taken.of(0).getsockname()[1], count)
    taken.close()


@pytest.mark.parametrize(
    ("host", "said"), [("no such host", "cannot listen on no such host port 80"), ("192.0.2.1", "Cannot assign")]
)
def test_an_address_that_is_none_of_ours_is_told(host: str, said: str) -> None:
    """By its name."""
    with pytest.raises(SettingsError, match=said):
        Listeners(host, 80)
