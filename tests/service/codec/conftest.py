"""What the tests of both dialects ask of a refusal."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from service.errors import MAX_FAULTS, RequestError

Check = Callable[[RequestError, Any], None]


@pytest.fixture(scope="session")
def explained() -> Check:
    """Check that an error is a caller's, has faults but not too many, and that each names a place in the body."""

    def check(error: RequestError, body: Any) -> None:  # noqa: ANN401  # JSON
        assert error.status in range(400, 500)
        assert 1 <= len(error.faults) <= MAX_FAULTS
        assert error.message.startswith(str(error.faults[0]))
        pointers = [fault.pointer for fault in error.faults]
        for pointer in pointers:
            place = body
            for step in pointer.split("/")[1:]:
                key = step.replace("~1", "/").replace("~0", "~")
                place = place[int(key)] if isinstance(place, list) else place[key]
            json.dumps(place)

    return check
