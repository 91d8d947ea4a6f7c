"""What a server finds on this machine, as text that a person reads at a glance."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from service.config import Settings
from service.cpu import Cpus, usable_cpus
from service.http.configuration import lane_works
from service.model.runtime import obstacle, provider_names
from service.open_files import allowed, missing

_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "uvicorn", "uvloop", "httptools")


def describe(settings: Settings) -> str:
    """The CPUs, what computes, the libraries and the limits that hold for a server with these settings here."""
    return "\n".join(f"{name:<12} {said}" for name, said in _rows(settings, usable_cpus()))


def _rows(settings: Settings, cpus: Cpus) -> Iterator[tuple[str, str]]:
    yield "affinity", f"this process may run on {_counted(cpus.affinity, 'CPU')}"
    if cpus.quota is None:
        yield "quota", "none: no control group bounds its time"
    else:
        yield "quota", f"{cpus.quota.cpus:g} CPUs' worth of time, by {cpus.quota.file}"
    workers, threads = cpus.shared_by(settings.threads), cpus.shared_by(settings.workers)
    yield "workers", f"{settings.workers} by the settings; FORWARDPASS_WORKERS=auto gives {workers}"
    yield "threads", f"{settings.threads} a run by the settings; FORWARDPASS_THREADS=auto gives {threads}"
    if settings.workers * settings.threads > cpus.threads:
        yield "", "more than there are CPUs to use: runs will be stopped in their midst"
    obstacles = list(filter(None, map(obstacle, settings.provider.split(","))))
    here = f"but {obstacles[0]}" if obstacles else "which is available"
    available = ", ".join(name for name in provider_names() if not obstacle(name))
    yield "provider", f"{settings.provider} by the settings, {here}; available: {available}"
    yield "Python", platform.python_version()
    for library in _LIBRARIES:
        try:
            yield library, version(library)
        except PackageNotFoundError:
            continue
    yield "lane", "predictions take the short way" if settings.lane == "on" and lane_works() else _why_not(settings)
    may = allowed()
    yield "open files", "no limit" if may is None else f"{may}, which a server raises where it may and must"
    more = missing(settings.max_connections, may)
    if more:
        yield "", f"{more} fewer than {settings.max_connections} connections may need"
    yield "connections", f"{settings.max_connections} at most"


def _why_not(settings: Settings) -> str:
    if settings.lane == "off":
        return "off by the settings: predictions go through the application"
    return "not usable with this uvicorn: predictions go through the application, unguarded"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
