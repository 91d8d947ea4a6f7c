"""Behaviour of service.selection."""

from pathlib import Path

import pytest

from service.errors import SettingsError
from service.selection import Selection

FOUND = {
    "digits": {1: Path("digits/1"), 2: Path("digits/2"), 10: Path("digits/10")},
    "line": {1: Path("line/1"), 3: Path("line/3")},
}


@pytest.mark.parametrize(
    ("setting", "digits", "line"),
    [
        ("latest", ["10"], ["3"]),
        ("all", ["1", "2", "10"], ["1", "3"]),
        ("digits:1", ["1"], ["3"]),
        ("digits:10+2, line:1", ["2", "10"], ["1"]),
        ("digits:7", [], ["3"]),
    ],
)
def test_the_setting_selects(setting: str, digits: list[str], line: list[str]) -> None:
    """The latest of each model, all, or those that are named; ascending, with the place of each."""
    selection = Selection(setting)
    chosen = {name: selection.of(name, versions) for name, versions in FOUND.items()}
    assert {name: list(versions) for name, versions in chosen.items()} == {"digits": digits, "line": line}
    assert all(place == FOUND[name][int(version)] for name in chosen for version, place in chosen[name].items())
    assert selection.of("digits", {}) == {}


@pytest.mark.parametrize(
    "setting",
    [
        "newest",
        "",
        "digits",
        "digits:",
        ":1",
        "digits:0",
        "digits:01",
        "digits:-1",
        "digits:x",
        "digits:1+",
        "a:1,,b:1",
    ],
)
def test_a_setting_that_cannot_be_read_is_told(setting: str) -> None:
    """With what it should be."""
    with pytest.raises(
        SettingsError, match="expected latest, all, or models with their versions, such as digits:1,bin"
    ):
        Selection(setting)


def test_a_model_is_named_once() -> None:
    """Nobody could say which of two lists is meant."""
    with pytest.raises(SettingsError, match=r"versions names digits twice: join its versions by \+"):
        Selection("digits:1,digits:2")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("lime:1", "versions names 'lime', which is no model: the models are digits, line"),
        ("digits:1+7", "versions names digits version 7: there is 1, 2, 10"),
    ],
)
def test_what_is_named_must_be_there(setting: str, said: str) -> None:
    """At the start, where a slip can be mended."""
    with pytest.raises(SettingsError) as caught:
        Selection(setting).require(FOUND)
    assert caught.value.message == said
    Selection("digits:1+2,line:3").require(FOUND)
