"""Behaviour of service.keys."""

import re
import stat
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import SettingsError
from service.keys import SCOPES, Entry, KeyRing, KeyScope, NewKey, add_key, make_key

SUM = "0" * 64
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
SETS = st.lists(st.sampled_from(SCOPES), min_size=1, max_size=5)


def ring(*keys: tuple[NewKey, list[KeyScope]]) -> KeyRing:
    """The ring of these keys."""
    return KeyRing([Entry(sha256(key.text.encode()).digest(), frozenset(scopes)) for key, scopes in keys])


def write(folder: Path, text: str) -> Path:
    """A file of keys."""
    path = folder / "keys.toml"
    path.write_text(text)
    return path


def complaint(path: Path) -> str:
    """The one sentence with which a file of keys is refused."""
    with pytest.raises(SettingsError) as caught:
        KeyRing.load(path)
    assert len(caught.value.message.splitlines()) == 1
    return caught.value.message


@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True), data=st.data())
def test_what_is_made_is_read_and_is_for_its_scopes_only(
    names: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file to which keys were added one by one knows each of them, whatever they are called."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    made = {name: (make_key(name, chosen), chosen) for name in names if (chosen := data.draw(SETS))}
    for key, _ in made.values():
        add_key(path, key)
    keys = KeyRing.load(path)
    for key, chosen in made.values():
        header = f"Bearer {key.text}".encode()
        assert keys.scopes_of(header) == frozenset(chosen)
        assert [scope for scope in SCOPES if keys.allows(header, scope)] == [one for one in SCOPES if one in chosen]
        assert key.text not in path.read_text()


def test_a_key_has_256_random_bits_and_can_be_told_from_other_text() -> None:
    """No two are alike, and each needs no quoting anywhere."""
    texts = {make_key("a", ["predict"]).text for _ in range(100)}
    assert len(texts) == 100
    assert all(re.fullmatch(r"fp_[A-Za-z0-9_-]{43}", text) for text in texts)


def test_the_lines_of_a_key_have_its_sum_and_each_scope_once() -> None:
    """They are a table of TOML, and the key is not in it."""
    key = make_key("scraper", ["metrics", "predict", "metrics"])
    table = {"sha256": sha256(key.text.encode()).hexdigest(), "scopes": ["metrics", "predict"]}
    assert tomllib.loads(key.lines) == {"scraper": table}


@given(header=st.none() | st.binary(max_size=100) | st.binary(max_size=60).map(lambda rest: b"Bearer " + rest))
def test_no_other_header_is_known(header: bytes | None) -> None:
    """Whatever comes in the place of a key."""
    keys = ring((make_key("a", ["predict"]), ["predict"]))
    assert keys.scopes_of(header) is None
    assert not any(keys.allows(header, scope) for scope in SCOPES)


@given(place=st.integers(0, 45), octet=st.integers(0, 255))
def test_a_key_that_differs_in_one_byte_is_unknown(place: int, octet: int) -> None:
    """Wherever it differs."""
    key = make_key("a", ["predict"])
    text = key.text.encode()
    other = text[:place] + bytes([octet]) + text[place + 1 :]
    assert (ring((key, ["predict"])).scopes_of(b"Bearer " + other) is not None) == (other == text)


@pytest.mark.parametrize("form", ["Bearer %s", "bearer %s", "BEARER %s", "Bearer   %s"])
def test_the_scheme_has_no_case(form: str) -> None:
    """RFC 9110, 11.1; and between it and the key may be more than one space."""
    key = make_key("a", ["predict"])
    assert ring((key, ["predict"])).allows((form % key.text).encode(), "predict")


@pytest.mark.parametrize(
    "form",
    [
        "%s",
        "Basic %s",
        "Bearer",
        "Bearer ",
        "Bearer%s",
        "Bearer\t%s",
        "Bearer %s x",
        "Bearer %s,Bearer %s",
        'Bearer "%s"',
    ],
)
def test_a_key_in_another_form_is_none(form: str) -> None:
    """A header is one scheme and one key."""
    key = make_key("a", ["predict"])
    header = form.replace("%s", key.text).encode()
    assert ring((key, ["predict"])).scopes_of(header) is None


def test_the_sum_of_a_key_opens_nothing() -> None:
    """Whoever has read the file cannot call."""
    key = make_key("a", ["predict"])
    digest = sha256(key.text.encode())
    for text in (digest.hexdigest().encode(), digest.digest()):
        assert ring((key, ["predict"])).scopes_of(b"Bearer " + text) is None


def test_the_sum_of_nothing_opens_nothing(tmp_path: Path) -> None:
    """A request without a key stays one."""
    keys = KeyRing.load(write(tmp_path, f'[a]\nsha256 = "{sha256().hexdigest()}"\nscopes = ["predict"]'))
    for header in (None, b"", b"Bearer", b"Bearer ", b"Bearer  "):
        assert keys.scopes_of(header) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no key: `forwardpass key` makes one"),
        ("# nothing", "has no key"),
        ("[a", "is no TOML"),
        (f"a = 1{'0' * 5000}", "is no TOML"),
        ("a = 1", "a is no table"),
        (f'[a]\nsha256 = "{SUM}"', "a has no list of scopes: they are predict, metrics, admin"),
        (f'[a]\nsha256 = "{SUM}"\nscopes = []', "a has no list of scopes"),
        (f'[a]\nsha256 = "{SUM}"\nscopes = "predict"', "a has no list of scopes"),
        (f'[a]\nsha256 = "{SUM}"\nscopes = ["all"]', "a has the scope 'all': the scopes are predict, metrics, admin"),
        (f'[a]\nsha256 = "{SUM}"\nscopes = ["predict", ["admin"]]', "a has the scope \"['admin']\""),
        ('[a]\nscopes = ["predict"]', "a has no sha256 of 64 hexadecimal digits"),
        ('[a]\nsha256 = 1\nscopes = ["predict"]', "a has no sha256"),
        (f'[a]\nsha256 = "{SUM}0"\nscopes = ["predict"]', "a has no sha256"),
        (f'[a]\nsha256 = "{SUM}"\nscopes = ["predict"]\nexpires = 2030-01-01', "a has expires: a key has sha256 and"),
        (f'["a b"]\nsha256 = "{SUM}"\nscopes = ["predict"]', "'a b' is no name of a key"),
        pytest.param("a = " + "[" * 10_000, "is no TOML", id="deep"),
        pytest.param("#" * 2**20 + "\n", "has more than 1048576 bytes", id="large"),
        (f'[{"a" * 65}]\nsha256 = "{SUM}"\nscopes = ["predict"]', "is no name of a key"),
        (f'[a]\nsha256 = "{SUM}"\nscopes = ["predict"]\n' * 2, "is no TOML"),
        (
            f'[a]\nsha256 = "{"ab" * 32}"\nscopes = ["predict"]\n[b]\nsha256 = "{"AB" * 32}"\nscopes = ["admin"]',
            "a and b are the same key",
        ),
    ],
)
def test_a_file_that_is_not_sound_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    """As a whole, with its name and that of the key."""
    path = write(tmp_path, text)
    assert f"the file of keys {path}" in complaint(path)
    assert sentence in complaint(path)


