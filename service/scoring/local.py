"""The engine of this machine: blocks are scored on some threads, and come back in order."""

from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from service.scoring.scorer import Scorer
from service.scoring.walk import Inputs
from service.scoring.writing.results import Place, Result, result_of


def run(
    inputs: Inputs, types: Mapping[str, pa.DataType], after: Place | None, scorer: Scorer, threads: int
) -> Generator[Result, None, None]:
    """What becomes of each block behind `after`, in order, scored on so many threads.

    Two blocks more than there are threads are in memory at most, however fast they are read. Raises what reading
    and scoring raise.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "score") as pool:
        try:
            for segment in inputs.segments(after):
                for place, block in inputs.blocks(segment, types, after):
                    waiting.append(pool.submit(result_of, scorer, place, block))
                    if len(waiting) > threads + 1:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
