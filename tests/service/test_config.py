"""Behaviour of service.config."""

from pathlib import Path

import pytest

from service.config import Settings, load_settings, unknown_variables
from service.cpu import usable_cpus
from service.errors import SettingsError

Patch = pytest.MonkeyPatch


def write(path: Path, text: str, patch: Patch) -> Path:
    """A settings file that the environment names."""
    path.write_text(text)
    patch.setenv("FORWARDPASS_CONFIG", str(path))
    return path


def complaint(**flags: object) -> str:
    """The sentence with which settings are refused."""
    with pytest.raises(SettingsError) as caught:
        load_settings(flags)
    return caught.value.message


def test_every_setting_has_a_default() -> None:
    """With nothing said, the server listens on this machine only and serves ./models."""
    settings = load_settings()
    assert (settings.host, settings.port, settings.models) == ("127.0.0.1", 8080, Path("models"))
    assert (settings.provider, settings.execution, settings.threads) == ("cpu", "auto", 1)
    assert (settings.dependent_rows, settings.refuse_outside) == ("alone", "none")
    assert settings.max_queue_bytes == 256 * 1024 * 1024
    assert settings.max_reply == 64 * 1024 * 1024


def test_flags_beat_variables_beat_the_file_beats_the_default(tmp_path: Path, monkeypatch: Patch) -> None:
    """Each setting comes from the first source that has it, whatever the others have."""
    write(tmp_path / "settings.toml", "port = 1\nthreads = 1\nmax_batch = 1\n", monkeypatch)
    monkeypatch.setenv("FORWARDPASS_PORT", "2")
    monkeypatch.setenv("FORWARDPASS_THREADS", "2")
    settings = load_settings({"port": "3"})
    assert (settings.port, settings.threads, settings.max_batch, settings.max_queue) == (3, 2, 1, 32768)


