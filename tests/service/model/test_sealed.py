"""Behaviour of service.model.sealed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.model.sealed import Sealed, sealed
from tests.service.model.conftest import copies_held, copies_held_before


def made(*parts: bytes) -> Sealed:
    """A sealed copy; this system has them."""
    copy = sealed(iter(parts))
    assert isinstance(copy, Sealed)
    return copy


@pytest.mark.parametrize("parts", [(), (b"",), (b"one",), (b"one", b"", b" and ", b"another")])
def test_its_path_leads_to_the_bytes(parts: tuple[bytes, ...]) -> None:
    """To all of them, in order, as often as it is opened."""
    copy = made(*parts)
    for _ in range(2):
        assert Path(copy.path).read_bytes() == b"".join(parts)


def test_nobody_can_change_it() -> None:
    """It can be neither written to, nor cut short, nor made longer, nor opened for that again."""
    copy = made(b"content")
    with pytest.raises(PermissionError):
        Path(copy.path).write_bytes(b"other")
    file = os.open(copy.path, os.O_RDWR)
    try:
        for harm in (
            lambda: os.pwrite(file, b"o", 0),
            lambda: os.pwrite(file, b"longer", 7),
            lambda: os.truncate(file, 1),
            lambda: os.truncate(file, 100),
        ):
            with pytest.raises(PermissionError):
                harm()
    finally:
        os.close(file)
    assert Path(copy.path).read_bytes() == b"content"


def test_it_goes_with_the_last_who_refers_to_it() -> None:
    """The process holds neither its memory nor its path."""
    before = copies_held_before()
    copy = made(b"content")
    assert copies_held() == before + 1
    del copy
    assert copies_held() == before


def test_where_a_part_fails_nothing_is_held() -> None:
    """The error goes to whoever asked for the copy."""

    def failing() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("no more")

    before = copies_held_before()
    with pytest.raises(ValueError, match="no more"):
        sealed(failing())
    assert copies_held() == before


def test_a_system_without_them_gives_bytes() -> None:
    """They can be loaded as well."""
    program = "import os; del os.memfd_create\nfrom service.model.sealed import sealed\nprint(sealed([b'one', b'two']))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "b'onetwo'\n"
