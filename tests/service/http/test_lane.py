"""Behaviour of service.http.lane."""

import pytest

from service.http.lane import Target, target_of


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (b"/v1/models/line:predict", Target("v1", "line", None)),
        (b"/v1/models/line/versions/3:predict", Target("v1", "line", "3")),
        (b"/v2/models/line/infer", Target("v2", "line", None)),
        (b"/v2/models/a.b-c_1/versions/12/infer", Target("v2", "a.b-c_1", "12")),
        (b"/v1/models/stats:predict", Target("v1", "stats", None)),
    ],
)
def test_the_paths_of_predictions_are_known(url: bytes, target: Target) -> None:
    """They name the protocol, the model and maybe its version."""
    assert target_of(url) == target


@pytest.mark.parametrize(
    "url",
    [
        b"/",
        b"/v1/models/line",
        b"/v1/models/line:classify",
        b"/v1/models/line:predict/",
        b"/v1/models/line:predict?x=1",
        b"/v1/models/l%69ne:predict",
        b"/v1/models/a/b:predict",
        b"/v2/models/line/versions/infer",
        b"/v2/models//infer",
        b"/v2/models/line/ready",
        b"http://server/v2/models/line/infer",
        "/v2/models/ü/infer".encode(),
    ],
)
def test_all_other_paths_are_the_applications(url: bytes) -> None:
    """It decodes what has to be decoded, and says what is wrong with the rest."""
    assert target_of(url) is None
