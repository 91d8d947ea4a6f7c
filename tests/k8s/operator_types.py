"""Reads objects by the types of Prometheus' operator and of KEDA, in whose environment this is run: JSON in, JSON out.

What comes back of each is what the types know of it.
"""

import json
import sys

from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

KINDS = {"PrometheusRule": PrometheusRule, "ScaledObject": ScaledObject, "ServiceMonitor": ServiceMonitor}

if __name__ == "__main__":
    read = [KINDS[each["kind"]].model_validate(each) for each in json.load(sys.stdin)]
    json.dump([each.model_dump(mode="json", by_alias=True, exclude_unset=True) for each in read], sys.stdout)
