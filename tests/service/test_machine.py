"""Behaviour of service.machine."""

import re
import resource
import subprocess
import sys
from importlib.metadata import version
from typing import cast

import pytest

from service.__main__ import main
from service.config import Settings
from service.cpu import usable_cpus
from service.machine import describe
from tests.server import ROOT


def test_what_a_server_finds_is_told_at_a_glance() -> None:
    """CPUs, what computes, libraries and limits stand in a few lines."""
    text = describe(Settings())
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for words in (
        f"affinity     this process may run on {usable_cpus().affinity} CPU",
        "quota        ",
        f"workers      1 by the settings; FORWARDPASS_WORKERS=auto gives {usable_cpus().threads}\n",
        f"threads      1 a run by the settings; FORWARDPASS_THREADS=auto gives {usable_cpus().threads}\n",
        "provider     cpu by the settings, which is available; available: cpu",
        f"onnxruntime  {version('onnxruntime')}\n",
        f"uvicorn      {version('uvicorn')}\n",
        f"uvloop       {version('uvloop')}\n",
        "lane         predictions take the short way\n",
        f"open files   {soft}, which",
        "connections  10000 at most",
    ):
        assert words in text
    assert len(text.splitlines()) < 17


def test_what_will_not_do_is_told() -> None:
    """Too many threads, workers or connections, a provider that is not there, a lane that is off."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = describe(Settings(threads=1024, max_connections=min(soft, 2**20), provider="cuda", lane="off"))
    assert "more than there are CPUs to use" in describe(Settings(workers=256))
    for words in (
        "more than there are CPUs to use",
        "cuda by the settings, but the installed onnxruntime has no CUDAExecutionProvider",
        "off by the settings: predictions go through the application",
        "100 fewer than",
    ):
        assert words in text


def test_the_command_line_shows_it() -> None:
    """With the settings that it is given."""
    flags = ["--threads", "auto", "--workers", "2", "--provider", "cuda", "--lane", "off", "--max-connections", "7"]
    command = [sys.executable, "-m", "service", "inspect", "--runtime", *flags]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    threads = max(1, usable_cpus().threads // 2)
    for words in (
        "workers      2 by the settings",
        f"threads      {threads} a run by the settings; FORWARDPASS_THREADS=auto gives {threads}\n",
        "provider     cuda by the settings",
        "lane         off by the settings",
        "connections  7 at most\n",
    ):
        assert words in shown


def test_every_setting_that_is_shown_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """So that what another setting would do here can be asked."""
    read = set()

    class Noting:
        """Settings that note which of them are read."""

        def __getattr__(self, name: str) -> object:
            read.add(name)
            return getattr(settings, name)

    settings = Settings()
    describe(cast("Settings", Noting()))
    with pytest.raises(SystemExit):
        main(["inspect", "--help"])
    flags = set(re.findall(r"--([a-z-]+) VALUE", capsys.readouterr().out))
    assert "workers" in read
    assert {name.replace("_", "-") for name in read} <= flags
