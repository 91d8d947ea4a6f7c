"""What the log says of requests that were refused or failed: a line for each, as long as they are few."""

import asyncio
import logging
from asyncio import TimerHandle
from collections import Counter

from service.errors import DeadlineError, ForwardpassError, InternalError, RequestError, UnavailableError
from service.logs import beside
from service.predict import Target

MOST = 10
"""Lines a second for each code. What comes beyond is counted: bad requests are cheap, and shall stay so."""

_SECOND = 1.0

logger = logging.getLogger(__name__)


class Flood:
    """Which of many like things are told: the first `most` between two looks, and then how many more there were."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: Counter[type[ForwardpassError]] = Counter()

    def admits(self, kind: type[ForwardpassError]) -> bool:
        """Whether one more of its kind is told."""
        self._seen[kind] += 1
        return self._seen[kind] <= self._most

    def look(self) -> dict[type[ForwardpassError], int]:
        """How many of each kind were not told since the last look."""
        seen, self._seen = self._seen, Counter()
        return {kind: count - self._most for kind, count in seen.items() if count > self._most}


class Failures:
    """Tells of requests that were refused or failed; of one event loop.

    A refusal for the client's own fault is `info`, all else a `warning`. Nothing of a body, of a key or of a header
    but the request's name is told: what is wrong with a body its client is told, under that name.
    """

    def __init__(self) -> None:
        self._flood = Flood(MOST)
        self._timer: TimerHandle | None = None

    def tell_of(
        self,
        error: ForwardpassError,
        target: Target,
        client: tuple[str, int] | None,
        request_id: bytes | None,
        seconds: float | None,
    ) -> None:
        """Tell of a prediction; `seconds` from the body, which was there, to the error."""
        self.tell(
            error,
            client,
            request_id,
            protocol=target.protocol,
            model=target.model,
            version=target.version,
            ms=None if seconds is None else round(seconds * 1000, 3),
        )

    def tell(
        self,
        error: ForwardpassError,
        client: tuple[str, int] | None,
        request_id: bytes | None = None,
        **fields: object,
    ) -> None:
        """Write a line, or count the request with those that get none. Fields that are None are left out."""
        kind = type(error)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECOND, self._look)
        if not self._flood.admits(kind):
            return
        known: dict[str, object] = {"status": kind.status, "code": kind.code}
        known |= {name: value for name, value in fields.items() if value is not None}
        if request_id is not None:
            known["request_id"] = request_id.decode()
        if client is not None:
            host, port = client
            known["client"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        logger.log(_level(kind), "%s", _sentence(error), extra=beside(known))

    def close(self) -> None:
        """Tell what is counted, and count no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._look()

    def _look(self) -> None:
        self._timer = None
        for kind, more in self._flood.look().items():
            fields = {"status": kind.status, "code": kind.code, "more": more}
            logger.log(_level(kind), "… and %d more like it within a second", more, extra=beside(fields))


def _level(kind: type[ForwardpassError]) -> int:
    return logging.INFO if issubclass(kind, RequestError) else logging.WARNING


def _sentence(error: ForwardpassError) -> str:
    if isinstance(error, RequestError):
        # Its own words may repeat what the body holds.
        return "a request is refused"
    if isinstance(error, InternalError):
        # It says no more than that the log has a line beside this one.
        return "a request failed"
    is_refused = isinstance(error, UnavailableError | DeadlineError)
    return f"a request {'is refused' if is_refused else 'failed'}: {error.message}"
