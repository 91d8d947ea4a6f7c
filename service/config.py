"""The settings, from flags, `FORWARDPASS_*` variables and a TOML file, in this order of precedence."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from service.cpu import usable_cpus
from service.errors import SettingsError

PREFIX = "FORWARDPASS_"
FILE_VARIABLE = f"{PREFIX}CONFIG"

GROWTH = 8
"""How many times as many bytes as its body a request may have: two of JSON, `1,`, are a number of eight and more."""

_SECRETS = {"tls_key_password"}
"""Settings whose values are repeated to nobody."""

LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """What an operator chooses. Each field is the variable `FORWARDPASS_<FIELD>` and the flag `--<field>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="Port to listen on; 0 takes a free one.")
    models: Path = Field(
        Path("models"), description="Folder with the models, `<name>/<version>/` each or ONNX files; or one such file."
    )
    versions: str = Field(
        "latest",
        description="Which versions of a model are served: `latest`, `all`, or those that are named, such as "
        "`digits:1,binary_classifier:1+2`, and of every other model the latest.",
    )
    model_control: Literal["watch", "explicit"] = Field(
        "watch",
        description="How versions come and go after the start: as they do on disk, or only when they are loaded and "
        "unloaded over HTTP.",
    )
    provider: Literal["cpu", "cuda", "cuda,cpu"] = Field(
        "cpu",
        description="What computes: onnxruntime's CPU or CUDA provider; with `cuda,cpu` the CPU where CUDA cannot.",
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1,
        description="Processes that serve, on one port; `auto` for as many as have a whole CPU for each of their "
        "threads. Each has all models, and every other limit is that of one of them.",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        1,
        description="Threads that one run of a model may use; `auto` for as many as there are whole CPUs for each "
        "worker, by affinity and by the container's quota.",
    )
    execution: Literal["auto", "inline", "thread"] = Field(
        "auto",
        description="Where batches run: on the event loop, on a thread per model, or as measured at start.",
    )
    max_batch: Annotated[int, Field(ge=1, le=65536)] = Field(
        2048, description="Most rows of one batch; fewer where larger ones compute no more rows a second."
    )
    max_queue: Annotated[int, Field(ge=1, le=2**20)] = Field(
        32768,
        description="Most rows of one request; and most rows that wait for one model, of requests that fit into one "
        "batch and again of larger ones.",
    )
    max_queue_bytes: Annotated[int, Field(ge=1, le=2**40)] = Field(
        256 * 1024 * 1024, description="Most bytes that wait for one model."
    )
    max_body: Annotated[int, Field(ge=1, le=2**31)] = Field(
        16 * 1024 * 1024, description="Most bytes of a request's body."
    )
    max_reply: Annotated[int, Field(ge=1, le=2**40)] = Field(
        64 * 1024 * 1024, description="Most bytes of a reply, as far as they are known before it is computed."
    )
    max_head: Annotated[int, Field(ge=1024, le=2**20)] = Field(
        65536, description="Most bytes of a request's line and headers."
    )
    head_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        10, description="Seconds that a request's line and headers may take to come."
    )
    body_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        60, description="Seconds that a request's body may take to come, and that nothing of a reply may be read."
    )
    idle_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        75, description="Seconds that a connection may stay open between two requests."
    )
    max_connections: Annotated[int, Field(ge=1, le=2**20)] = Field(
        10_000, description="Most connections of clients at a time; one more is refused."
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file with the server's certificate, and those of its issuers behind it; the server then "
        "speaks TLS and nothing else.",
    )
    tls_key: Path | None = Field(
        None, description="PEM file with the certificate's private key, where the file of the certificate has it not."
    )
    tls_key_password: SecretStr | None = Field(
        None, description="Password of the private key, where it is encrypted; a flag would show it to every user."
    )
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file with the issuers of clients' certificates; a client that has none of theirs is refused.",
    )
    keys: Path | None = Field(
        None,
        description="File with the SHA-256 sums of the keys that callers must have, as `forwardpass key` writes it; "
        "without it no key is asked for.",
    )
    lane: Literal["on", "off"] = Field(
        "on", description="Whether predictions take the short way, past the application; they are answered alike."
    )
    dependent_rows: Literal["alone", "request", "mixed"] = Field(
        "alone",
        description="What is computed together in a model of which a batch changes the answers, or may do so: no two "
        "rows (where an ONNX file has no manifest, it takes each request whole instead), the rows of one request, "
        "or any.",
    )
    refuse_outside: str = Field(
        "none",
        description="Models that refuse feature values outside the range that training saw: names with commas "
        "between them, `all`, or `none`.",
    )
    drain_delay: Annotated[float, Field(ge=0, le=3600)] = Field(
        0,
        description="Seconds after SIGTERM in which the server still takes requests, while it says that it is not "
        "ready: so long as whoever sends them may need to notice.",
    )
    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(
        30, description="Seconds that requests in flight may take to end, once the server takes no more."
    )
    tracing: Literal["off", "otlp"] = Field(
        "off",
        description="Whether each prediction is told to a collector of OpenTelemetry's traces; all else of that is "
        "said by the variables `OTEL_*`.",
    )
    log_level: LogLevel = Field("info", description="Least severity that is logged.")
    log_format: Literal["eye", "json"] = Field(
        "eye", description="How a line of the log is written: for the eye, or as a JSON object."
    )

    @model_validator(mode="before")
    @classmethod
    def _share_out(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Let `auto` stand for what the CPUs give. Where both are left to us, one process has them all."""
        workers, threads = given.get("workers", 1), given.get("threads", 1)
        if "auto" in (workers, threads):
            cpus = usable_cpus()
            if workers == "auto":
                workers = 1 if threads == "auto" else cpus.shared_by(_whole(threads))
            if threads == "auto":
                threads = cpus.shared_by(_whole(workers))
            given = {**given, "workers": workers, "threads": threads}
        return given

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before variables before the file that `FORWARDPASS_CONFIG` names."""
        del dotenv_settings, file_secret_settings
        file = TomlConfigSettingsSource(settings_cls, os.environ.get(FILE_VARIABLE))
        return init_settings, env_settings, file


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force; `flags` are those given on the command line, by field name.

    Raises `SettingsError` with one sentence for each value that cannot be used.
    """
    file = os.environ.get(FILE_VARIABLE)
    if file and not os.path.isfile(file):  # noqa: PTH113  # false, not an error, for a name that is too long
        raise SettingsError(f"{FILE_VARIABLE} names {file}, which is no file")
    try:
        settings = Settings(**(flags or {}))
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(fault) for fault in error.errors())) from None
    except ValueError as error:
        raise SettingsError(f"{file} is no TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    least = GROWTH * settings.max_body
    if settings.max_queue_bytes < least:
        raise SettingsError(
            f"max_queue_bytes ({names_of('max_queue_bytes')}) is {settings.max_queue_bytes}: expected at least "
            f"{least}, {GROWTH} times max_body, for a body may become so much in memory, and would be refused for ever"
        )
    if settings.model_control == "explicit" and settings.keys is None and not _is_here(settings.host):
        raise SettingsError(
            f"model_control ({names_of('model_control')}) is 'explicit', and the server listens on {settings.host}: "
            f"set keys ({names_of('keys')}), or whoever reaches it may unload its models"
        )
    if settings.model_control == "explicit" and settings.workers > 1:
        raise SettingsError(
            f"model_control ({names_of('model_control')}) is 'explicit', and workers ({names_of('workers')}) is "
            f"{settings.workers}: a request would load the model in one of them only; let there be one, or let all "
            "watch the models"
        )
    return settings


def unknown_variables() -> list[str]:
    """The `FORWARDPASS_*` variables that are no setting: most likely misspelt."""
    known = {PREFIX + field.upper() for field in Settings.model_fields} | {FILE_VARIABLE}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def names_of(setting: str) -> str:
    """Where an operator sets a setting."""
    return f"variable {PREFIX}{setting.upper()}, flag --{setting.replace('_', '-')}"


def _whole(given: object) -> int:
    """The number, if it is one above 0; what else it is, is said where each value is checked."""
    text = str(given)
    return max(1, int(text)) if text.isascii() and text.isdecimal() else 1


def _is_here(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sentence(fault: Mapping[str, Any]) -> str:
    name = str(fault["loc"][0]) if fault["loc"] else "settings"
    if fault["type"] == "extra_forbidden":
        return f"{name} is no setting: the settings are {', '.join(Settings.model_fields)}"
    value = "secret" if name in _SECRETS else repr(fault["input"])
    return f"{name} ({names_of(name)}) is {value}: {fault['msg']}"
