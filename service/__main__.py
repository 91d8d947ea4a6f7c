"""The command line: `forwardpass serve`, `health`, `score`, `inspect`, `key` and `train`."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from service.config import Settings, load_settings, unknown_variables
from service.errors import ForwardpassError, SettingsError
from service.exits import FAILURE, REJECTED, SIGNALLED, SUCCESS, USAGE, exit_at_once
from service.logs import printable, set_up
from service.open_files import make_room
from service.workers import Supervisor

# Each command imports what it needs when it is called: none waits for another's libraries, and none of them
# needs the extras of another.
# ruff: noqa: PLC0415

logger = logging.getLogger("service")

_SWITCH_SECONDS = 0.0002
"""How long a model's thread that has computed may wait for the event loop to let it go on: by Python's default 5 ms, as
long as many a batch takes, whenever the loop has much to read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 called wrongly, 3 done but for some rows."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["train"]:
            return _train(arguments[1:])
        options = _parser().parse_args(arguments)
        status: int = options.command(options)
    except SettingsError as error:
        return _complain(error.message, USAGE)
    except ForwardpassError as error:
        return _complain(error.message, FAILURE)
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="forwardpass", description="Serve and score small PyTorch networks.")
    parser.add_argument("--version", action="version", version=f"forwardpass {version('forwardpass')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve the models over HTTP")
    serve.add_argument(
        "path",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="a folder of models, one model, or an ONNX file; the same as --models",
    )
    _add_settings(serve, list(Settings.model_fields))
    serve.set_defaults(command=_serve)

    health = commands.add_parser("health", help="ask the server of these settings whether it is ready")
    health.add_argument("--live", action="store_true", help="ask only whether it answers")
    health.add_argument("--timeout", type=float, default=3, metavar="SECONDS", help="for all of it. Default: 3.")
    _add_settings(health, ["host", "port", "tls_certificate", "tls_key", "tls_key_password", "tls_client_ca"])
    health.set_defaults(command=_health)

    score = commands.add_parser("score", help="score files of rows")
    _add_score(score)
    score.set_defaults(command=_score)

    inspect = commands.add_parser("inspect", help="show what a model offers and whether it is sound")
    inspect.add_argument("path", type=Path, nargs="?", help="a folder of models, one model, a version or an ONNX file")
    inspect.add_argument("--runtime", action="store_true", help="show in place of models what a server finds here")
    _add_settings(
        inspect,
        ["models", "max_batch", "dependent_rows", "provider", "threads", "workers", "lane", "max_connections"],
    )
    inspect.set_defaults(command=_inspect)

    key = commands.add_parser("key", help="make a key for callers of the server")
    key.add_argument("name", help="whose key it is: letters, digits, - and _")
    key.add_argument(
        "--scope", action="append", required=True, help="what it is for: predict, metrics or admin; may be repeated"
    )
    key.add_argument("--file", type=Path, help="add its sum to this file; without, what belongs there is printed")
    key.set_defaults(command=_key)

    commands.add_parser("train", help="train and publish the tutorials' models", add_help=False)
    return parser


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="<name>, or <name>/<version>")
    parser.add_argument("input", help="a file of rows, a folder of such, a pattern such as 'rows/*.csv', or -")
    parser.add_argument("output", help="file to write")
    parser.add_argument("--format", help="of the input: csv, jsonl, parquet or arrow, with .gz or .zst behind if so")
    parser.add_argument("--output-format", metavar="FORMAT", help="of the output, where its name does not say it")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=COLUMN",
        help="the column that stands for a feature or input of this name; may be repeated",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column to carry through, * for all; may be repeated",
    )
    parser.add_argument(
        "--on-error",
        choices=["fail", "skip", "quarantine"],
        default="fail",
        help="what a row does that is not valid: end the scoring, be left out, or be told in OUTPUT.rejected.csv too",
    )
    parser.add_argument("--resume", action="store_true", help="go on with what a run that was ended has done")
    parser.add_argument("--overwrite", action="store_true", help="replace the output where it exists")
    parser.add_argument(
        "--engine", choices=["local", "ray"], default="local", help="what computes: this machine, or a Ray cluster"
    )
    _add_settings(parser, ["models", "provider", "threads", "max_batch", "dependent_rows", "log_level", "log_format"])


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """A flag for each setting. Its value is checked where all sources of settings are."""
    group = parser.add_argument_group("settings", "Each is also the environment variable FORWARDPASS_<NAME>.")
    for name in names:
        field = Settings.model_fields[name]
        description = f"{field.description} Default: {field.default}.".replace("%", "%%")
        group.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar="VALUE", help=description)


def _settings(options: argparse.Namespace) -> Settings:
    given = {name: value for name in Settings.model_fields if (value := getattr(options, name, None)) is not None}
    path = getattr(options, "path", None)
    if path is not None:
        if "models" in given:
            raise SettingsError(f"the models are named twice, as {path} and with --models: name them once")
        given["models"] = path
    return load_settings(given)


