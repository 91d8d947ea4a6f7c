"""How long a client is waited for: for what it has to send, and until it reads what it was sent."""


class Patience:
    """Of one connection. It reads no clock: who looks says what time it is, in seconds."""

    def __init__(self, now: float, seconds: float, unread_seconds: float) -> None:
        """Wait so many seconds for what comes first, and so many until a client reads anything."""
        self._due: float | None = now + seconds
        """When the wait is over; None where it has begun since the last look."""
        self._unread_seconds = unread_seconds
        self._unread = 0
        """Bytes that waited for the client to read, at the last look."""
        self._unread_since = now
        """Since when it has read none of them."""

    def restart(self) -> None:
        """Wait for something else, from the next look on."""
        self._due = None

    def is_over(self, now: float, seconds: float, *, is_paused: bool) -> bool:
        """Whether what is waited for did not come in so many seconds.

        While the wait is paused nothing can come: the client has its whole time from then on.
        """
        if self._due is None or is_paused:
            self._due = now + seconds
        return now >= self._due

    def is_stuck(self, now: float, unread: int) -> bool:
        """Whether the client has read nothing for too long of what waits for it, which is `unread` bytes now."""
        before, self._unread = self._unread, unread
        if unread == 0 or unread < before:
            self._unread_since = now
        return now - self._unread_since > self._unread_seconds
