"""Asks the server that the settings name whether it is ready, as a container's health check does."""

import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from socket import SOCK_STREAM, getaddrinfo
from threading import Thread

from service.config import Settings, names_of
from service.errors import HealthError, SettingsError
from service.http.tls import present

_OK = 200

_LONGEST = 200
"""Bytes of a reply that are repeated."""

_PATIENCE = 3600
"""Seconds that an answer can be waited for at most."""


def check(settings: Settings, *, live: bool = False, seconds: float) -> str:
    """A sentence that says that the server is ready, or with `live` that it answers.

    It is asked from this machine, past any proxy. Raises `HealthError` where it is not ready, or its answer has not
    come whole within `seconds`, and `SettingsError` for settings that lead to no server.
    """
    if settings.port == 0:
        raise SettingsError(
            f"port ({names_of('port')}) is 0: which one the server took, only its log says; name that one"
        )
    if not 0 < seconds <= _PATIENCE:
        raise SettingsError(f"--timeout is {seconds:g}: expected seconds, above 0 and at most {_PATIENCE}")
    tls, word = _tls(settings), "live" if live else "ready"
    outcomes: SimpleQueue[str | HealthError] = SimpleQueue()
    # In a thread, which may be left behind: a socket's own time limit is one for each step, and looking up a name has
    # none.
    Thread(target=lambda: outcomes.put(_outcome(settings, tls, word, seconds)), daemon=True).start()
    try:
        outcome = outcomes.get(timeout=seconds)
    except Empty:
        outcome = HealthError(f"{settings.host} port {settings.port} has not answered within {seconds:g} s")
    if isinstance(outcome, HealthError):
        raise outcome
    return outcome


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """What the connection begins with; None for a plain one."""
    if settings.tls_certificate is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The certificate has the names by which clients know the server, and the one on disk may be newer than its own.
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if settings.tls_client_ca is not None:
        # Whoever has none is refused, and there is no other here.
        present(made, settings, settings.tls_certificate)
    return made


def _outcome(settings: Settings, tls: ssl.SSLContext | None, word: str, seconds: float) -> str | HealthError:
    """The sentence, or what is wrong."""
    place, path = f"{settings.host} port {settings.port}", f"/v2/health/{word}"
    try:
        host = _address(settings)
        if tls is None:
            connection = HTTPConnection(host, settings.port, timeout=seconds)
        else:
            connection = HTTPSConnection(host, settings.port, timeout=seconds, context=tls)
        place = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{settings.port}"
        with closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            with connection.getresponse() as reply:
                body = reply.read(_LONGEST).decode(errors="replace")
    except (OSError, ValueError, HTTPException) as error:
        return HealthError(f"{place} cannot be asked for {path}: {_reason(error, settings)}")
    if reply.status != _OK:
        return HealthError(f"{place}{path} answers {reply.status}: {body}")
    return f"{place} is {word}"


def _address(settings: Settings) -> str:
    """Where the server listens: at the first of a name's addresses, or where that stands for all, at this machine's."""
    address = getaddrinfo(settings.host, settings.port, type=SOCK_STREAM)[0][4]
    host = str(address[0])
    if ip_address(host).is_unspecified:
        return "::1" if ":" in host else "127.0.0.1"
    return host


def _reason(error: Exception, settings: Settings) -> str:
    """Why the server cannot be asked."""
    reason = getattr(error, "strerror", None) or str(error)[:_LONGEST]
    if settings.tls_certificate is None or settings.tls_client_ca is None or isinstance(error, ConnectionRefusedError):
        return reason
    if isinstance(error, (ssl.SSLError, ConnectionError)):
        reason += (
            f"; it takes only clients with a certificate of the issuers in tls_client_ca ({names_of('tls_client_ca')}) "
            "and was shown its own: where that is not of theirs, or not for clients, its state cannot be known here"
        )
    return reason
