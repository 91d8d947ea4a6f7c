"""Behaviour of service.http.rounds."""

import asyncio
from collections import Counter
from collections.abc import Callable

from service.http.rounds import PARTS, Rounds


class One:
    """Tells whoever counts that it was looked at."""

    def __init__(self, tell: Callable[["One"], None]) -> None:
        self._tell = tell

    def look(self, now: float) -> None:
        """Tell it."""
        assert now > 0
        self._tell(self)


def test_all_are_looked_at_in_turn_a_part_at_a_time() -> None:
    """None of many twice before each was once; who joins has its turn, who leaves has none."""

    async def look() -> None:
        rounds, seen, done = Rounds(asyncio.get_running_loop()), Counter[One](), asyncio.Event()
        turns: list[float] = []

        def tell(one: One) -> None:
            seen[one] += 1
            turns.append(loop.time())
            if seen.total() == 4 * PARTS:
                done.set()

        loop = asyncio.get_running_loop()
        many = [One(tell) for _ in range(2 * PARTS + 1)]
        for one in many:
            rounds.join(one)
        gone = many.pop()
        rounds.leave(gone)
        rounds.leave(gone)
        await asyncio.wait_for(done.wait(), 30)
        assert seen == dict.fromkeys(many, 2)
        assert turns[-1] > turns[0]

    asyncio.run(look())


def test_one_that_leaves_while_it_is_looked_at_is_looked_at_no_more() -> None:
    """Nobody is looked at then, until another one joins."""

    async def look() -> None:
        rounds, seen, looked = Rounds(asyncio.get_running_loop()), Counter[One](), asyncio.Event()

        def leave(one: One) -> None:
            seen[one] += 1
            rounds.leave(one)
            looked.set()

        for count in (1, 2):
            rounds.join(One(leave))
            await asyncio.wait_for(looked.wait(), 30)
            looked.clear()
            assert seen.total() == count

    asyncio.run(look())
