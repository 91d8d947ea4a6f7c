"""The TLS of a server's connections, made of the settings before anything is loaded."""

import os
import ssl
from pathlib import Path

from service.config import Settings, names_of
from service.errors import SettingsError

_LONGEST_PASSWORD = 1024
"""Bytes; OpenSSL takes no more."""


def context(settings: Settings) -> ssl.SSLContext | None:
    """What each connection begins with; None where the settings name no certificate, and connections are plain.

    TLS is of version 1.2 or newer. Raises `SettingsError` for a file that is not what its setting says.
    """
    if settings.tls_certificate is None:
        for name in ("tls_key", "tls_key_password", "tls_client_ca"):
            if getattr(settings, name) is not None:
                raise SettingsError(f"{name} ({names_of(name)}) is set, but tls_certificate is not: set both or none")
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # Looked at by itself first, for what is said of the two together is not whose fault it is.
    _load_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "tls_certificate", settings.tls_certificate)
    present(made, settings, settings.tls_certificate)
    if settings.tls_client_ca is not None:
        _load_certificates(made, "tls_client_ca", settings.tls_client_ca)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def _load_certificates(made: ssl.SSLContext, name: str, path: Path) -> None:
    """Trust the certificates in the file that a setting names."""
    _require_file(name, path)
    try:
        made.load_verify_locations(path)
    except ssl.SSLError:
        raise SettingsError(f"{name} ({names_of(name)}) is {path}, which has no certificate in PEM form") from None


def present(made: ssl.SSLContext, settings: Settings, certificate: Path) -> None:
    """Have the certificate shown, whose private key the settings name; raises `SettingsError` where it cannot be."""
    secret = settings.tls_key_password
    password = b"" if secret is None else secret.get_secret_value().encode()
    if len(password) > _LONGEST_PASSWORD:
        name = "tls_key_password"
        raise SettingsError(f"{name} ({names_of(name)}) has more than the {_LONGEST_PASSWORD} bytes that OpenSSL takes")
    name, path = "tls_key", settings.tls_key
    if path is None:
        name, path = "tls_certificate", certificate
    _require_file(name, path)
    try:
        # Without a password OpenSSL would ask whoever sits at the terminal.
        made.load_cert_chain(certificate, path, lambda: password)
    except ssl.SSLError as error:
        what = "has no private key in PEM form that opens "
        what += "without a password" if secret is None else "with the password that is set"
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"does not have the private key of the certificate in {certificate}"
        raise SettingsError(f"{name} ({names_of(name)}) is {path}, which {what}") from None


def _require_file(name: str, path: Path) -> None:
    """Raise `SettingsError` where a file cannot be read."""
    try:
        path.read_bytes()
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else error
        raise SettingsError(f"{name} ({names_of(name)}) is {path}: {reason}") from None
