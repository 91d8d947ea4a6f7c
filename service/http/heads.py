"""What the heads of predictions said, remembered: one that comes again, byte by byte, says the same."""

import re
from functools import lru_cache

import msgspec

from service.predict import Target

LONGEST = 512
"""Bytes of a head that is remembered."""
MOST = 1024
"""How many are remembered at a time."""

_NAME = rb"([A-Za-z0-9_.-]+)"
_PATH = re.compile(
    rb"/v1/models/%b(?:/versions/%b)?:predict|/v2/models/%b(?:/versions/%b)?/infer" % (_NAME, _NAME, _NAME, _NAME)
)
_END = b"\r\n\r\n"


class Head(msgspec.Struct, frozen=True, gc=False):
    """What is to be known of the head of a request to predict."""

    target: Target
    length: int
    """Bytes of the body."""
    accept_encoding: str | None = None
    json_length: str | None = None
    """The header of that name, as it came."""
    request_id: bytes | None = None
    """What the client calls the request."""
    keep_alive: bool = True
    is_unique: bool = False
    """Whether a header tells this request from all others, so that its head will not come again."""


class Heads:
    """The heads that came lately to any connection of a process.

    It holds only what the parser has read before: nothing is parsed here, so that nothing can be read otherwise.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> Head | None:
        """The head of the one whole request in `data`; None where it is another, or was not there lately."""
        end = data.find(_END, 0, LONGEST) + len(_END)
        head = self._known.get(data[:end])
        return head if head is not None and end + head.length == len(data) else None

    def keep(self, data: bytes, head: Head, body: bytes) -> None:
        """Remember the head of `data`, of which a parser at the start of a request read this `head` and then `body`.

        Only where it is plain to see which bytes the head was: those up to the first empty line, all behind which
        is the body.
        """
        if head.is_unique or not head.keep_alive or not body:
            return
        end = data.find(_END, 0, LONGEST) + len(_END)
        raw = data[:end]
        if not raw.startswith(b"POST ") or raw.count(b"\n") != raw.count(b"\r\n") or data[end:] != body:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[raw] = head


@lru_cache(maxsize=4096)
def target_of(url: bytes) -> Target | None:
    """What the URL of a prediction names; None for any other, and for one that would have to be decoded."""
    found = _PATH.fullmatch(url)
    if found is None:
        return None
    model, version, other_model, other_version = (None if one is None else one.decode() for one in found.groups())
    return Target("v2", other_model or "", other_version) if model is None else Target("v1", model, version)
