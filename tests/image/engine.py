"""What builds images and runs containers: Docker where its daemon answers, else buildah and podman."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.image.debian import base_of, make_base
from tests.image.pip_settings import volumes
from tests.server import ROOT, Server, free_port, running

DOCKERFILE = ROOT / "Dockerfile"
STORAGE = ROOT / ".image"
"""Where podman and buildah keep images and containers: apart from those of the machine."""
TOOLS = re.findall(r"^IMAGE_TOOLS = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
HARDENED = (
    *("--network", "host", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),  # noqa: S108  # in the container
    *("--security-opt", "no-new-privileges", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"),
)
"""How every container is run."""
SOON = 60
"""Seconds within which a container becomes what it shall be."""

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Container:
    """A running container with a server in it."""

    name: str
    server: Server


@dataclass(frozen=True)
class Engine:
    """The commands of one of them."""

    client: tuple[str, ...]
    """Runs containers."""
    builder: tuple[str, ...]
    health: tuple[str, ...]
    """Tells that of a container, whose name follows."""
    run_flags: tuple[str, ...] = ()

    def call(self, *arguments: str) -> str:
        """The output of a command of the client, which must succeed."""
        done = subprocess.run([*self.client, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def inspect(self, name: str) -> dict[str, Any]:
        """What is known of an image or a container."""
        (found,) = json.loads(self.call("inspect", name))
        known: dict[str, Any] = found
        return known

    def build(self, image: str, dockerfile: Path = DOCKERFILE, **arguments: str) -> Done:
        """Build an image of the repository with these arguments; its output is all in one."""
        given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        command = [*self.builder, *given, "--file", str(dockerfile), "--tag", image, str(ROOT)]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    def run(self, image: str, *arguments: str, options: tuple[str, ...] = ()) -> Done:
        """A container that ends by itself."""
        with self._named() as name:
            command = [*self._command(name, options), image, *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SOON)

    @contextmanager
    def serving(self, image: str, *options: str, **settings: str) -> Iterator[Container]:
        """A container that serves with these settings on a free port; it is removed in the end."""
        # The check of its health must know the port, so that it cannot be left to the server to find one.
        for name, value in ({"port": str(free_port())} | settings).items():
            options = (*options, "--env", f"FORWARDPASS_{name.upper()}={value}")
        with self._named() as name, running(image, command=self._command(name, options)) as server:
            yield Container(name, server)

    def await_health(self, container: Container, *, healthy: bool) -> None:
        """Wait until the image's own check of its health says so."""
        command = [*self.client, *self.health, container.name]
        end = time.monotonic() + SOON
        while time.monotonic() < end:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            # One that says it by its status says no word for it, or the same.
            if (done.returncode == 0 and done.stdout.strip() in ("", "healthy")) is healthy:
                return
        raise AssertionError(f"after {SOON} s it is {'not' if healthy else 'still'} healthy")

    def _command(self, name: str, options: tuple[str, ...]) -> list[str]:
        return [*self.client, "run", "--name", name, "--rm", *HARDENED, *self.run_flags, *options]

    @contextmanager
    def _named(self) -> Iterator[str]:
        name = f"forwardpass-test-{uuid4().hex}"
        try:
            yield name
        finally:
            # It is gone already where it has ended by itself.
            subprocess.run([*self.client, "rm", "--force", name], capture_output=True, check=False)


def find_engine(scratch: Path) -> Engine:
    """The one of this machine, which can build the image at once; `scratch` is a folder that lasts as long as it.

    Raises `AssertionError` with what to do where there is none.
    """
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0:
        # Looked at more often than the image says.
        often = ("--health-interval", "1s", "--health-retries", "1")
        return Engine((docker,), (docker, "build"), ("inspect", "--format", "{{.State.Health.Status}}"), often)
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"no Docker daemon answers, and {', '.join(missing)} cannot be found: make image-tools"
    assert os.geteuid() == 0, "no Docker daemon answers, and to build without one takes root"
    storage = ("--root", str(STORAGE / "root"), "--runroot", str(STORAGE / "run"), "--storage-driver", "overlay")
    podman = ("podman", *storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file")
    make_base(podman, *base_of(DOCKERFILE))
    seen = [part for volume in volumes(scratch) for part in ("--volume", volume)]
    # What a build that fails has begun would stay.
    ways = ("--isolation", "chroot", "--layers", "--format", "docker", "--pull-never", "--force-rm")
    jobs = ("--jobs", str(os.cpu_count()))
    return Engine(podman, ("buildah", *storage, "bud", *ways, *jobs, *seen), ("healthcheck", "run"))
