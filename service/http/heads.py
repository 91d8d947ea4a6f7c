"""The heads of predictions that came lately: one that differs in nothing but the request's name says the same."""

import re
from typing import NamedTuple

import msgspec

from service.predict import Target

LONGEST = 512
"""Bytes of a head that is remembered."""
MOST = 1024
"""How many are remembered at a time."""

_END = b"\r\n\r\n"
_OWN = re.compile(rb"\r\n(?i:(x-request-id)|traceparent): ([!-~]{1,128})(?=\r\n[^ \t])")
"""A line that tells a request from all others, and nothing else of it: a name that no other request has."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What is to be known of the head of a request to predict."""

    target: Target
    length: int
    """Bytes of the body."""
    accept_encoding: str | None = None
    json_length: str | None = None
    """The header of that name, as it came."""
    keep_alive: bool = True


class Found(NamedTuple):
    """A head that is known, and what the client calls the request."""

    head: Head
    request_id: bytes | None


class Heads:
    """The heads that came lately to any connection of a process.

    It holds only what the parser has read before: nothing is parsed here, so that nothing can be read otherwise. Two
    heads that differ in nothing but the names that clients give to their requests say the same.

    A head with a key is among them only if the key was found good, and is known by that very key; so keys lie in memory
    a while, as they do with each request anyhow, and never leave it. How long it takes to find a head tells nothing of
    another's key: bytes are compared only where their whole hashes, of which the seed is secret, are equal.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> Found | None:
        """The head of the one whole request in `data`; None where it is another, or was not there lately."""
        # Where there is no end, three bytes, which are no head.
        end = data.find(_END, 0, LONGEST) + len(_END)
        raw = data[:end]
        head, request_id = self._known.get(raw), None
        if head is None:
            first, *own = _OWN.split(raw)
            if not own:
                return None
            head = self._known.get(b"".join([first, *own[2::3]]))
            names = [value for is_id, value in zip(own[::3], own[1::3], strict=True) if is_id]
            if len(names) > 1:
                return None
            request_id = names[0] if names else None
        return Found(head, request_id) if head is not None and end + head.length == len(data) else None

    def keep(self, data: bytes, head: Head, body: bytes) -> None:
        """Remember the head of `data`, of which a parser at the start of a request read this `head` and then `body`.

        Only where it is plain to see which bytes the head was: those up to the first empty line, all behind which
        is the body.
        """
        end = data.find(_END, 0, LONGEST) + len(_END)
        raw = data[:end]
        is_plain = raw.startswith(b"POST ") and raw.count(b"\n") == raw.count(b"\r\n") and data[end:] == body
        if not is_plain or not head.keep_alive or not body:
            return
        first, *own = _OWN.split(raw)
        common = b"".join([first, *own[2::3]])
        # What is left of such lines, where they are not as plain.
        lowered = common.lower()
        if b"x-request-id" in lowered or b"traceparent" in lowered:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[common] = head
