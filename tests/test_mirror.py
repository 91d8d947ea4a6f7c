"""The tests mirror the rooms: one test file for each module, in the same place."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("service", "training")
MODULES = [
    path.relative_to(ROOT)
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    # A package's own file holds nothing, or what the tests of its modules see; a command line is run as a process.
    if path.name not in ("__init__.py", "__main__.py")
]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_a_test_file_of_its_name(module: Path) -> None:
    """A reader finds the tests of `service/x.py` in `tests/service/test_x.py`."""
    mirror = ROOT / "tests" / module.parent / f"test_{module.name}"
    assert mirror.exists(), f"{module} has no {mirror.relative_to(ROOT)}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_test_file_of_a_room_has_its_module(room: str) -> None:
    """No test file outlives the module it was written for."""
    for path in (ROOT / "tests" / room).rglob("test_*.py"):
        name = path.name.removeprefix("test_")
        place = ROOT / path.parent.relative_to(ROOT / "tests")
        # The tests of a package's __init__.py carry the package's name.
        candidates = (place / name, place / name.removesuffix(".py") / "__init__.py")
        assert any(candidate.exists() for candidate in candidates), f"{path.relative_to(ROOT)} tests nothing"
