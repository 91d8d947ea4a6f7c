"""Certificates for tests of TLS, made when they are needed: no private key lies in the repository."""

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

PASSWORD = "a password for tests"  # noqa: S105  # of keys that live as long as a test
_CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


class Certificates(NamedTuple):
    """Files in PEM form, of an authority, a server on this machine and a client."""

    authority: Path
    server: Path
    server_key: Path
    locked_key: Path
    """The server's key again, encrypted with `PASSWORD`."""
    client: Path
    """A certificate with its key."""

    def trust(self, *, with_client: bool = False) -> ssl.SSLContext:
        """What a client of the server needs; with or without a certificate of its own."""
        context = ssl.create_default_context(cafile=self.authority)
        if with_client:
            context.load_cert_chain(self.client)
        return context


def make_certificates(folder: Path) -> Certificates:
    """New certificates in a folder; they last a day."""
    authority, authority_key = folder / "authority.pem", folder / "authority.key"
    _openssl("req", "-x509", *_CURVE, "-nodes", "-days", "1", "-subj", "/CN=authority",
             "-keyout", authority_key, "-out", authority)  # fmt: skip
    for name in ("server", "client"):
        _openssl("req", "-x509", *_CURVE, "-nodes", "-days", "1", "-subj", f"/CN={name}",
                 "-CA", authority, "-CAkey", authority_key,
                 "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
                 "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")  # fmt: skip
    locked, client = folder / "locked.key", folder / "client.both"
    _openssl("pkey", "-in", folder / "server.key", "-aes256", "-passout", f"pass:{PASSWORD}", "-out", locked)
    client.write_bytes((folder / "client.pem").read_bytes() + (folder / "client.key").read_bytes())
    return Certificates(authority, folder / "server.pem", folder / "server.key", locked, client)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)  # noqa: S607  # wherever it is installed