def test_what_stands_in_the_place_of_a_sum_is_not_repeated(tmp_path: Path) -> None:
    """It may be the key."""
    key = make_key("a", ["predict"]).text
    assert key not in complaint(write(tmp_path, f'[a]\nsha256 = "{key}"\nscopes = ["predict"]'))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """With the system's own words."""
    assert complaint(tmp_path / "gone").endswith("gone cannot be read: No such file or directory")
    assert complaint(tmp_path).endswith("cannot be read: Is a directory")
    assert "embedded null byte" in complaint(Path("a\0b"))
    (tmp_path / "binary").write_bytes(b"\xff")
    assert complaint(tmp_path / "binary").endswith("is no text in UTF-8")


def test_a_file_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    """Who adds a key to it has one; that anybody may read it is no harm."""
    path = tmp_path / "keys.toml"
    add_key(path, make_key("a", ["predict"]))
    path.chmod(0o646)
    assert complaint(path).endswith(f"may be written by anybody, who could add a key: chmod o-w {path}")
    path.chmod(0o644)
    KeyRing.load(path)


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the process lets others do with other files."""
    path = tmp_path / "keys.toml"
    add_key(path, make_key("a", ["predict"]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("before", ["", "# ours", "# ours\n", "\n\n"])
def test_a_key_is_added_behind_what_is_there(before: str, tmp_path: Path) -> None:
    """Whether or not the last line ends."""
    path = write(tmp_path, before)
    key = make_key("a", ["predict"])
    add_key(path, key)
    assert path.read_text().startswith(before)
    assert KeyRing.load(path).allows(f"Bearer {key.text}".encode(), "predict")


def test_a_key_is_added_to_no_file_that_is_not_sound_or_has_its_name(tmp_path: Path) -> None:
    """Nothing is written there."""
    key = make_key("a", ["predict"])
    for text in (make_key("a", ["admin"]).lines, "[b]", "[[a]]"):
        path = write(tmp_path, text)
        with pytest.raises(SettingsError):
            add_key(path, key)
        assert path.read_text() == text
    with pytest.raises(SettingsError, match="cannot be written: No such file"):
        add_key(tmp_path / "no" / "keys.toml", key)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ü", "a\n", "a" * 65])
def test_a_key_has_a_name_that_a_file_can_have(name: str) -> None:
    """Letters, digits and two signs."""
    with pytest.raises(SettingsError, match="is no name of a key"):
        make_key(name, ["predict"])


@pytest.mark.parametrize("scopes", [[], ["all"], ["predict", ""]])
def test_a_key_has_scopes_that_there_are(scopes: list[str]) -> None:
    """At least one, none of them unknown."""
    with pytest.raises(SettingsError, match="the key a has"):
        make_key("a", scopes)
