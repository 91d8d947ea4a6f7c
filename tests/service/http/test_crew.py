"""Behaviour of service.http.crew: what of it needs no processes. tests/test_workers.py has the rest."""

from pathlib import Path

import pytest

from service.config import Settings
from service.http.app import create_app
from service.http.configuration import configure
from service.http.crew import Crew
from service.http.listeners import Listeners
from service.http.server import Server


def test_the_supervisor_serves_nothing(samples: Path) -> None:
    """It counts who is replaced, on the page of all, and keeps no socket open that a worker has closed."""
    settings = Settings(models=samples, workers=2)
    app = create_app(settings)
    listeners = Listeners("127.0.0.1", 0, 2)
    crew = Crew(Server(configure(app)), listeners, app.state.metrics)
    crew.replaced()
    crew.replaced()
    assert app.state.metrics.restarts.by_labels == {(): 2}
    before = listeners.of(1)
    crew.rest(1)
    assert before.fileno() == -1
    assert listeners.of(1).getsockname() == listeners.of(0).getsockname()
    crew.end()
    with pytest.raises(OSError, match="Bad file descriptor"):
        listeners.of(1).getsockname()
