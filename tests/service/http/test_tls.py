"""Behaviour of service.http.tls."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from service.config import Settings
from service.errors import SettingsError
from service.http.tls import context
from tests.certificates import PASSWORD, Certificates


def test_without_a_certificate_there_is_no_tls() -> None:
    """The default."""
    assert context(Settings()) is None


@pytest.mark.parametrize("key", ["server_key", "locked_key", "same file"])
def test_a_certificate_makes_tls_of_version_1_2_or_newer(key: str, certificates: Certificates, tmp_path: Path) -> None:
    """Its key is a file by itself, encrypted or not, or stands in the same one."""
    if key == "same file":
        both = tmp_path / "both.pem"
        both.write_bytes(certificates.server.read_bytes() + certificates.server_key.read_bytes())
        made = context(Settings(tls_certificate=both))
    else:
        password = PASSWORD if key == "locked_key" else None
        path = getattr(certificates, key)
        made = context(
            Settings.model_validate(
                {"tls_certificate": certificates.server, "tls_key": path, "tls_key_password": password}
            )
        )
    assert made is not None
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert made.verify_mode == ssl.CERT_NONE


def test_an_authority_of_clients_makes_their_certificates_required(certificates: Certificates) -> None:
    """Whoever has none is not served."""
    settings = Settings(
        tls_certificate=certificates.server, tls_key=certificates.server_key, tls_client_ca=certificates.authority
    )
    made = context(settings)
    assert made is not None
    assert made.verify_mode == ssl.CERT_REQUIRED


Given = Callable[[Certificates, Path], dict[str, object]]

BAD: list[tuple[str, Given, str]] = [
    ("a key alone", lambda c, _: {"tls_key": c.server_key}, "tls_key .* is set, but tls_certificate is not"),
    ("a password alone", lambda _, __: {"tls_key_password": PASSWORD}, "tls_key_password .* is set, but"),
    ("an authority alone", lambda c, _: {"tls_client_ca": c.authority}, "tls_client_ca .* is set, but"),
    ("no certificate there", lambda _, d: {"tls_certificate": d / "no"}, "tls_certificate .*no: No such file"),
    ("a folder", lambda _, d: {"tls_certificate": d}, "tls_certificate .*: Is a directory"),
    ("no name of a file", lambda _, __: {"tls_certificate": "a\0b"}, "tls_certificate .*: embedded null byte"),
    ("a key as certificate", lambda c, _: {"tls_certificate": c.server_key}, "no certificate in PEM form"),
    ("nonsense", lambda _, d: {"tls_certificate": d / "nonsense"}, "no certificate in PEM form"),
    ("no key", lambda c, _: {"tls_certificate": c.server}, "tls_certificate .* no private key in PEM form"),
    ("no key there", lambda c, d: {"tls_certificate": c.server, "tls_key": d / "no"}, "tls_key .*: No such file"),
    ("nonsense as key", lambda c, d: {"tls_certificate": c.server, "tls_key": d / "nonsense"}, "tls_key .* no private"),
    (
        "another's key",
        lambda c, _: {"tls_certificate": c.authority, "tls_key": c.server_key},
        "tls_key .* does not have the private key of the certificate in",
    ),
    ("no password", lambda c, _: {"tls_certificate": c.server, "tls_key": c.locked_key}, "opens without a password"),
    (
        "a wrong password",
        lambda c, _: {"tls_certificate": c.server, "tls_key": c.locked_key, "tls_key_password": "wrong word"},
        "opens with the password that is set",
    ),
    (
        "a long password",
        lambda c, _: {"tls_certificate": c.server, "tls_key": c.locked_key, "tls_key_password": "ü" * 600},
        "more than the 1024 bytes",
    ),
    (
        "no authority there",
        lambda c, d: {"tls_certificate": c.server, "tls_key": c.server_key, "tls_client_ca": d / "no"},
        "tls_client_ca .*: No such file",
    ),
    (
        "nonsense as authority",
        lambda c, d: {"tls_certificate": c.server, "tls_key": c.server_key, "tls_client_ca": d / "nonsense"},
        "tls_client_ca .* no certificate in PEM form",
    ),
]


@pytest.mark.parametrize(("given", "sentence"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_cannot_be_is_told_with_the_setting(
    given: Given, sentence: str, certificates: Certificates, tmp_path: Path
) -> None:
    """In one line, which has the file and no password."""
    (tmp_path / "nonsense").write_text("nonsense")
    settings = Settings.model_validate(given(certificates, tmp_path))
    with pytest.raises(SettingsError, match=sentence) as caught:
        context(settings)
    assert len(caught.value.message.splitlines()) == 1
    for secret in (PASSWORD, "wrong word", "ü"):
        assert secret not in caught.value.message
