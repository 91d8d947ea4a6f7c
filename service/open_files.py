"""How many files this process may have open: each connection is one."""

import resource

OF_ITS_OWN = 100
"""Files that a server has open beside its connections, amply."""


def allowed() -> int | None:
    """How many may be open now; None where nothing bounds them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def missing(connections: int, may: int | None) -> int:
    """How many more would be needed for so many connections; none are missing where it is 0."""
    return 0 if may is None else max(0, connections + OF_ITS_OWN - may)


def make_room(connections: int) -> int:
    """Allow this process what so many connections need, as far as the system lets it; what is `missing` still."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lack = missing(connections, allowed())
    if lack:
        wanted = soft + lack
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
    return missing(connections, allowed())
