"""Requests that ask a version of a model for the golden rows that it was published with."""

from pathlib import Path

import numpy as np

from benchmarks.wire import Request, posted
from service.manifest import GOLDEN_FILE, MANIFEST_FILE, Golden, ModelManifest


class GoldenRows:
    """Those of the version that lies in a folder."""

    def __init__(self, place: Path) -> None:
        self._manifest = ModelManifest.parse((place / MANIFEST_FILE).read_bytes(), str(place))
        golden = Golden.parse((place / GOLDEN_FILE).read_bytes(), str(place))
        self._inputs = {name: np.array(values) for name, values in golden.inputs.items()}
        self.count = min(len(rows) for rows in self._inputs.values())
        self.width = sum(np.array(rows[0]).size for rows in (*golden.inputs.values(), *golden.outputs.values()))
        """Numbers of a row and its answer together."""

    def request(self, count: int) -> Request:
        """So many of them, from the first again where there are fewer; of version 2, in JSON."""
        given = []
        for spec in self._manifest.inputs:
            rows = self._inputs[spec.name]
            data = np.resize(rows, (count, *rows.shape[1:]))
            given.append({"name": spec.name, "datatype": spec.datatype, "shape": data.shape, "data": data.tolist()})
        path = f"/v2/models/{self._manifest.name}/versions/{self._manifest.version}/infer"
        return posted(path, {"inputs": given})
