"""What the OpenAPI document promises, held against a real server by schemathesis."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import running
from tests.zoo import publish_zoo

CONFIGURATION = """
# What a client sends is never answered by a fault of the server's own, and a body may be refused for its size alone.
checks.negative_data_rejection.expected-statuses = [400, 404, 405, 413, 415]
# 404 where a path takes any name.
checks.positive_data_acceptance.expected-statuses = [200, 404]

[[operations]]
# That a tensor's data fill its shape cannot be said in a schema.
include-path-regex = "^/v2/models/[a-z0-9_]+/infer$"
checks.positive_data_acceptance.enabled = false

[[operations]]
# Nor that rows of any length are all of one length.
include-path = "/v1/models/tokens:predict"
checks.positive_data_acceptance.enabled = false

[[operations]]
# A server that follows what lies on disk refuses these always.
include-path-regex = "^/v2/repository/models/[^/]+/(load|unload)$"
checks.positive_data_acceptance.enabled = false
"""


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Every path answers as documented, to valid and to invalid requests: all checks of all phases, bounded in number.

    A model of each way that rows and tensors can look is served; an exception among the checks has its reason above.
    """
    models = tmp_path / "models"
    publish_zoo(models, ("BOOL", "UINT8", "INT64", "FP16", "FP64", "BF16", "BYTES"))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    program = Path(sys.executable).with_name("schemathesis")
    # No setting of the caller's own environment reaches it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCHEMATHESIS_")}
    with running("--models", str(models)) as server:
        result = subprocess.run(
            [program, "run", f"{server.url}/openapi.json", "--max-examples", "10", "--seed", "1", "--no-color"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert server.process.poll() is None
        assert not [line for line in server.log if "Traceback" in line]
    if result.returncode != 0:
        pytest.fail(f"{result.stdout}\n{result.stderr}", pytrace=False)
