"""The pip settings of this machine, lent to the builds of an image: they are no matter of the repository's."""

import ast
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ENVIRONMENT = ":env:"
"""How pip calls the section of what the environment says."""
_INDICES = ("index-url", "extra-index-url")


def volumes(scratch: Path) -> list[str]:
    """What a build must see of this machine for pip to find what it finds here, as `--volume` takes it.

    These are a settings file, which is written into `scratch`, and every local path that it names, each at its own
    place. On a machine without settings there is none.
    """
    sections = settings()
    if not any(sections.values()):
        return []
    file = scratch / "pip.conf"
    parser = RawConfigParser()
    parser.read_dict(sections)
    with file.open("w") as stream:
        parser.write(stream)
    return [f"{file}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in sorted(local_paths(sections)))]


def settings() -> dict[str, dict[str, str]]:
    """All settings by section; those of the environment stand in `global`, and in place of all others."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    sections: dict[str, dict[str, str]] = {"global": {}}
    for line in lines:
        name, _, value = line.partition("=")
        place, _, key = name.rpartition(".")
        sections.setdefault(place, {})[key] = ast.literal_eval(value)
    environment = sections.pop(_ENVIRONMENT, {})
    for section in sections.values():
        for key in environment.keys() & section.keys():
            del section[key]
    sections["global"] |= environment
    return sections


def local_paths(sections: dict[str, dict[str, str]]) -> set[Path]:
    """The files and folders of this machine that values name; of an index the folder above, where its links lead."""
    found = set()
    for section in sections.values():
        for key, value in section.items():
            for word in value.split():
                url = urlsplit(word)
                path = Path(unquote(url.path))
                if url.scheme in ("", "file") and path.is_absolute() and path.exists():
                    found.add(path.parent if key in _INDICES else path)
    return found
