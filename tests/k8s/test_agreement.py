"""What k8s/ says of the server, the image and the scorer is what these say of themselves."""

import copy
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from service.__main__ import _parser
from service.config import PREFIX, Settings
from tests.k8s.kustomize import COMPONENTS, ROOT, SETS, One, Rendered
from tests.k8s.pods import Pod, pods

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def instruction(name: str) -> str:
    """What the last instruction of this name says in the Dockerfile."""
    return str(re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)[-1])


def everything(rendered: Rendered) -> list[Pod]:
    """Every pod of everything that somebody may apply."""
    return [pod for parts in SETS for pod in pods(rendered(*parts))]


def test_images_are_those_of_this_version(rendered: Rendered) -> None:
    """The image that is built and k8s/ speak of the same: the version, and behind it what the build is for."""
    found = {(pod.owner, pod.container["image"]) for pod in everything(rendered)}
    builds = [
        ("Deployment", ""),
        ("InferenceService", ""),
        ("Deployment", "-cuda"),
        ("CronJob", "-batch"),
        ("RayJob", "-ray"),
    ]
    assert found == {(owner, f"forwardpass:{PROJECT['version']}{build}") for owner, build in builds}


def test_pods_run_as_the_user_of_the_image(rendered: Rendered) -> None:
    """Its files are readable to others too, but what it writes to a volume has one owner."""
    for pod in everything(rendered):
        context = pod.spec["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == instruction("USER")


def test_the_port_is_that_of_the_image_and_of_the_server(one: One) -> None:
    """Nothing in k8s/ sets it."""
    (container,) = one("Deployment", "base")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == Settings.model_fields["port"].default == int(instruction("EXPOSE"))
    # By it README forwards the Service's.
    assert [each["port"] for each in one("Service", "base")["spec"]["ports"]] == [port["containerPort"]]
    (runtime,) = one("ServingRuntime", "overlays/kserve")["spec"]["containers"]
    assert [each["containerPort"] for each in runtime["ports"]] == [port["containerPort"]]
    assert {runtime[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "readiness", "liveness")} == {
        port["containerPort"]
    }


def test_ports_are_meant_by_the_names_that_they_have(one: One) -> None:
    """Of the Service, of the policy, of the probes."""
    (container,) = one("Deployment", "base")["spec"]["template"]["spec"]["containers"]
    (service,) = one("Service", "base")["spec"]["ports"]
    (rule,) = one("NetworkPolicy", "base")["spec"]["ingress"]
    probes = [container[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "readiness", "liveness")]
    assert [service["targetPort"], *(port["port"] for port in rule["ports"]), *probes] == ["http"] * 5
    assert [port["name"] for port in container["ports"]] == ["http"]


def test_settings_are_the_servers(rendered: Rendered) -> None:
    """No name that it does not know; what they say, a real server reads in test_server."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for parts in SETS:
        objects = rendered(*parts)
        maps = [each["data"] for each in objects if each["kind"] == "ConfigMap"]
        named = {name for data in maps for name in data if name.startswith(PREFIX)}
        assert named | {name for pod in pods(objects) for name in pod.settings} <= known


@pytest.mark.parametrize("parts", [("base",), ("overlays/cuda",), ("overlays/kserve",)], ids=" + ".join)
def test_a_server_has_the_time_that_its_end_takes(rendered: Rendered, parts: tuple[str, ...]) -> None:
    """A few seconds more than it may wait and what is in flight may take; no hook waits beside it."""
    objects = rendered(*parts)
    settings = {name: value for each in objects if each["kind"] == "ConfigMap" for name, value in each["data"].items()}
    for pod in pods(objects):
        given = settings | pod.settings
        least = float(given["FORWARDPASS_DRAIN_DELAY"]) + float(given["FORWARDPASS_DRAIN_SECONDS"])
        assert least + 3 <= pod.spec["terminationGracePeriodSeconds"] <= least + 10
        assert float(given["FORWARDPASS_DRAIN_DELAY"]) > 0
        assert "lifecycle" not in pod.container


def test_both_ways_to_serve_are_the_same_container(one: One) -> None:
    """In pods that are alike, but for what KServe asks for: its own names, ports by number, a whole CPU to scale by."""
    deployment = one("Deployment", "base")["spec"]["template"]["spec"]
    runtime, service = one("ServingRuntime", "overlays/kserve")["spec"], one("InferenceService", "overlays/kserve")
    (own,), (other,) = deployment["containers"], runtime["containers"]
    expected = copy.deepcopy({name: own[name] for name in own.keys() - {"name", "envFrom", "ports"}})
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        expected[probe]["httpGet"]["port"] = 8080
    expected["resources"]["requests"]["cpu"] = "1"
    assert {name: other[name] for name in other.keys() - {"name", "env", "ports"}} == expected
    assert runtime["volumes"] == deployment["volumes"]
    predictor = service["spec"]["predictor"]
    alike = deployment.keys() - {"containers", "volumes", "topologySpreadConstraints"}
    assert {name: predictor[name] for name in alike} == {name: deployment[name] for name in alike}
    scaler = one("HorizontalPodAutoscaler", "base")["spec"]
    assert [predictor[name] for name in ("minReplicas", "maxReplicas")] == [
        scaler["minReplicas"],
        scaler["maxReplicas"],
    ]


def test_both_ways_to_serve_have_the_same_settings(one: One) -> None:
    """KServe's runtime cannot name the base's ConfigMap."""
    (runtime,) = one("ServingRuntime", "overlays/kserve")["spec"]["containers"]
    listed = {each["name"]: each["value"] for each in runtime["env"]}
    assert listed == one("ConfigMap", "base")["data"] | {"FORWARDPASS_MODELS": "/mnt/models"}


def test_both_ways_to_serve_scale_alike(one: One) -> None:
    """KServe knows shares of what is requested only, and of at most 100 percent; the base names the CPU itself."""
    (metric,) = one("HorizontalPodAutoscaler", "base")["spec"]["metrics"]
    predictor = one("InferenceService", "overlays/kserve")["spec"]["predictor"]
    (runtime,) = one("ServingRuntime", "overlays/kserve")["spec"]["containers"]
    assert predictor["scaleMetric"] == metric["resource"]["name"]
    thousandths = 10 * predictor["scaleTarget"] * int(runtime["resources"]["requests"]["cpu"])
    assert f"{thousandths}m" == metric["resource"]["target"]["averageValue"]


def test_what_selects_pods_selects_those_that_it_is_about(rendered: Rendered) -> None:
    """The Deployment, the Service, the budget and each policy: all of one kind of pod, and no others."""
    objects = rendered("base", *COMPONENTS)
    chosen = {}
    for each in objects:
        spec = each.get("spec", {})
        match each["kind"]:
            case "Service":
                wanted = spec["selector"]
            case "Deployment" | "PodDisruptionBudget":
                wanted = spec["selector"]["matchLabels"]
            case "NetworkPolicy":
                wanted = spec["podSelector"]["matchLabels"]
            case _:
                continue
        found = {pod.owner for pod in pods(objects) if wanted.items() <= pod.labels.items()}
        chosen[each["kind"], each["metadata"]["name"]] = found
    assert chosen == {
        ("Deployment", "forwardpass"): {"Deployment"},
        ("Service", "forwardpass"): {"Deployment"},
        ("PodDisruptionBudget", "forwardpass"): {"Deployment"},
        ("NetworkPolicy", "forwardpass"): {"Deployment"},
        ("NetworkPolicy", "forwardpass-score"): {"CronJob"},
        ("NetworkPolicy", "forwardpass-score-ray"): {"RayJob"},
    }


@pytest.mark.parametrize("parts", SETS, ids=" + ".join)
def test_what_is_named_is_there(rendered: Rendered, parts: tuple[str, ...]) -> None:
    """Accounts, claims, maps of settings, and what is scaled."""
    objects = rendered(*parts)
    there = {(each["kind"], each["metadata"]["name"]) for each in objects}
    for pod in pods(objects):
        assert ("ServiceAccount", pod.spec["serviceAccountName"]) in there
        for volume in pod.spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
        for source in pod.container.get("envFrom", []):
            assert ("ConfigMap", source["configMapRef"]["name"]) in there
    for each in objects:
        if "scaleTargetRef" in each.get("spec", {}):
            assert ("Deployment", each["spec"]["scaleTargetRef"]["name"]) in there


def test_nothing_says_twice_how_many_pods_there_are(rendered: Rendered) -> None:
    """One autoscaler says it, which each `kubectl apply` of a number would contradict."""
    for parts in SETS:
        objects = rendered(*parts)
        scalers = [each for each in objects if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
        deployments = [each for each in objects if each["kind"] == "Deployment"]
        assert len(scalers) == len(deployments)
        assert not [each for each in deployments if "replicas" in each["spec"]]


def test_a_gpu_computes_where_one_is_asked_for(one: One) -> None:
    """The provider needs the resource, and the resource is wasted without the provider."""
    pod = one("Deployment", "overlays/cuda")["spec"]["template"]["spec"]
    (container,), (toleration,) = pod["containers"], pod["tolerations"]
    limits = container["resources"]["limits"]
    assert limits[toleration["key"]] == limits["nvidia.com/gpu"] == 1
    assert {"name": "FORWARDPASS_PROVIDER", "value": "cuda"} in container["env"]


def test_ray_is_the_one_that_is_locked(one: One) -> None:
    """By its version KubeRay chooses the probes."""
    job = one("RayJob", "base", "batch/ray")["spec"]
    (locked,) = re.findall(r"^ray==(\S+)", (ROOT / "requirements-ray.lock").read_text(), re.MULTILINE)
    assert job["rayClusterSpec"]["rayVersion"] == locked


def test_the_machines_of_ray_are_alike(one: One) -> None:
    """The head is what a worker is, but for its name and what it may use."""
    cluster = one("RayJob", "base", "batch/ray")["spec"]["rayClusterSpec"]
    templates = [copy.deepcopy(group["template"]) for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    for template in templates:
        (container,) = template["spec"]["containers"]
        assert container.pop("name").startswith("ray-")
        assert container.pop("resources")
    head, *workers = templates
    assert workers == [head]


def test_the_job_of_ray_is_a_command_of_the_scorer(one: One) -> None:
    """On the volume that head and workers share; the CronJob's command runs in test_scorer."""
    job = one("RayJob", "base", "batch/ray")["spec"]
    # The machines go with it, and the head computes nothing.
    assert job["shutdownAfterJobFinishes"] is True
    assert job["rayClusterSpec"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    command, *arguments = shlex.split(job["entrypoint"])
    assert command in PROJECT["scripts"]
    options = _parser().parse_args(arguments)
    assert options.engine == "ray"
    assert {Path(options.input).parts[1], Path(options.output).parts[1]} == {"rows"}
    assert (ROOT / "models" / options.model).is_dir()
