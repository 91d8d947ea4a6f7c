"""The parts of the pages that the code dictates; `python -m tests.documentation` writes them anew."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from service import errors
from service.config import PREFIX, Settings
from service.metrics import Metrics
from service.page import Page
from training.report import report

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
KUBERNETES = ROOT / "k8s/README.md"


def table(head: str, rows: list[str]) -> str:
    """A Markdown table."""
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows])


def settings_table() -> str:
    """Every setting with its default."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | `{field.default}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return table("| Variable | Default | Meaning |", rows)


def error_table() -> str:
    """Every error that a caller can get, with its HTTP status."""

    def family(root: type[errors.ForwardpassError]) -> Iterator[type[errors.ForwardpassError]]:
        """The kinds of an error that have no kinds of their own."""
        kinds = root.__subclasses__()
        for kind in kinds:
            yield from family(kind)
        if not kinds:
            yield root

    rows = [
        f"| `{one.code}` | {one.status} | {(one.__doc__ or '').splitlines()[0]} |"
        for root in (
            errors.RequestError,
            errors.UnavailableError,
            errors.DeadlineError,
            errors.ComputeError,
            errors.InternalError,
        )
        for one in family(root)
    ]
    return table("| Code | Status | Meaning |", rows)


def metric_table() -> str:
    """Every metric of ours that a page shows."""
    families = text_string_to_metric_families(Page(Metrics()).render().decode())
    rows = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} | {family.documentation} |"
        for family in families
        if family.name.startswith("forwardpass_")
    ]
    return table("| Name | Type | Meaning |", rows)


def models_table() -> str:
    """Every published version with its figure, its baseline and a link to its card."""
    return report(Path("models")).strip()


def file_map() -> str:
    """Every module with the first line of its docstring."""
    rows = []
    for room in ("training", "service"):
        for path in sorted((ROOT / room).rglob("*.py")):
            docstring = ast.get_docstring(ast.parse(path.read_text()))
            if docstring:
                rows.append(f"| `{path.relative_to(ROOT)}` | {docstring.splitlines()[0]} |")
    return table("| Module | Job |", rows)


def deployed_settings_table() -> str:
    """What is set on Kubernetes, what it is elsewhere, and what it means."""
    rows = []
    for line in (ROOT / "k8s/base/settings.env").read_text().splitlines():
        variable, _, value = line.partition("=")
        if variable.startswith(PREFIX):
            field = Settings.model_fields[variable.removeprefix(PREFIX).lower()]
            rows.append(f"| `{variable}` | `{value}` | `{field.default}` | {field.description} |")
    return table("| Variable | Here | Default | Meaning |", rows)


def alert_table() -> str:
    """Every alert, of what it tells and what helps."""
    (group,) = yaml.safe_load((ROOT / "k8s/components/monitoring/rules.yaml").read_text())["spec"]["groups"]
    rows = []
    for rule in group["rules"]:
        said = {name: re.sub(r"{{ \$labels\.(\w+) }}", r"`<\1>`", one) for name, one in rule["annotations"].items()}
        rows.append(f"| `{rule['alert']}` | {rule['labels']['severity']} | {said['summary']} | {said['runbook']} |")
    return table("| Alert | Severity | What it tells | What to do |", rows)


Parts = Mapping[str, Callable[[], str]]

PAGES: Mapping[Path, Parts] = {
    README: {
        "models": models_table,
        "errors": error_table,
        "settings": settings_table,
        "metrics": metric_table,
        "files": file_map,
    },
    KUBERNETES: {"settings": deployed_settings_table, "alerts": alert_table},
}


def filled(text: str, parts: Mapping[str, str]) -> str:
    """A page with these parts between `<!-- name -->` and `<!-- end -->`."""
    for name, content in parts.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(f"the page has no part between <!-- {name} --> and <!-- end -->")
        text = f"{before}{start}\n{content}\n\n{end}{after}"
    return text


def written(page: Path) -> str:
    """A page with its parts as the code has them now."""
    return filled(page.read_text(), {name: made() for name, made in PAGES[page].items()})


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page))
