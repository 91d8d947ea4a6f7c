"""What a server says when it begins to listen: which models it has, what computes them, what it takes."""

from collections.abc import Mapping, Sequence

from service.config import Settings
from service.cpu import Cpus

_SHOWN = 20
"""Models that stand in the table. The index has them all."""
_MIB = 1024 * 1024


def fields(settings: Settings, models: Mapping[str, Sequence[str]], cpus: Cpus) -> dict[str, object]:
    """All of it for a program; `models` has for each name the versions that answer."""
    return {
        "models": models,
        "provider": settings.provider,
        "workers": settings.workers,
        "threads": settings.threads,
        "cpus": cpus.threads,
        "max_body": settings.max_body,
        "max_queue": settings.max_queue,
        "max_connections": settings.max_connections,
    }


def table(settings: Settings, models: Mapping[str, Sequence[str]], cpus: Cpus) -> list[str]:
    """The same for the eye, in a few lines."""
    rows = [(name, _versions(versions)) for name, versions in list(models.items())[:_SHOWN]]
    if len(models) > _SHOWN:
        rows.append((f"… {len(models) - _SHOWN} more", "at /v2/repository/index"))
    threads = f"{settings.threads} thread{'s' if settings.threads > 1 else ''} a run"
    workers = f"{settings.workers} workers, " if settings.workers > 1 else ""
    rows.append(("computed by", f"{settings.provider}, {workers}{threads}; {cpus.threads} CPUs to use"))
    limits = f"{settings.max_body / _MIB:g} MiB a body, {settings.max_queue:,} rows waiting for a model"
    rows.append(("at most", f"{limits}, {settings.max_connections:,} connections"))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {said}" for name, said in rows]


def _versions(versions: Sequence[str]) -> str:
    if not versions:
        return "not served"
    return f"version{'s' if len(versions) > 1 else ''} {', '.join(versions)}"
