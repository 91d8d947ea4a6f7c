"""Behaviour of service.http.configuration."""

import logging
from pathlib import Path

import pytest
import uvicorn

from service.config import Settings
from service.http.app import create_app
from service.http.configuration import WRITTEN_AGAINST, configure
from service.http.guard import Guard
from service.http.lane import Lane
from tests.service.conftest import serving


@pytest.mark.parametrize(("lane", "kind"), [("on", Lane), ("off", Guard)])
def test_the_setting_chooses_the_way(lane: str, kind: type[Guard], samples: Path) -> None:
    """Both are guarded; only one answers predictions by itself."""
    config = configure(create_app(Settings(models=samples, lane=lane)))
    config.load()
    assert config.http_protocol_class.func is kind  # type: ignore[attr-defined]  # what is bound


def test_the_installed_uvicorn_is_the_one_it_is_written_against() -> None:
    """The lock and the code name the same release."""
    assert uvicorn.__version__.startswith(WRITTEN_AGAINST)


def test_another_uvicorn_serves_by_its_own_protocol(
    samples: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and everything is answered."""
    monkeypatch.setattr(uvicorn, "__version__", "0.99.1")
    with caplog.at_level(logging.WARNING):
        app = create_app(Settings(models=samples))
        with serving(app) as client:
            reply = client.post("/v1/models/line:predict", json={"instances": [[1, 2]]})
    assert reply.json() == {"predictions": [-2.0]}
    assert "uvicorn is 0.99.1" in caplog.text
