"""The files of k8s/: each is used, and written so that the oldest kubectl reads it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.kustomize import COMPONENTS, FOLDER, SETS, Rendered, find_kubectl, with_components
from tests.k8s.pods import pods

FILES = sorted(FOLDER.rglob("*.yaml"))
KUSTOMIZATIONS = [file for file in FILES if file.name == "kustomization.yaml"]


def named(kustomization: dict[str, Any]) -> set[str]:
    """The files that a kustomization names."""
    generators = kustomization.get("configMapGenerator", [])
    patches = kustomization.get("patches", [])
    return {
        *(each for each in kustomization.get("resources", []) if each.endswith(".yaml")),
        *kustomization.get("configurations", []),
        *(each["path"] for each in patches if "path" in each),
        *(file for each in generators for key in ("envs", "files") for file in each.get(key, [])),
    }


@pytest.mark.parametrize("file", KUSTOMIZATIONS, ids=lambda file: str(file.parent.relative_to(FOLDER)))
def test_a_kustomization_names_every_file_beside_it(file: Path) -> None:
    """Nothing lies about that no command applies."""
    beside = {each.name for each in file.parent.iterdir() if each.is_file() and each != file}
    assert named(yaml.safe_load(file.read_text())) == beside


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_a_file_is_one_that_kubectl_1_21_reads(file: Path) -> None:
    """It fails on some comments beyond ASCII and on merge keys, and loses an alias where an object is patched."""
    text = file.read_text()
    assert text.isascii()
    assert not [token for token in yaml.scan(text) if isinstance(token, yaml.AnchorToken | yaml.AliasToken)]


@pytest.mark.parametrize("parts", SETS, ids=" + ".join)
def test_whatever_is_applied_renders(rendered: Rendered, parts: tuple[str, ...]) -> None:
    """The base, each overlay, each component and all of them together; no two objects are the same one."""
    objects = rendered(*parts)
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    for each in objects:
        assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "forwardpass"
        assert re.fullmatch(r"forwardpass[a-z0-9-]*", each["metadata"]["name"])


@pytest.mark.parametrize("parts", [("base", *COMPONENTS), ("overlays/kserve",)], ids=" + ".join)
def test_two_can_share_a_namespace(rendered: Rendered, parts: tuple[str, ...], tmp_path: Path) -> None:
    """Another's prefix, labels and registry reach all that names an object, selects a pod or says an image."""
    own = {"namePrefix": "blue-", "images": [{"name": "forwardpass", "newName": "registry.test/forwardpass"}]}
    label = {"pairs": {"instance": "blue"}, "includeSelectors": True}
    objects = with_components(find_kubectl(), parts[0], parts[1:], tmp_path, own | {"labels": [label]})
    assert len(objects) == len(rendered(*parts))
    there = {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert all(name.startswith("blue-forwardpass") for _, name in there)
    for pod in pods(objects):
        assert ("ServiceAccount", pod.spec["serviceAccountName"]) in there
        assert pod.container["image"].startswith("registry.test/forwardpass:")
        assert pod.owner == "InferenceService" or pod.labels["instance"] == "blue"
        for volume in pod.spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
    for each in objects:
        if each["kind"] == "ScaledObject":
            assert ("Deployment", each["spec"]["scaleTargetRef"]["name"]) in there
            autoscaler = each["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"]
            assert autoscaler == each["spec"]["scaleTargetRef"]["name"]
        if each["kind"] == "ServiceMonitor":
            assert each["spec"]["selector"]["matchLabels"]["instance"] == "blue"
        if each["kind"] == "InferenceService":
            assert ("ServingRuntime", each["spec"]["predictor"]["model"]["runtime"]) in there


def test_a_kubectl_that_is_missing_or_too_old_is_refused(tmp_path: Path) -> None:
    """With what is wanted and what was found, in place of what it would make of files that it does not understand."""
    with pytest.raises(AssertionError, match=r"need kubectl 1.21 or newer, .*: there is none"):
        find_kubectl(str(tmp_path))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        """#!/bin/sh\necho 'Client Version: version.Info{Major:"1", Minor:"20", GitVersion:"v1.20.2"}'\n"""
    )
    kubectl.chmod(0o755)
    with pytest.raises(AssertionError, match=r"need kubectl 1.21 or newer, .*kubectl is 1.20"):
        find_kubectl(str(tmp_path))
    kubectl.write_text("#!/bin/sh\necho 'Client Version: v1.21.0'\n")
    assert find_kubectl(str(tmp_path)) == str(kubectl)
