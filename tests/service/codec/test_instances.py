"""Behaviour of service.codec.instances."""

import json

import pytest

from service.codec.body import LARGE
from service.codec.instances import read_instances, refuse_floods
from service.errors import JsonError, RequestError, ShapeError, StructureError


def body_of(instances: object) -> bytes:
    """A request."""
    return json.dumps({"signature_name": "a", "instances": instances}).encode()


@pytest.mark.parametrize("instances", [[1], [[], {}, None, "a", True, 1.5]])
def test_instances_of_any_kind_are_read(instances: list[object]) -> None:
    """What an instance should be is for others to say."""
    assert read_instances(body_of(instances), "a list", 6) == instances


@pytest.mark.parametrize("count", [0, 7])
def test_their_number_is_bounded(count: int) -> None:
    """None and too many are told in the words of whoever reads them."""
    with pytest.raises(ShapeError, match=f"/instances should be so many rows, but is a list of {count}"):
        read_instances(body_of([1] * count), "so many rows", 6)


@pytest.mark.parametrize(("body", "kind"), [(b"{", JsonError), (b"{}", StructureError), (body_of(5), StructureError)])
def test_a_body_without_a_list_is_refused(body: bytes, kind: type[RequestError]) -> None:
    """No JSON, or none of a request."""
    with pytest.raises(kind):
        read_instances(body, "", 1)


def test_only_a_large_body_is_counted() -> None:
    """A small one costs less to read; and what stands beside the instances does not count."""
    refuse_floods(body_of([1] * 1000), 10, "")
    refuse_floods(body_of([1]).replace(b'"a"', json.dumps([1] * LARGE).encode()), 10, "")
    refuse_floods(body_of([1] * LARGE), LARGE, "")
    with pytest.raises(ShapeError, match="/instances should be fewer"):
        refuse_floods(body_of([1] * LARGE), LARGE - 1, "fewer")
