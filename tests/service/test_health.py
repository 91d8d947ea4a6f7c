"""Behaviour of service.health, and of the command `forwardpass health`."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.config import Settings
from service.errors import HealthError, SettingsError
from service.health import check
from tests.certificates import PASSWORD, Certificates, make_certificates
from tests.server import ROOT, Server, running

MODELS = ["--models", str(ROOT / "models" / "sum_of_three")]
OK = b"HTTP/1.1 200 OK\r\n"
READY = OK + b'content-length: 14\r\n\r\n{"ready":true}'
LATE = r"^127\.0\.0\.1 port \d+ has not answered within 0\.1 s$|: timed out$"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One model, served at every address of this machine."""
    with running(*MODELS, "--host", "0.0.0.0", "--drain-delay", "60") as server:  # noqa: S104  # as a container does
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of an authority, a server on this machine and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def answering(reply: bytes, again: bytes = b"", host: str = "127.0.0.1") -> Iterator[int]:
    """The port of one who sends the same to whoever comes, and after it something again and again."""
    ended = threading.Event()

    def serve() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(reply)
            while again and not ended.wait(0.02):
                try:
                    connection.sendall(again)
                except OSError:
                    return

    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        ended.set()
        thread.join(timeout=20)


def health(*flags: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What the command does; no setting of the caller's own environment reaches it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDPASS_")}
    return subprocess.run(
        [sys.executable, "-m", "service", "health", *flags],
        cwd=ROOT,
        env=clean | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings_of(server: Server, **others: object) -> Settings:
    """The settings by which a server is asked."""
    return Settings.model_validate({"host": server.endpoint[0], "port": server.endpoint[1], **others})


def test_the_command_finds_the_server_by_its_own_settings(server: Server, tmp_path: Path) -> None:
    """A variable, a file and a flag name it; an address that stands for all is asked here, and no proxy is."""
    file = tmp_path / "settings.toml"
    file.write_text('host = "0.0.0.0"\nport = 1\nworkers = 2\n')
    port = str(server.endpoint[1])
    proxy = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
    environment = proxy | {"FORWARDPASS_CONFIG": str(file), "FORWARDPASS_PORT": port}
    result = health(environment=environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"http://127.0.0.1:{port} is ready\n", "")
    result = health("--port", "1", environment=environment)
    sentence = "forwardpass: http://127.0.0.1:1 cannot be asked for /v2/health/ready: Connection refused\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", sentence)


def test_a_server_that_is_about_to_end_is_live_and_not_ready() -> None:
    """What it answers is told."""
    with running(*MODELS, "--drain-delay", "60") as server:
        settings = settings_of(server)
        assert check(settings, seconds=20) == f"{server.url} is ready"
        server.process.send_signal(signal.SIGTERM)
        while "draining" not in "".join(server.log):
            check(settings, live=True, seconds=20)
        with pytest.raises(HealthError) as caught:
            check(settings, seconds=20)
        assert caught.value.message == f'{server.url}/v2/health/ready answers 503: {{"ready":false}}'
        assert check(settings, live=True, seconds=20) == f"{server.url} is live"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"", "closed connection without response"),
        (b"220 mail.example ESMTP\r\n", "220 mail.example"),
        (b"x" * 4000, f": {'x' * 200}"),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", "answers 302: "),
        (b"HTTP/1.1 500 No\r\ncontent-length: 4000\r\n\r\n" + b"x" * 4000, f"answers 500: {'x' * 200}"),
    ],
)
def test_any_other_answer_is_none(reply: bytes, words: str) -> None:
    """It is told, and not all of a long one."""
    with answering(reply) as port, pytest.raises(HealthError) as caught:
        check(Settings(port=port), seconds=20)
    assert words in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("start", "again"),
    [(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (OK, b"a: b\r\n"), (OK + b"content-length: 200\r\n\r\n", b" ")],
    ids=["replies before the reply", "headers", "body"],
)
def test_the_time_is_for_all_of_it(start: bytes, again: bytes) -> None:
    """Who sends a little again and again does not lengthen it."""
    with answering(start, again) as port, pytest.raises(HealthError, match=LATE):
        check(Settings(port=port), seconds=0.1)


