"""The base image of the Dockerfile, made of Debian packages: no registry of images is needed."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

SUITES = {"3.11": "bookworm"}
"""The suite of Debian that has a Python, for each that one has."""
PACKAGES = ("python3-venv", "python3-pip", "ca-certificates")
"""What is in the base image beside what every Debian has."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_of(dockerfile: Path) -> tuple[str, str]:
    """The name of the image that a Dockerfile begins from, and the suite of Debian that stands for it.

    Raises `AssertionError` where no suite has its Python.
    """
    found = re.search(r"^FROM (python:([\d.]+)-slim) AS base$", dockerfile.read_text(), re.MULTILINE)
    assert found, f"{dockerfile} should begin from python:<version>-slim, as base"
    image, version = found.groups()
    assert version in SUITES, f"no suite of Debian has Python {version}, which {image} has: there are {SUITES}"
    return image, SUITES[version]


def make_base(podman: Sequence[str], image: str, suite: str) -> None:
    """Import a Debian with Python under the name of an image; nothing is done where it is there."""
    if subprocess.run([*podman, "image", "exists", image], check=False).returncode == 0:
        return
    # Like the official image this one has libstdc++, which comes with apt.
    debian = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}", suite, "-"]
    # It ends its process group where it fails.
    with subprocess.Popen(debian, stdout=subprocess.PIPE, start_new_session=True) as making:
        imported = subprocess.run(
            [*podman, "import", "--quiet", "--change", f"ENV PATH={PATH}", "-", image],
            stdin=making.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    if making.returncode or imported.returncode:
        subprocess.run([*podman, "rmi", "--force", image], capture_output=True, check=False)
        raise AssertionError(f"the base image could not be made of Debian {suite}: {imported.stderr}")