def test_an_empty_variable_is_none(monkeypatch: Patch) -> None:
    """A variable set to nothing, as a deployment's template leaves it, changes nothing."""
    monkeypatch.setenv("FORWARDPASS_PORT", "")
    monkeypatch.setenv("FORWARDPASS_CONFIG", "")
    assert load_settings().port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("provider", "tpu"),
        ("tracing", "on"),
        ("threads", "0"),
        ("threads", "1.5"),
        ("execution", "maybe"),
        ("max_batch", "0"),
        ("max_queue", "0"),
        ("max_queue_bytes", "0"),
        ("max_body", "0"),
        ("max_reply", "0"),
        ("dependent_rows", "some"),
        ("drain_delay", "-0.1"),
        ("drain_seconds", "-1"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("max_connections", "0"),
    ],
)
@pytest.mark.parametrize("source", ["flag", "variable", "file"])
def test_a_bad_value_is_told_with_its_variable_and_flag(
    source: str, name: str, value: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Wherever the value stands, the sentence has the value, the variable and the flag that set it right."""
    flags = {name: value} if source == "flag" else {}
    if source == "variable":
        monkeypatch.setenv(f"FORWARDPASS_{name.upper()}", value)
    if source == "file":
        write(tmp_path / "settings.toml", f'{name} = "{value}"', monkeypatch)
    message = complaint(**flags)
    assert f"variable FORWARDPASS_{name.upper()}, flag --{name.replace('_', '-')}" in message
    assert repr(value) in message
    assert len(message.splitlines()) == 1


def test_threads_may_be_as_many_as_there_are_cpus_to_use(monkeypatch: Patch) -> None:
    """Asked for by name, wherever that stands; a number is a number."""
    assert load_settings({"threads": "auto"}).threads == usable_cpus().threads
    monkeypatch.setenv("FORWARDPASS_THREADS", "auto")
    assert load_settings().threads == usable_cpus().threads
    assert load_settings({"threads": "3"}).threads == 3


@pytest.mark.parametrize("threads", [1, 2, 1000])
def test_workers_may_be_as_many_as_the_cpus_give_threads_to(threads: int) -> None:
    """Together they never have more than there are CPUs to use, unless each has one and that is too many."""
    settings = load_settings({"workers": "auto", "threads": str(threads)})
    assert settings.workers == max(1, usable_cpus().threads // threads)


def test_threads_are_shared_out_among_workers() -> None:
    """Where both are left to us, one process has all."""
    cpus = usable_cpus().threads
    assert load_settings({"workers": "2", "threads": "auto"}).threads == max(1, cpus // 2)
    both = load_settings({"workers": "auto", "threads": "auto"})
    assert (both.workers, both.threads) == (1, cpus)


@pytest.mark.parametrize(("workers", "threads"), [("auto", "none"), ("auto", "0"), ("none", "auto"), ("0", "auto")])
def test_what_is_shared_out_by_a_bad_number_is_told(workers: str, threads: str) -> None:
    """The sentence is of the bad one."""
    message = complaint(workers=workers, threads=threads)
    assert repr(workers if threads == "auto" else threads) in message


def test_workers_and_explicit_control_exclude_each_other() -> None:
    """A request to load a model reaches one of them."""
    message = complaint(workers="2", model_control="explicit")
    assert "FORWARDPASS_WORKERS" in message
    assert "FORWARDPASS_MODEL_CONTROL" in message


def test_every_bad_value_is_told(monkeypatch: Patch) -> None:
    """Whoever mends one setting does not meet the next fault only then."""
    monkeypatch.setenv("FORWARDPASS_THREADS", "none")
    message = complaint(port="http")
    assert "port" in message
    assert "threads" in message


@pytest.mark.parametrize("source", ["flag", "variable", "file"])
def test_a_queue_that_the_largest_body_may_not_fit_into_is_refused(
    source: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    """A request that finds no room in an empty queue would be asked to come again for ever."""
    flags = {"max_body": "1001"} if source == "flag" else {}
    if source == "variable":
        monkeypatch.setenv("FORWARDPASS_MAX_BODY", "1001")
    if source == "file":
        write(tmp_path / "settings.toml", "max_body = 1001", monkeypatch)
    message = complaint(max_queue_bytes=8007, **flags)
    assert message == (
        "max_queue_bytes (variable FORWARDPASS_MAX_QUEUE_BYTES, flag --max-queue-bytes) is 8007: expected at least "
        "8008, 8 times max_body, for a body may become so much in memory, and would be refused for ever"
    )
    assert load_settings({"max_queue_bytes": 8008, **flags}).max_body == 1001


def test_an_unknown_key_of_the_file_is_refused_with_the_known_ones(tmp_path: Path, monkeypatch: Patch) -> None:
    """A slip of the keyboard in the file is not passed over."""
    write(tmp_path / "settings.toml", "prot = 1", monkeypatch)
    assert complaint() == f"prot is no setting: the settings are {', '.join(Settings.model_fields)}"


def test_an_unknown_flag_is_refused() -> None:
    """A setting that is none cannot be given by name either."""
    assert complaint(prot=1).startswith("prot is no setting")


def test_a_missing_file_is_told(tmp_path: Path, monkeypatch: Patch) -> None:
    """A file that was named must be there."""
    monkeypatch.setenv("FORWARDPASS_CONFIG", str(tmp_path / "gone.toml"))
    assert complaint() == f"FORWARDPASS_CONFIG names {tmp_path / 'gone.toml'}, which is no file"


@pytest.mark.parametrize("content", [b"port = ", b"[port", b"\xff = 1"])
def test_a_malformed_file_is_told(content: bytes, tmp_path: Path, monkeypatch: Patch) -> None:
    """What is no TOML is refused by the file's name."""
    path = write(tmp_path / "settings.toml", "", monkeypatch)
    path.write_bytes(content)
    assert complaint().startswith(f"{path} is no TOML: ")


def test_a_file_that_cannot_be_read_is_told(monkeypatch: Patch) -> None:
    """The system's own reason comes with the file's name."""
    # A file on Linux that is there for everybody and fails when its first bytes are read.
    monkeypatch.setenv("FORWARDPASS_CONFIG", "/proc/self/mem")
    assert complaint() == "/proc/self/mem cannot be read: Input/output error"


def test_a_password_is_repeated_nowhere(tmp_path: Path, monkeypatch: Patch) -> None:
    """Neither where settings are shown nor where one is refused."""
    settings = load_settings({"tls_key_password": "quite secret"})
    assert "quite secret" not in f"{settings!r} {settings} {settings.model_dump()}"
    assert settings.tls_key_password is not None
    assert settings.tls_key_password.get_secret_value() == "quite secret"
    write(tmp_path / "settings.toml", "tls_key_password = 4711", monkeypatch)
    message = complaint()
    assert "variable FORWARDPASS_TLS_KEY_PASSWORD" in message
    assert "4711" not in message


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],  # noqa: S104  # what is tested
)
def test_models_are_not_controlled_from_elsewhere_without_a_key(host: str, *, is_here: bool, tmp_path: Path) -> None:
    """Whoever lets requests load and unload says whose requests, or listens to this machine only."""
    chosen = {"model_control": "explicit", "host": host}
    if is_here:
        assert load_settings(chosen).keys is None
    else:
        message = complaint(**chosen)
        assert message.startswith(
            "model_control (variable FORWARDPASS_MODEL_CONTROL, flag --model-control) is 'explicit',"
        )
        assert f"listens on {host}: set keys (variable FORWARDPASS_KEYS," in message
    assert load_settings(chosen | {"keys": tmp_path}).keys == tmp_path
    assert load_settings({"host": host}).keys is None


def test_settings_do_not_change() -> None:
    """What was read at the start holds to the end."""
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]  # what is tested


def test_misspelt_variables_are_found(monkeypatch: Patch) -> None:
    """Each variable with our prefix that is no setting is named, in order; the real ones are not."""
    monkeypatch.setenv("FORWARDPASS_PROT", "1")
    monkeypatch.setenv("FORWARDPASS_MODEL", "x")
    monkeypatch.setenv("FORWARDPASS_PORT", "1")
    monkeypatch.setenv("FORWARDPASS_CONFIG", "x")
    monkeypatch.setenv("PORT", "1")
    assert unknown_variables() == ["FORWARDPASS_MODEL", "FORWARDPASS_PROT"]
