"""What is in k8s/, rendered once for all tests that look at it."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.k8s.kustomize import FOLDER, find_kubectl, kustomize, with_components

Objects = list[dict[str, Any]]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Objects]:
    """Renders a folder of k8s/ with components over it.

    `rendered("base")` or `rendered("overlays/cuda")`, and `rendered("base", "monitoring", "batch/ray")`, give the
    objects, which nobody may change.
    """
    kubectl = find_kubectl()

    @cache
    def render(base: str, *components: str) -> Objects:
        if not components:
            return kustomize(kubectl, FOLDER / base)
        return with_components(kubectl, base, components, tmp_path_factory.mktemp("kustomization"))

    return render


@pytest.fixture(scope="session")
def one(rendered: Callable[..., Objects]) -> Callable[..., dict[str, Any]]:
    """Renders as `rendered` does, and gives the only object of a kind: `one("Deployment", "overlays/cuda")`."""

    def find(kind: str, base: str, *components: str) -> dict[str, Any]:
        found = [each for each in rendered(base, *components) if each["kind"] == kind]
        assert len(found) == 1, [each["metadata"]["name"] for each in found]
        return found[0]

    return find
