"""The README says what the code does: its tables are compared with the code, its commands are run."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from service.metrics import RETIRED
from tests.documentation import PAGES, written
from tests.k8s.kustomize import find_kubectl, kustomize
from tests.server import ROOT, Server, running

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DEFAULT_ADDRESS = "127.0.0.1:8080"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The committed models, served."""
    with running() as server:
        yield server


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_tables_are_what_the_code_says(page: Path) -> None:
    """Settings, error codes, metrics, modules and alerts stand there just as they are; `make docs` writes them."""
    assert written(page) == page.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    """To a file, and there to a heading, by the name that its words make."""
    for place, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        file = (page.parent / place).resolve() if place else page
        assert file.is_file(), place
        if heading:
            names = re.findall(r"^#+ (.*)", file.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", name).lower().replace(" ", "-") for name in names], heading


def test_the_images_that_are_built_are_of_this_version() -> None:
    """And so those that Kubernetes is told to run, which another test compares."""
    found = re.findall(r"forwardpass:([\d.]+\d)", README + (ROOT / "Dockerfile").read_text())
    assert set(found) == {version("forwardpass")}


def test_a_kustomization_of_ones_own_is_as_the_page_shows_it(tmp_path: Path) -> None:
    """Its namespace, its registry, its settings and its volume of models are in what is applied."""
    own, volume, patch = re.findall(r"```yaml\n(.*?)```", (ROOT / "k8s/README.md").read_text(), re.DOTALL)
    (tmp_path / "forwardpass").symlink_to(ROOT)
    text = own.replace("components: [", "components: [forwardpass/k8s/components/keda, ")
    text += volume + patch.removeprefix("patches:\n")
    (tmp_path / "kustomization.yaml").write_text(text)
    objects = kustomize(find_kubectl(), tmp_path)
    found = {each["kind"]: each for each in objects}
    assert "all" in [each["data"].get("FORWARDPASS_VERSIONS") for each in objects if each["kind"] == "ConfigMap"]
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.org/forwardpass:{version('forwardpass')}"
    assert [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "models"] == ["/models"]
    assert found["ScaledObject"]["spec"]["triggers"][0]["metadata"]["serverAddress"] == "http://prometheus.example:9090"
    assert {each["metadata"]["namespace"] for each in objects} == {"models"}


def examples() -> list[list[tuple[str, str]]]:
    """The scenes that the README shows: each some commands, `$ command`, with what they print."""
    scenes = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    assert all(scene.startswith("$ ") for scene in scenes), (
        "a console block of the README is no command with its output"
    )
    command = re.compile(
        r"^\$ (?P<command>(?:[^\n]*\\\n)*[^\n]*)\n(?P<output>.*?)(?=^\$ |\Z)", re.DOTALL | re.MULTILINE
    )
    return [
        [(found["command"].replace("\\\n", " "), found["output"]) for found in command.finditer(scene)]
        for scene in scenes
    ]


def test_every_flag_of_the_scorer_is_explained() -> None:
    """Those that are settings stand in the table of these."""
    command = [sys.executable, "-m", "service", "score", "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"--[a-z-]+", said.partition("options:")[2].partition("settings:")[0])) - {"--help"}
    (section,) = re.findall(r"^## Files of rows\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    assert flags <= set(re.findall(r"--[a-z-]+", section))
    assert len(flags) == 8


@pytest.mark.parametrize("scene", examples(), ids=lambda scene: scene[0][0])
def test_an_example_of_the_readme_prints_what_it_shows(
    scene: list[tuple[str, str]], server: Server, tmp_path: Path
) -> None:
    """Whoever types a command of the README gets the answer that stands below it."""
    (rows,) = re.findall(r"```csv\n(.*?)```", README, re.DOTALL)
    (tmp_path / "rows.csv").write_text(rows)
    for command, output in scene:
        program, *arguments = shlex.split(command.replace(DEFAULT_ADDRESS, server.address))
        if program == "curl":
            assert json.loads(curl(arguments)) == json.loads(output)
        elif program == "cat":
            assert (tmp_path / arguments[0]).read_text() == output
        else:
            assert program == ".venv/bin/forwardpass"
            assert measured(forwardpass(arguments, tmp_path)) == measured(output)


def measured(text: str) -> str:
    """The text without what every machine measures for itself: the best size of a batch, and a pace."""
    text = re.sub(r"up to \d+ rows", "up to N rows", text)
    return re.sub(r"\([\d,]+ rows/s, [\d.]+ s\)", "(N rows/s, N s)", text)


def forwardpass(arguments: list[str], folder: Path) -> str:
    """What the command prints, run in a folder beside the models."""
    (folder / "models").symlink_to(ROOT / "models")
    command = [sys.executable, "-m", "service", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def curl(arguments: list[str]) -> str:
    """What curl would print for the few arguments that the README uses, a URL and -d, where there is no curl."""
    url = next(argument for argument in arguments if "/" in argument and not argument.startswith("{"))
    if "-d" in arguments:
        return httpx.post(f"http://{url}", content=arguments[arguments.index("-d") + 1]).text
    return httpx.get(f"http://{url}").text


def test_the_page_on_bringing_your_own_runs_as_it_stands(tmp_path: Path) -> None:
    """Its ten lines publish a network of the reader's, which the server then answers by named features."""
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    with running("--models", str(tmp_path / "models")) as own:
        content = {"instances": [{"area": 80, "rooms": 3}, [80, 3]]}
        reply = httpx.post(f"{own.url}/v1/models/house_price:predict", json=content)
    by_name, by_position = reply.json()["predictions"]
    assert by_name == by_position


def test_the_readme_shows_examples_of_every_command() -> None:
    """There is something to try for whoever serves, scores and looks."""
    commands = " ".join(command for scene in examples() for command, _ in scene)
    assert all(word in commands for word in ("curl", "score", "inspect"))


def test_the_readme_says_how_many_versions_that_went_the_metrics_still_show() -> None:
    """In words outside its tables."""
    assert re.findall(r"no\s+longer\s+served\s+the\s+last\s+(\d+)\s+are\s+still\s+shown", README) == [str(RETIRED)]


def test_every_make_target_is_explained_by_make_help() -> None:
    """`make` alone names each command there is."""
    targets = set(" ".join(re.findall(r"^([a-z -]+):", MAKEFILE, re.MULTILINE)).split())
    explained = set(re.findall(r"@echo \"make ([a-z-]+)", MAKEFILE))
    assert targets - {"help"} == explained
    (phony,) = re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)
    assert targets == set(phony.split())


def test_the_service_has_at_most_eight_direct_dependencies() -> None:
    """Few libraries are needed to serve."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) <= 8
