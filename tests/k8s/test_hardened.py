"""What every pod keeps to, whoever makes it: Kubernetes' standard `restricted`, and more."""

import pytest

from tests.k8s.kustomize import SETS, Rendered
from tests.k8s.pods import pods


@pytest.mark.parametrize("parts", SETS, ids=" + ".join)
def test_every_pod_is_hardened(rendered: Rendered, parts: tuple[str, ...]) -> None:
    """No root, no capability, nothing to write to but /tmp and the volumes of rows, no token, no other's addresses."""
    found = list(pods(rendered(*parts)))
    assert found
    for pod in found:
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {mount["mountPath"] for mount in pod.container["volumeMounts"]} <= {"/tmp", "/rows"}  # noqa: S108  # the pod's
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod.spec["volumes"] if "emptyDir" in volume)
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
        assert pod.spec["serviceAccountName"] == "forwardpass"
        assert {*pod.container["resources"]["requests"], *pod.container["resources"]["limits"]} >= {"cpu", "memory"}
        assert "memory" in pod.container["resources"]["limits"]
