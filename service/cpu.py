"""How many CPUs this process may use: by its affinity, and by the quotas of its container."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Quota(NamedTuple):
    """What a control group, or one around it, may use."""

    cpus: float
    """CPUs' worth of time."""
    file: Path
    """Where it is said."""


class Cpus(NamedTuple):
    """The CPUs that a process may use."""

    affinity: int
    """On how many it may run at all."""
    quota: Quota | None
    """The smallest that holds for it; None where none does."""

    @property
    def threads(self) -> int:
        """How many threads can compute at once: whole CPUs, for a thread that is stopped in a run holds it up."""
        if self.quota is None:
            return self.affinity
        return max(1, min(self.affinity, int(self.quota.cpus)))

    def shared_by(self, number: int) -> int:
        """How many of these threads each of so many has for itself: one at least."""
        return max(1, self.threads // number)


def usable_cpus(root: Path = Path("/")) -> Cpus:
    """What this process may use now, by the files of the system whose root is `root`."""
    return Cpus(len(os.sched_getaffinity(0)), smallest_quota(root))


def smallest_quota(root: Path) -> Quota | None:
    """The smallest CPU quota among this process's control groups, of either version, and those around them."""
    return min(_quotas(root), key=lambda quota: quota.cpus, default=None)


def _quotas(root: Path) -> Iterator[Quota]:
    groups: dict[str, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        match line.split(":", 2):
            case [_, controllers, path]:
                # Version 2 names none.
                groups |= dict.fromkeys(controllers.split(","), path)
    for line in _lines(root / "proc/self/mountinfo"):
        first, _, second = line.partition(" - ")
        match [first.split(), second.split()]:
            case [[_id, _parent, _device, top, mount, *_], ["cgroup2", *_]]:
                controller, read = "", _quota_of_version_2
            case [[_id, _parent, _device, top, mount, *_], ["cgroup", _source, options]] if "cpu" in options.split(","):
                controller, read = "cpu", _quota_of_version_1
            case _:
                continue
        if controller in groups:
            for folder in _folders(root / mount.lstrip("/"), top, groups[controller]):
                quota = read(folder)
                if quota is not None:
                    yield quota


def _folders(mount: Path, top: str, path: str) -> Iterator[Path]:
    """The folders of a group and of those around it, of a file system whose folder `top` is mounted.

    A container often sees its own group as the top, and may name it by a path that only its host knows.
    """
    group = PurePosixPath(path)
    within = group.relative_to(top) if group.is_relative_to(top) and ".." not in group.parts else PurePosixPath()
    yield from (mount / one for one in (within, *within.parents))


def _quota_of_version_2(folder: Path) -> Quota | None:
    file = folder / "cpu.max"
    match " ".join(_lines(file)).split():
        case [quota, period]:
            return _quota(file, quota, period)
    return None


def _quota_of_version_1(folder: Path) -> Quota | None:
    file = folder / "cpu.cfs_quota_us"
    match [*_lines(file), *_lines(folder / "cpu.cfs_period_us")]:
        case [quota, period]:
            return _quota(file, quota, period)
    return None


def _quota(file: Path, quota: str, period: str) -> Quota | None:
    """So many microseconds of each period; None where it is `max`, -1 or nothing that can be understood."""
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return Quota(int(quota) / int(period), file)


def _lines(file: Path) -> Sequence[str]:
    try:
        return file.read_text().splitlines()
    except (OSError, ValueError):
        # There is no such thing here, or it is not for us to read.
        return ()
