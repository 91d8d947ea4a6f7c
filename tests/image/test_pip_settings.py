"""What a build is lent of this machine's pip settings."""

from pathlib import Path

from tests.image.pip_settings import local_paths


def test_what_they_name_of_this_machine_is_found(tmp_path: Path) -> None:
    """Files, folders, and of an index the folder in which its pages and packages lie; nothing that is not there."""
    for name in ("wheels", "index/simple", "spaced out"):
        (tmp_path / name).mkdir(parents=True)
    certificate = tmp_path / "authority.pem"
    certificate.touch()
    sections = {
        "global": {
            "cert": str(certificate),
            "extra-index-url": f"file://{tmp_path}/index/simple https://packages.invalid/simple",
            "timeout": "180",
        },
        "install": {"find-links": f"{tmp_path}/wheels\nfile://{tmp_path}/spaced%20out\n/nowhere/at/all"},
    }
    assert local_paths(sections) == {certificate, *(tmp_path / name for name in ("wheels", "index", "spaced out"))}


def test_where_there_are_none_nothing_is_lent() -> None:
    """A build finds its packages as anybody does."""
    assert local_paths({"global": {}}) == set()
