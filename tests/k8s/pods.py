"""The pods that objects make, whatever kind of object it is."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Pod(NamedTuple):
    """What a pod is made of."""

    owner: str
    """The kind of the object that makes it."""
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        """The only one."""
        (only,) = self.spec["containers"]
        return dict(only)

    @property
    def settings(self) -> dict[str, str]:
        """The variables `FORWARDPASS_*` that the container's own list gives it."""
        listed = {each["name"]: each.get("value") for each in self.container.get("env", [])}
        return {name: value for name, value in listed.items() if name.startswith("FORWARDPASS_")}


def pods(objects: Sequence[dict[str, Any]]) -> Iterator[Pod]:
    """Every pod of these objects."""
    for each in objects:
        for template in _templates(each, objects):
            yield Pod(each["kind"], template.get("metadata", {}).get("labels", {}), template["spec"])


def _templates(each: dict[str, Any], objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    spec = each.get("spec", {})
    match each["kind"]:
        case "Deployment":
            return [spec["template"]]
        case "CronJob":
            return [spec["jobTemplate"]["spec"]["template"]]
        case "RayJob":
            cluster = spec["rayClusterSpec"]
            groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
            return [spec["submitterPodTemplate"], *(group["template"] for group in groups)]
        case "InferenceService":
            # KServe puts the pod together of the service's own fields and its runtime's.
            (runtime,) = [one["spec"] for one in objects if one["kind"] == "ServingRuntime"]
            own = ("model", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")
            pod = {name: value for name, value in spec["predictor"].items() if name not in own}
            return [{"spec": pod | {name: runtime[name] for name in ("containers", "volumes")}}]
    return []
