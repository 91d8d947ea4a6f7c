"""Behaviour of service.cpu."""

import os
from pathlib import Path

import pytest

from service.cpu import Cpus, Quota, smallest_quota, usable_cpus

V2 = "41 31 0:38 {top} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "33 31 0:30 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw master:3 - cgroup cgroup rw,cpu,cpuacct\n"
)
DISK = "22 1 8:1 / / rw - ext4 /dev/root rw\n"


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """The root of a system with these control groups."""
    for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": DISK + mounts, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def cpus(root: Path) -> float | None:
    """The CPUs' worth of the smallest quota."""
    quota = smallest_quota(root)
    return None if quota is None else quota.cpus


@pytest.mark.parametrize(
    ("text", "expected"),
    [("150000 100000\n", 1.5), ("50000 100000\n", 0.5), ("max 100000\n", None), ("", None), ("1 0\n", None)],
)
def test_the_quota_of_a_container_with_version_2(text: str, expected: float | None, tmp_path: Path) -> None:
    """It sees its own group as the top of all."""
    assert cpus(tree(tmp_path, "0::/\n", V2.format(top="/"), {"sys/fs/cgroup/cpu.max": text})) == expected


def test_a_group_around_has_its_quota_too(tmp_path: Path) -> None:
    """The smallest holds, and is named."""
    files = {
        "sys/fs/cgroup/pods/cpu.max": "200000 100000",
        "sys/fs/cgroup/pods/one/cpu.max": "300000 100000",
        "sys/fs/cgroup/pods/one/us/cpu.max": "max 100000",
        "sys/fs/cgroup/pods/other/cpu.max": "10000 100000",
    }
    root = tree(tmp_path, "0::/pods/one/us\n", V2.format(top="/"), files)
    assert smallest_quota(root) == Quota(2.0, tmp_path / "sys/fs/cgroup/pods/cpu.max")


@pytest.mark.parametrize(("quota", "expected"), [("250000", 2.5), ("-1", None)])
def test_the_quota_of_a_container_with_version_1(quota: str, expected: float | None, tmp_path: Path) -> None:
    """The controller of CPUs lies beside others, and the group has a path of the host's."""
    folder = "sys/fs/cgroup/cpu,cpuacct"
    files = {
        f"{folder}/cpu.cfs_quota_us": quota,
        f"{folder}/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/cpu.cfs_quota_us": "1",
        "sys/fs/cgroup/memory/cpu.cfs_period_us": "100000",
    }
    groups = "5:cpuset:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n"
    for top in ("/docker/abc", "/", "/elsewhere"):
        assert cpus(tree(tmp_path, groups, V1.format(top=top), files)) == expected


def test_both_versions_hold_at_once(tmp_path: Path) -> None:
    """Where a system has both, the smaller quota counts."""
    files = {
        "sys/fs/cgroup/cpu.max": "400000 100000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000",
    }
    assert cpus(tree(tmp_path, "4:cpu,cpuacct:/\n0::/\n", V2.format(top="/") + V1.format(top="/"), files)) == 2.0


@pytest.mark.parametrize("groups", ["", "nonsense\n", "0::/../../other\n", "0::\n", ":::::\n\x00\n"])
def test_what_cannot_be_understood_is_no_quota(groups: str, tmp_path: Path) -> None:
    """Nor is it read from outside of where the groups lie."""
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/cpu.max").write_text("1 100000")
    (tmp_path / "sys/fs").mkdir()
    assert cpus(tree(tmp_path, groups, V2.format(top="/") + "x - y\n\n - \n", {})) is None


def test_a_system_without_groups_has_no_quota(tmp_path: Path) -> None:
    """As where there is no such file system."""
    assert smallest_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "threads"), [(8, None, 8), (8, 2.9, 2), (8, 0.5, 1), (2, 6.0, 2), (1, 0.1, 1)]
)
def test_threads_are_whole_cpus(affinity: int, quota: float | None, threads: int) -> None:
    """Rounded down, and one at least."""
    assert Cpus(affinity, None if quota is None else Quota(quota, Path("x"))).threads == threads


def test_this_process_may_use_what_the_system_says() -> None:
    """Its affinity is the system's own."""
    found = usable_cpus()
    assert found.affinity == len(os.sched_getaffinity(0))
    assert 1 <= found.threads <= found.affinity
