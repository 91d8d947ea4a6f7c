"""Compares objects with the types of KServe's SDK, in whose environment this is run: JSON in, JSON out.

The SDK passes over what it does not know, which a cluster refuses; so its types are walked here.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import kserve
import kserve.models
import kubernetes.client.models

KINDS = {"InferenceService": kserve.V1beta1InferenceService, "ServingRuntime": kserve.models.V1alpha1ServingRuntime}


def faults(value: Any, type_name: str, path: str) -> Iterator[str]:  # noqa: ANN401  # JSON
    """What of a value is not of this type, as `path: what`."""
    if found := re.fullmatch(r"[Ll]ist\[(.+)\]", type_name):
        if not isinstance(value, list):
            yield f"{path}: no list"
            return
        for index, each in enumerate(value):
            yield from faults(each, found[1], f"{path}/{index}")
    elif found := re.fullmatch(r"[Dd]ict[(\[]\w+, (.+)[)\]]", type_name):
        if not isinstance(value, dict):
            yield f"{path}: no map"
            return
        for name, each in value.items():
            yield from faults(each, found[1], f"{path}/{name}")
    elif type_name in PLAIN:
        if not isinstance(value, PLAIN[type_name]):
            yield f"{path}: no {type_name}"
    else:
        yield from _faults_of_model(value, _model(type_name), path)


PLAIN: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "object": (object,),
    "ResourceQuantity": (str, int),
}


def _model(name: str) -> Any:  # noqa: ANN401  # a generated class
    """The class of a type, of KServe's own or of Kubernetes'."""
    return getattr(kserve.models, name, None) or getattr(kubernetes.client.models, name)


def _faults_of_model(value: Any, model: Any, path: str) -> Iterator[str]:  # noqa: ANN401  # JSON, and its class
    if not isinstance(value, dict):
        yield f"{path}: no {model.__name__}"
        return
    attributes = {key: attribute for attribute, key in model.attribute_map.items()}
    for key, each in value.items():
        if key in attributes:
            yield from faults(each, model.openapi_types[attributes[key]], f"{path}/{key}")
        else:
            yield f"{path}: {key} is unknown"


if __name__ == "__main__":
    objects = json.load(sys.stdin)
    found = [fault for each in objects for fault in _faults_of_model(each, KINDS[each["kind"]], each["kind"])]
    json.dump({"checked": sorted(each["kind"] for each in objects), "faults": found}, sys.stdout)
