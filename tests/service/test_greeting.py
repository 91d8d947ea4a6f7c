"""Behaviour of service.greeting."""

from pathlib import Path

from service.config import Settings
from service.cpu import Cpus, Quota
from service.greeting import fields, table

CPUS = Cpus(8, Quota(2.5, Path("cpu.max")))


def test_the_table_says_what_there_is() -> None:
    """Models with the versions that answer, what computes them, and what is taken."""
    models = {"line": ["1", "3"], "binary_classifier": ["2"], "broken": []}
    assert table(Settings(threads=2), models, CPUS) == [
        "line               versions 1, 3",
        "binary_classifier  version 2",
        "broken             not served",
        "computed by        cpu, 2 threads a run; 2 CPUs to use",
        "at most            16 MiB a body, 32,768 rows waiting for a model, 10,000 connections",
    ]


def test_several_workers_are_told() -> None:
    """One is what everybody expects."""
    assert "computed by  cpu, 4 workers, 1 thread a run; 2 CPUs to use" in table(Settings(workers=4), {}, CPUS)


def test_many_models_are_cut() -> None:
    """The log is no index."""
    lines = table(Settings(), {f"model_{number}": ["1"] for number in range(100)}, CPUS)
    assert len(lines) == 23
    assert lines[20] == "… 80 more    at /v2/repository/index"


def test_a_program_has_all_of_it() -> None:
    """As numbers, and every model."""
    models = {f"model_{number}": ["1"] for number in range(100)}
    assert fields(Settings(), models, CPUS) == {
        "models": models,
        "provider": "cpu",
        "workers": 1,
        "threads": 1,
        "cpus": 2,
        "max_body": 16 * 1024 * 1024,
        "max_queue": 32768,
        "max_connections": 10_000,
    }
