"""Keys against a real server: every path with no key, a wrong one, a too narrow one and the right one."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import httpx
import numpy as np
import pytest
import tritonclient.http
from starlette.routing import Mount, Route

from service.config import Settings
from service.http.app import create_app
from service.keys import SCOPES, KeyScope, NewKey, add_key, make_key
from tests.certificates import Certificates, make_certificates
from tests.server import ROOT, Server, running

MODEL = ROOT / "models" / "sum_of_three"
OPEN = {"/", "/v2/health/live", "/v2/health/ready"}
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE")
ROW = json.dumps({"instances": [[1, 2, 3]]}).encode()
TENSOR = json.dumps({"inputs": [{"name": "addends", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}).encode()
PREDICT, INFER = "/v1/models/sum_of_three:predict", "/v2/models/sum_of_three/infer"
LARGE = b" " * 3_000_000


@dataclass(frozen=True)
class Guarded:
    """A server that asks for keys, and the keys it knows: one for each scope, and one for all but it."""

    server: Server
    keys: dict[str, str]

    def status(self, client: httpx.Client, method: str, path: str, header: str | None, body: bytes = b"") -> int:
        """What a request with this header is answered, once it is seen to be in our form and to keep secrets."""
        headers = {"x-request-id": "seven"} | ({} if header is None else {"authorization": header})
        reply = client.request(method, path, headers=headers, content=body)
        if reply.status_code in (401, 403):
            assert reply.headers["x-request-id"] == "seven"
            assert reply.headers["www-authenticate"].startswith('Bearer realm="forwardpass"')
            code = {401: "unauthorized", 403: "forbidden"}[reply.status_code]
            assert method == "HEAD" or reply.json().keys() == {"error", "code"}
            assert method == "HEAD" or reply.json()["code"] == code
        assert not any(key in reply.text for key in self.keys.values())
        return reply.status_code

    def wrong(self) -> list[str | None]:
        """Headers that have no valid key."""
        key = self.keys["predict"]
        return [
            None,
            "",
            "Bearer",
            key,
            f"Basic {key}",
            f"Bearer {key[:-1]}",
            f"Bearer {key}x",
            f"Bearer {key.swapcase()}",
            f"Bearer {sha256(key.encode()).hexdigest()}",
            f"Bearer {make_key('other', ['predict']).text}",
            f"Bearer {key}, Bearer {key}",
        ]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of a server on this machine."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", params=["lane on", "lane off", "lane on, TLS"])
def guarded(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Guarded]:
    """A server in a process of its own, whose log has no key in it when it ends."""
    path, keys = tmp_path_factory.mktemp("keys") / "keys.toml", {}
    for scope in SCOPES:
        for name, scopes in ((scope, [scope]), (f"all_but_{scope}", [one for one in SCOPES if one != scope])):
            key = make_key(name, scopes)
            add_key(path, key)
            keys[name] = key.text
    lane, _, tls = request.param.removeprefix("lane ").partition(", ")
    flags = ["--models", str(MODEL), "--keys", str(path), "--lane", lane, "--log-level", "debug"]
    with running(*flags, certificates=certificates if tls else None) as server:
        yield Guarded(server, keys)
    log = "".join(server.log)
    assert not any(key in log for key in keys.values())


def routes() -> list[str]:
    """A path for each route of the application."""
    found = []
    for route in create_app(Settings(models=MODEL)).routes:
        if isinstance(route, Mount):
            found.append(f"{route.path}/swagger-ui.css")
        else:
            assert isinstance(route, Route)
            found.append(re.sub(r"\{(version|number)\}", "2", re.sub(r"\{(model|name)\}", "sum_of_three", route.path)))
    return sorted(set(found))


def scope_for(path: str) -> KeyScope | None:
    """What a key must be for, as the README has it; None where any will do."""
    if path.endswith((":predict", "/infer")):
        return "predict"
    if path.endswith(("/load", "/unload")):
        return "admin"
    return "metrics" if path == "/metrics" else None


def body_for(path: str) -> bytes:
    """A body that the path can read."""
    return ROW if path.endswith(":predict") else TENSOR if path.endswith("/infer") else b""


def test_the_paths_that_are_tried_are_all_there_are() -> None:
    """Two dialects with and without versions, metrics, the repository, documents and their files."""
    tried = set(routes())
    assert tried >= OPEN | {PREDICT, INFER, "/metrics", "/docs", "/openapi.json", "/v2/repository/index"}
    assert {"/v1/models/sum_of_three/versions/2:predict", "/v2/models/sum_of_three/versions/2/infer"} < tried
    assert {scope_for(path) for path in tried} == {*SCOPES, None}


@pytest.mark.parametrize("path", routes())
def test_a_path_answers_whoever_has_the_key_for_it_and_nobody_else(path: str, guarded: Guarded) -> None:
    """With every method, and whether or not somebody with a good key came before."""
    scope, body = scope_for(path), body_for(path)
    needed = f"Bearer {guarded.keys[scope or 'predict']}"
    with guarded.server.client() as client:
        for method in METHODS:
            sent = body if method in ("POST", "PUT") else b""
            if path in OPEN:
                assert guarded.status(client, method, path, None, sent) in (200, 405)
                continue
            for header in guarded.wrong():
                assert guarded.status(client, method, path, header, sent) == 401
            # Twice, since a request that came before is known by its head.
            for _ in range(2):
                assert guarded.status(client, method, path, needed, sent) not in (401, 403, 500)
            for header in (None, guarded.wrong()[-2]):
                assert guarded.status(client, method, path, header, sent) == 401
            others = [name for name in guarded.keys if name != scope and (name in SCOPES or name == f"all_but_{scope}")]
            for name in others:
                status = guarded.status(client, method, path, f"Bearer {guarded.keys[name]}", sent)
                assert (status == 403) == (scope is not None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "//"),
        ("GET", "/v2/health/live/"),
        ("GET", "/v2/health"),
        ("GET", "/V2/HEALTH/LIVE"),
        ("GET", "/v2/health/live%2f"),
        ("GET", "/v2/health/../../metrics"),
        ("GET", "/metrics/"),
        ("GET", "/metrics%0a"),
        ("GET", "/%6detrics"),
        ("POST", f"{PREDICT}%0a"),
        ("POST", f"{PREDICT}?key=a"),
        ("POST", f"{PREDICT}/"),
        ("POST", f"/{PREDICT}"),
        ("POST", PREDICT.replace("_of_", "%5fof%5f")),
        ("POST", PREDICT.replace(":", "%3a")),
        ("POST", INFER.replace("/infer", "/%69nfer")),
        ("POST", INFER.replace("sum", "no")),
        ("POST", "http://server" + INFER),
        ("POST", "http://server" + PREDICT),
        ("GET", "http://server/metrics"),
        ("OPTIONS", "*"),
    ],
)
def test_no_spelling_of_a_path_lets_anybody_in(method: str, path: str, guarded: Guarded) -> None:
    """Neither without a key nor with one for something else, byte for byte as it was sent."""
    names = {None: None} | {name: name for name in guarded.keys}
    head = "{} {} HTTP/1.1\r\nHost: server\r\n{}Content-Length: {}\r\n\r\n"
    body = body_for(path.partition("?")[0]) or ROW
    with guarded.server.connect() as connection, connection.makefile("rb") as stream:
        for name in names:
            key = "" if name is None else f"Authorization: Bearer {guarded.keys[name]}\r\n"
            connection.sendall(head.format(method, path, key, len(body)).encode() + body)
            status, content = read_reply(stream)
            assert (status == 401) == (name is None), (name, status)
            may_predict = name in ("predict", "all_but_metrics", "all_but_admin")
            assert may_predict or not re.search(rb'"(predictions|outputs)"', content)
            assert name in ("metrics", "all_but_predict", "all_but_admin") or b"forwardpass_" not in content


def read_reply(stream: BinaryIO) -> tuple[int, bytes]:
    """The status and body of the next reply."""
    status, *lines = [line.decode() for line in iter(stream.readline, b"\r\n")]
    headers = dict(line.strip().lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), stream.read(int(headers.get("content-length", 0)))


def prediction(key: str | None, body: bytes = ROW, more: str = "") -> bytes:
    """The bytes of a request to predict."""
    header = "" if key is None else f"Authorization: Bearer {key}\r\n"
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: server\r\n{header}{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_requests_in_a_row_are_each_answered_by_their_own_key(guarded: Guarded) -> None:
    """In their order, however good and bad ones come one behind the other and whatever they ask for."""
    good, narrow = guarded.keys["predict"], guarded.keys["all_but_predict"]
    live = b"GET /v2/health/live HTTP/1.1\r\nHost: server\r\n\r\n"
    metrics = f"GET /metrics HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer {narrow}\r\n\r\n".encode()
    asked = [
        (prediction(good), 200),
        (prediction(None), 401),
        (prediction(good), 200),
        (prediction(narrow), 403),
        (metrics, 200),
        (prediction(good[:-1] + "-"), 401),
        (metrics.replace(narrow.encode(), good.encode()), 403),
        (live, 200),
        (prediction(good, LARGE), 400),
        (prediction(narrow, LARGE), 403),
        (prediction(good), 200),
    ]
    with guarded.server.connect() as connection, connection.makefile("rb") as stream:
        for _ in range(3):
            # As many as the system takes at once, and then a few at a time.
            connection.sendall(b"".join(request for request, _ in asked[:8]))
            connection.sendall(b"".join(request for request, _ in asked[8:]))
            assert [read_reply(stream)[0] for _ in asked] == [status for _, status in asked]


def test_a_head_that_came_before_is_good_for_its_own_key_only(guarded: Guarded) -> None:
    """On any connection, whatever the request is called; another key in its place is looked at anew."""
    good = guarded.keys["predict"]
    names = ["", "X-Request-Id: 7\r\n", "X-Request-Id: 8\r\n", "traceparent: 00-1-2-01\r\n"]
    for _ in range(2):
        with guarded.server.connect() as connection, connection.makefile("rb") as stream:
            for name in names:
                for key, expected in [
                    (good, 200),
                    (good, 200),
                    (None, 401),
                    (good[:-1], 401),
                    (good[:-1] + "-", 401),
                    (good.upper(), 401),
                    (guarded.keys["metrics"], 403),
                    (guarded.keys["admin"], 403),
                    (guarded.keys["all_but_admin"], 200),
                    (good, 200),
                ]:
                    connection.sendall(prediction(key, more=name))
                    assert read_reply(stream)[0] == expected
                # A name in the place of a key, and a key in the place of a name, are none.
                connection.sendall(prediction(None, more=f"X-Request-Id: {good}\r\n"))
                assert read_reply(stream)[0] == 401


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good"), ("good", "good")])
def test_two_keys_are_none(order: tuple[str, str], guarded: Guarded) -> None:
    """Who decides which of them counts may be somebody else."""
    keys = {"good": guarded.keys["predict"], "bad": "fp_0"}
    first, second = (keys[one] for one in order)
    with guarded.server.connect() as connection, connection.makefile("rb") as stream:
        for _ in range(2):
            connection.sendall(prediction(first, more=f"authorization: Bearer {second}\r\n"))
            assert read_reply(stream)[0] == 401


def test_the_body_of_a_refused_request_is_passed_over(guarded: Guarded) -> None:
    """Announced or in chunks, whole or in parts: the next request on the connection is answered."""
    good = guarded.keys["predict"]
    chunked = prediction(None, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with guarded.server.connect() as connection, connection.makefile("rb") as stream:
        for start, rest in (
            (prediction(None, LARGE)[:-1_000_000], LARGE[-1_000_000:]),
            (chunked + b"5\r\n[1,2]", b"\r\n3\r\n123\r\n0\r\n\r\n"),
        ):
            connection.sendall(start)
            assert read_reply(stream)[0] == 401
            connection.sendall(rest + prediction(good))
            assert read_reply(stream)[0] == 200


def test_a_client_that_asks_first_is_not_told_to_go_on(guarded: Guarded) -> None:
    """It learns that its key will not do before it sends its body."""
    request = prediction(None, more="Expect: 100-continue\r\n").removesuffix(ROW)
    with guarded.server.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(request)
        assert read_reply(stream)[0] == 401


def test_refusals_are_counted_for_whoever_may_see_them(guarded: Guarded) -> None:
    """By what was wanting; nothing says whose key it was."""
    with guarded.server.client() as client:

        def counted() -> dict[str, float]:
            page = client.get("/metrics", headers={"authorization": f"Bearer {guarded.keys['metrics']}"}).text
            lines = re.findall(r'forwardpass_unrouted_requests_total\{code="(\w+)"\} (\S+)', page)
            return {code: float(count) for code, count in lines}

        guarded.status(client, "POST", PREDICT, None)
        guarded.status(client, "POST", PREDICT, f"Bearer {guarded.keys['metrics']}")
        before = counted()
        guarded.status(client, "POST", PREDICT, None)
        guarded.status(client, "POST", INFER, f"Bearer {guarded.keys['admin']}")
        assert counted() == before | {"unauthorized": before["unauthorized"] + 1, "forbidden": before["forbidden"] + 1}


def test_the_unmodified_triton_client_sends_a_key_as_a_header(guarded: Guarded, certificates: Certificates) -> None:
    """Predictions, metadata and the index, as without keys."""
    headers = {"authorization": f"Bearer {guarded.keys['predict']}"}
    tls = {"ssl": True, "ssl_options": {"ca_certs": certificates.authority}} if guarded.server.trust else {}
    with tritonclient.http.InferenceServerClient(guarded.server.address, **tls) as client:
        assert client.is_server_ready()
        assert client.get_model_metadata("sum_of_three", headers=headers)["name"] == "sum_of_three"
        assert len(client.get_model_repository_index(headers=headers)) == 1
        tensor = tritonclient.http.InferInput("addends", [1, 3], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 3), np.float32))
        assert client.infer("sum_of_three", [tensor], headers=headers).as_numpy("sum").shape == (1, 1)
        with pytest.raises(tritonclient.utils.InferenceServerException, match="valid key"):
            client.infer("sum_of_three", [tensor])


def forwardpass(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_key_is_made_by_the_command_and_serves(tmp_path: Path) -> None:
    """Added to a file, or shown with what belongs there; the file has nothing to call with."""
    path = tmp_path / "keys.toml"
    added = forwardpass("key", "mine", "--scope", "predict", "--scope", "metrics", "--file", path)
    assert re.fullmatch(r"fp_\S{43}\n", added.stdout)
    shown = forwardpass("key", "scraper", "--scope", "metrics")
    key, _, lines = shown.stdout.partition("\n")
    with path.open("a") as file:
        file.write(lines[lines.index("[scraper]") :])
    assert added.stdout.strip() not in path.read_text()
    with running("--models", str(MODEL), "--keys", str(path)) as server, server.client() as client:
        for one, expected in ((added.stdout.strip(), 200), (key, 403)):
            headers = {"authorization": f"Bearer {one}"}
            assert client.post(PREDICT, content=ROW, headers=headers).status_code == expected
            assert client.get("/metrics", headers=headers).status_code == 200


def test_only_the_key_for_it_takes_a_model_away(tmp_path: Path) -> None:
    """What others ask for leaves it as it is."""
    path = tmp_path / "keys.toml"
    clerk, chief = make_key("clerk", ["predict", "metrics"]), make_key("chief", ["admin", "predict"])
    for key in (clerk, chief):
        add_key(path, key)
    flags = ["--models", str(MODEL), "--keys", str(path), "--model-control", "explicit"]
    with running(*flags) as server, server.client() as client:

        def post(path: str, key: NewKey | None) -> int:
            headers = {} if key is None else {"authorization": f"Bearer {key.text}"}
            return client.post(path, headers=headers, content=body_for(path)).status_code

        control = "/v2/repository/models/sum_of_three"
        assert [post(f"{control}/unload", key) for key in (None, clerk)] == [401, 403]
        assert post(PREDICT, clerk) == 200
        assert [post(f"{control}/unload", chief), post(PREDICT, clerk)] == [200, 503]
        assert [post(f"{control}/load", key) for key in (None, clerk, chief)] == [401, 403, 200]
        assert post(PREDICT, clerk) == 200


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a b", "--scope", "predict"], "'a b' is no name of a key"),
        (["a", "--scope", "all"], "the key a has the scope 'all': the scopes are predict, metrics, admin"),
        (["a", "--scope", "predict", "--file", "/"], "the file of keys / cannot be read: Is a directory"),
    ],
)
def test_a_key_that_cannot_be_is_told(arguments: list[str], sentence: str) -> None:
    """In one line, with the status of a wrong call, and nothing else is said."""
    result = forwardpass("key", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("forwardpass: ")
    assert len(result.stderr.splitlines()) == 1
    assert sentence in result.stderr


def test_a_server_does_not_start_without_the_keys_that_it_shall_ask_for(tmp_path: Path) -> None:
    """Rather than answer everybody, or nobody."""
    for text in (None, "", "[a]"):
        path = tmp_path / "keys.toml"
        if text is not None:
            path.write_text(text)
        result = forwardpass("serve", "--models", MODEL, "--port", "0", "--keys", path)
        assert result.returncode == 2
        assert f"the file of keys {path}" in result.stderr
