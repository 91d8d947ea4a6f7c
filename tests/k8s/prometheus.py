"""A real Prometheus that asks a running server for its metrics."""

import json
import math
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


def find(program: str) -> str:
    """Where a program of Prometheus is."""
    path = shutil.which(program)
    assert path, f"{program} is missing: make prometheus installs it"
    return path


class Prometheus:
    """What can be asked of it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ask(self, expression: str) -> list[float]:
        """The numbers that an expression gives now, without those that are none."""
        reply = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert reply["status"] == "success", f"{expression}: {reply['error']}"
        numbers = [float(series["value"][1]) for series in reply["data"]["result"]]
        return [number for number in numbers if math.isfinite(number)]

    def label_values(self, label: str, series: str) -> list[str]:
        """The values that a label has in some series."""
        reply = self._client.get(f"/api/v1/label/{label}/values", params={"match[]": series}).json()
        return list(reply["data"])


@contextmanager
def prometheus(folder: Path, address: str, labels: dict[str, str]) -> Iterator[Prometheus]:
    """A Prometheus that looks at the server at `address` twice a second, as a target with these labels."""
    target = {"targets": [address], "labels": labels}
    scrape: dict[str, Any] = {"job_name": "forwardpass", "scrape_interval": "500ms", "scrape_timeout": "500ms"}
    config = {"scrape_configs": [scrape | {"static_configs": [target]}]}
    # JSON is YAML.
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    command = [
        find("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
    ]
    process = subprocess.Popen(
        [*command, "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, text=True, cwd=folder
    )
    assert process.stderr is not None
    reader = None
    try:
        log = []
        for line in process.stderr:
            log.append(line)
            if found := _LISTENING.search(line):
                break
        else:
            raise AssertionError("".join(log))
        # Nobody may be held up by a full pipe.
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        with httpx.Client(base_url=f"http://{found[1]}", timeout=10) as client:
            yield Prometheus(client)
    finally:
        process.kill()
        process.wait()
        if reader is not None:
            reader.join()
        process.stderr.close()