def test_who_says_nothing_is_not_waited_for() -> None:
    """As where a process is stopped, of which the system still takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = Settings(port=listener.getsockname()[1])
        with pytest.raises(HealthError, match=LATE):
            check(settings, seconds=0.1)


@pytest.mark.parametrize(("host", "address"), [("::1", "[::1]"), ("::", "[::1]"), ("localhost", "127.0.0.1")])
def test_it_is_asked_where_it_listens(host: str, address: str) -> None:
    """By the newer protocol too, and by name."""
    place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][4][0] if host == "localhost" else "::1"
    if host == "localhost" and ":" in str(place):
        address = f"[{place}]"
    with answering(READY, host=str(place)) as port:
        assert check(Settings(host=host, port=port), seconds=20) == f"http://{address}:{port} is ready"


def test_a_name_that_cannot_be_is_told() -> None:
    """With what was to be asked."""
    with pytest.raises(HealthError, match=r"^a{64} port 8080 cannot be asked for /v2/health/ready: .*label too long"):
        check(Settings(host="a" * 64), seconds=20)


def test_settings_that_lead_to_no_server_are_a_wrong_call() -> None:
    """A free port is known to nobody else; a time is one that can be waited."""
    result = health("--port", "0")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("forwardpass: port (variable FORWARDPASS_PORT, flag --port) is 0: ")
    assert len(result.stderr.splitlines()) == 1
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="--timeout is "):
            check(Settings(), seconds=seconds)


def test_tls_is_spoken_where_the_server_speaks_it(server: Server, certificates: Certificates) -> None:
    """Its certificate may have other names, or come of issuers that nobody knows here."""
    flags = {"tls_certificate": certificates.server, "tls_key": certificates.server_key}
    with running(*MODELS, certificates=certificates) as secret:
        host, port = secret.endpoint
        assert check(settings_of(secret, **flags), seconds=20) == f"https://{host}:{port} is ready"
        with pytest.raises(HealthError, match="closed connection without response"):
            check(settings_of(secret), seconds=20)
    with pytest.raises(HealthError, match=r"https://.* cannot be asked for /v2/health/ready: .*SSL"):
        check(settings_of(server, host="127.0.0.1", **flags), seconds=20)


def test_who_asks_for_certificates_is_shown_the_servers_own(certificates: Certificates, tmp_path: Path) -> None:
    """Where its issuer is one of those that clients are to have; elsewhere its state is not known, which is said."""
    flags = {"tls_certificate": certificates.server, "tls_key": certificates.locked_key, "tls_key_password": PASSWORD}
    locked = certificates._replace(server_key=certificates.locked_key)
    password = {"FORWARDPASS_TLS_KEY_PASSWORD": PASSWORD}
    for authority, is_known in ((certificates.authority, True), (make_certificates(tmp_path).authority, False)):
        wanted = ["--tls-client-ca", str(authority)]
        with running(*MODELS, *wanted, environment=password, certificates=locked) as server:
            settings = settings_of(server, tls_client_ca=authority, **flags)
            if is_known:
                assert check(settings, seconds=20) == f"{server.url} is ready"
                continue
            with pytest.raises(HealthError, match=r"takes only clients with a certificate .* cannot be known here$"):
                check(settings, seconds=20)


def test_where_nobody_listens_no_certificate_is_to_blame(certificates: Certificates) -> None:
    """Nor where the settings name no certificate that could be shown."""
    flags = {"tls_certificate": certificates.server, "tls_key": certificates.server_key}
    for others in (flags, {}):
        settings = Settings.model_validate({"port": 1, "tls_client_ca": certificates.authority, **others})
        with pytest.raises(HealthError, match=r" cannot be asked for /v2/health/ready: Connection refused$"):
            check(settings, seconds=20)