def _serve(options: argparse.Namespace) -> int:
    # Before uvicorn listens for signals nothing is in flight; after its orderly end it raises the signal again.
    signal.signal(signal.SIGTERM, exit_at_once)
    signal.signal(signal.SIGINT, exit_at_once)
    settings = _settings(options)
    set_up(settings.log_format, settings.log_level, sys.stderr)
    for name in unknown_variables():
        logger.warning("%s is no setting: is it misspelt?", name)

    _require("onnxruntime", "cpu")
    # It is numpy's, which computes nothing here that would need its threads; none may run where workers are forked.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.setswitchinterval(_SWITCH_SECONDS)
    from service.http.app import create_app
    from service.http.configuration import configure
    from service.http.crew import Crew
    from service.http.listeners import Listeners
    from service.http.server import Server

    app = create_app(settings)
    more = make_room(settings.max_connections)
    if more:
        logger.warning("%d more open files would be needed for %d connections", more, settings.max_connections)
    listeners = Listeners(settings.host, settings.port, settings.workers)
    server = Server(configure(app))
    if settings.workers == 1:
        try:
            server.run([listeners.of(0)])
        except OSError as error:
            raise listeners.refused(error) from None
        return SUCCESS

    crew = Crew(server, listeners, app.state.metrics)
    return Supervisor(settings.workers, crew, seconds=settings.drain_delay + settings.drain_seconds).run()


def _health(options: argparse.Namespace) -> int:
    settings = _settings(options)
    from service.health import check

    print(check(settings, live=options.live, seconds=options.timeout))
    return SUCCESS


def _score(options: argparse.Namespace) -> int:
    _require("onnxruntime", "cpu")
    _require("pyarrow", "cpu,batch", "an image built with EXTRAS=batch")
    if options.engine == "ray":
        _require("ray", "cpu,ray", "an image built with EXTRAS=ray")
    settings = _settings(options)
    set_up(settings.log_format, settings.log_level, sys.stderr)
    # As an exception, so that what is done is kept, and nothing else.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(SIGNALLED + number))
    from service.score import score

    summary = score(
        options.model,
        options.input,
        options.output,
        models=settings.models,
        format=options.format,
        output_format=options.output_format,
        columns=_map(options.map),
        keep=options.keep,
        on_error=options.on_error,
        resume=options.resume,
        overwrite=options.overwrite,
        engine=options.engine,
        provider=settings.provider,
        threads=settings.threads,
        max_batch=settings.max_batch,
        dependent_rows=settings.dependent_rows,
        progress=sys.stderr,
    )
    done = summary.rows + summary.rejected - summary.resumed
    pace = f"{done / summary.seconds:,.0f} rows/s, {summary.seconds:.1f} s"
    print(f"{summary.rows:,} rows scored by {summary.model} version {summary.version} into {options.output} ({pace})")
    if summary.rejected:
        told = "" if summary.rejects is None else f": {summary.rejects} says why"
        print(f"{summary.rejected:,} rows rejected{told}")
    return REJECTED if summary.rejected else SUCCESS


def _map(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The column of each name; raises `SettingsError` where one has two."""
    found: dict[str, str] = {}
    for name, column in pairs:
        if found.setdefault(name, column) != column:
            raise SettingsError(f"--map gives {name!r} two columns, {found[name]!r} and {column!r}: give it one")
    return found


def _pair(text: str) -> tuple[str, str]:
    """What `--map` is given."""
    name, equals, column = text.partition("=")
    if not (name and equals and column):
        raise argparse.ArgumentTypeError(f"expected NAME=COLUMN, got {text!r}")
    return name, column


def _inspect(options: argparse.Namespace) -> int:
    _require("onnxruntime", "cpu")
    settings = _settings(options)
    if options.runtime:
        from service.machine import describe

        print(describe(settings))
        return SUCCESS
    from service.inspection import inspect

    findings = inspect(settings)
    print("\n\n".join(finding.text for finding in findings))
    return SUCCESS if all(finding.sound for finding in findings) else FAILURE


def _key(options: argparse.Namespace) -> int:
    from service.keys import add_key, make_key

    key = make_key(options.name, options.scope)
    if options.file is None:
        print(f"{key.text}\n\nIt is not shown again. What belongs into the file that FORWARDPASS_KEYS names:\n")
        print(key.lines, end="")
    else:
        add_key(options.file, key)
        print(key.text)
    return SUCCESS


def _train(arguments: Sequence[str]) -> int:
    _require("torch", "cpu,training")
    from training.__main__ import main as train

    return train(arguments)


def _require(library: str, extras: str, image: str = "") -> None:
    """Raise `SettingsError` where an extra that a command needs is not installed; an image may have it, but no pip."""
    if find_spec(library) is None:
        raise SettingsError(
            f"this command needs {library}, which is not installed: pip install 'forwardpass[{extras}]'"
            f"{f', or {image}' * bool(image)}"
        )


def _complain(sentence: str, status: int) -> int:
    print(f"forwardpass: {printable(sentence)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
