"""The keys that callers must have where the operator asks for them, of which only SHA-256 sums are kept."""

import hmac
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

from service.errors import SettingsError

KeyScope = Literal["predict", "metrics", "admin"]
"""What a key is for; none of them includes another."""
SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)

_KEY_BYTES = 32
_PREFIX = "fp_"
"""What keys begin with, for those who look for secrets where none should be."""
_SCHEME = b"bearer"
_MOST = 1024 * 1024
"""Bytes of a file of keys: thousands of them."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SUM = re.compile(r"[0-9a-fA-F]{64}")


class Entry(NamedTuple):
    """What is kept of a key."""

    digest: bytes
    """SHA-256 of the key as it is sent."""
    scopes: frozenset[KeyScope]


class NewKey(NamedTuple):
    """A key that nobody has yet."""

    text: str
    """What its caller sends. It cannot be had again."""
    lines: str
    """What belongs into the file of keys."""


class KeyRing:
    """The keys that are valid, by what they are for."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The keys in a file; raises `SettingsError` for one that has none, is not sound, or that anybody may write.

        Whoever reads it learns no key: nobody finds 256 random bits by their sum.
        """
        entries = _parse(path, _read(path))
        if not entries:
            raise SettingsError(f"the file of keys {path} has no key: `forwardpass key` makes one")
        return cls(list(entries.values()))

    def scopes_of(self, authorization: bytes | None) -> frozenset[KeyScope] | None:
        """What the key in a header `Authorization` is for; None where there is none, or it is not valid.

        It takes as long for one key as for another: each is compared whole, and with all.
        """
        scheme, _, rest = (authorization or b"").partition(b" ")
        key = rest.strip(b" ")
        if scheme.lower() != _SCHEME or not key:
            return None
        digest, found = sha256(key).digest(), None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.scopes
        return found

    def allows(self, authorization: bytes | None, scope: KeyScope) -> bool:
        """Whether a header `Authorization` has a key with this scope."""
        scopes = self.scopes_of(authorization)
        return scopes is not None and scope in scopes


def make_key(name: str, scopes: Sequence[str]) -> NewKey:
    """A key of 256 random bits; raises `SettingsError` for a name or scopes that a file of keys cannot have."""
    _check_name("a key", name)
    _scopes(f"the key {name}", list(scopes))
    text = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    listed = ", ".join(f'"{scope}"' for scope in dict.fromkeys(scopes))
    return NewKey(text, f'[{name}]\nsha256 = "{sha256(text.encode()).hexdigest()}"\nscopes = [{listed}]\n')


def add_key(path: Path, key: NewKey) -> None:
    """Write a new key behind those in a file, which is made where there is none, for its owner alone.

    Raises `SettingsError`, and writes nothing, where the file is not sound or has a key of that name.
    """
    before = _read(path) if path.exists() else ""
    gap = "\n" if before.endswith("\n") else "\n\n"
    addition = f"{gap}{key.lines}" if before else key.lines
    _parse(path, before + addition)
    try:
        # At its end and in one piece, so that two who write at the same time lose nothing.
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
        with open(number, "wb") as file:  # noqa: PTH123  # a file that is open
            file.write(addition.encode())
    except OSError as error:
        raise SettingsError(f"the file of keys {path} cannot be written: {error.strerror}") from None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content, mode = file.read(_MOST + 1), os.fstat(file.fileno()).st_mode
        text = content.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"the file of keys {path} is no text in UTF-8") from None
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else error
        raise SettingsError(f"the file of keys {path} cannot be read: {reason}") from None
    if len(content) > _MOST:
        raise SettingsError(f"the file of keys {path} has more than {_MOST} bytes: is it another file?")
    if mode & stat.S_IWOTH:
        raise SettingsError(f"the file of keys {path} may be written by anybody, who could add a key: chmod o-w {path}")
    return text


def _parse(path: Path, text: str) -> dict[str, Entry]:
    """The keys in the text of a file, by name."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"the file of keys {path} is no TOML: {error}") from None
    entries: dict[str, Entry] = {}
    owners: dict[bytes, str] = {}
    for name, table in tables.items():
        entry = _entry(f"the file of keys {path}", name, table)
        other = owners.setdefault(entry.digest, name)
        if other != name:
            raise SettingsError(f"the file of keys {path}: {other} and {name} are the same key")
        entries[name] = entry
    return entries


def _entry(place: str, name: str, table: Any) -> Entry:  # noqa: ANN401  # whatever TOML has
    _check_name(place, name)
    place = f"{place}: {name}"
    if not isinstance(table, Mapping):
        raise SettingsError(f"{place} is no table: each key is one, [name] with sha256 and scopes")
    if unknown := sorted(table.keys() - {"sha256", "scopes"}):
        raise SettingsError(f"{place} has {', '.join(unknown)}: a key has sha256 and scopes, and nothing else")
    digest = table.get("sha256")
    if not isinstance(digest, str) or not _SUM.fullmatch(digest):
        # What stands there is repeated to nobody: it may be the key itself.
        raise SettingsError(f"{place} has no sha256 of 64 hexadecimal digits")
    return Entry(bytes.fromhex(digest), _scopes(place, table.get("scopes")))


def _check_name(place: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{place}: {name[:80]!r} is no name of a key: 1 to 64 letters, digits, - and _")


def _scopes(place: str, given: Any) -> frozenset[KeyScope]:  # noqa: ANN401  # whatever TOML has
    known = ", ".join(SCOPES)
    if not isinstance(given, list) or not given:
        raise SettingsError(f"{place} has no list of scopes: they are {known}")
    for scope in given:
        if scope not in SCOPES:
            raise SettingsError(f"{place} has the scope {str(scope)[:80]!r}: the scopes are {known}")
    return frozenset(given)
