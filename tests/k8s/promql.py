"""What an expression of PromQL asks for, and what a server's page has to give."""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple, get_args

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from service import errors
from service.metrics import Dialect, Metrics, Outcome, Version
from service.page import Page

TARGET = frozenset({"namespace", "job", "pod"})
"""What the operator adds to every sample: where it comes from."""
CLOSED = frozenset({"protocol", "outcome", "code", "phase", "le"})
"""Labels of which the code knows all values; those of the others are names that somebody gave."""


class Selector(NamedTuple):
    """What is asked for of a metric: its name, and the values that are named for each label."""

    name: str
    values: dict[str, list[str]]


def page() -> dict[str, dict[str, set[str]]]:
    """Every sample of the page of a server with two workers that has met everything: its labels, their values."""
    metrics = Metrics(2)
    metrics.show_process(0)
    metrics.show_process(1)
    version = Version("line", "1")
    metrics.selected = lambda: [(version, "regression")]
    stats = metrics.model(version.model, int(version.version))
    for dialect, outcome in product(get_args(Dialect), get_args(Outcome)):
        stats.requests.add(dialect, outcome)
    for code in codes(errors.RequestError):
        stats.invalid.add(code)
    for code in codes(errors.ForwardpassError):
        metrics.unrouted.add(code)
    stats.outside.add("x")
    stats.answer("v1", decode=0, encode=0, duration=0)
    stats.queue.observe(0)
    stats.count_batch(1, 0)
    for outcome in ("ok", "failed"):
        metrics.loads.add(*version, outcome)
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in text_string_to_metric_families(Page(metrics).render().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def codes(root: type[errors.ForwardpassError]) -> Iterator[str]:
    """The codes of an error and of all its kinds."""
    yield root.code
    for kind in root.__subclasses__():
        yield from codes(kind)


def selectors(expression: Any) -> list[Selector]:  # noqa: ANN401  # the parser's own types have no common base
    """What an expression, parsed or not, asks for."""
    found: list[Selector] = []

    def visit(part: Any) -> None:  # noqa: ANN401  # the same
        if isinstance(part, promql_parser.VectorSelector):
            alternatives = (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe)
            values = {
                one.name: one.value.split("|") if one.op in alternatives else [one.value]
                for one in part.matchers.matchers
            }
            found.append(Selector(part.name or "", values))

    promql_parser.walk(_parsed(expression), visit)
    return found


def changes(expression: str) -> list[Selector]:
    """What of it only the changes are looked at, so that a counter may begin anew."""
    found: list[Selector] = []

    def visit(part: Any) -> None:  # noqa: ANN401  # the same
        if isinstance(part, promql_parser.Call) and part.func.name in {"rate", "increase", "changes"}:
            found.extend(selectors(part))

    promql_parser.walk(_parsed(expression), visit)
    return found


def groupings(expression: str) -> list[tuple[set[str], list[Selector]]]:
    """The labels that each aggregation and each join of an expression goes by, and what stands in it."""
    found: list[tuple[set[str], list[Selector]]] = []

    def visit(part: Any) -> None:  # noqa: ANN401  # the same
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            found.append((set(part.modifier.labels), selectors(part.expr)))
        if isinstance(part, promql_parser.BinaryExpr) and part.modifier and part.modifier.matching:
            found.append((set(part.modifier.matching.labels), selectors(part)))

    promql_parser.walk(_parsed(expression), visit)
    return found


def _parsed(expression: Any) -> Any:  # noqa: ANN401  # the same
    return promql_parser.parse(expression) if isinstance(expression, str) else expression
