"""A run: what an earlier one has done, then what an engine computes, each written, logged and shown."""

import logging
from collections.abc import Callable, Generator
from contextlib import closing

from service.errors import RowError, ScoreError
from service.scoring.progress import Display
from service.scoring.writing.journal import Journal
from service.scoring.writing.output import Output
from service.scoring.writing.results import Place, Result

Results = Generator[Result, None, None]

logger = logging.getLogger(__name__)


def run(
    results: Callable[[Place | None], Results],
    output: Output,
    journal: Journal,
    shown: Display,
    *,
    resumable: bool,
) -> int:
    """Write what the journal holds, then the `results` behind that, which it logs if they are `resumable`; then close.

    Returns how many rows the journal held. Where the run is ended before it is whole, what is done is kept, and said
    so; where a row ends it, nothing is.
    """

    def take(result: Result) -> None:
        output.write(result)
        shown.advance(result.size, result.scored.rows, result.scored.rejected)

    for result in journal.replay():
        take(result)
    before = output.rows
    shown.begin()
    try:
        with closing(results(journal.position)) as more:
            for result in more:
                take(result)
                if resumable:
                    journal.append(result)
        output.close()
    except RowError:
        journal.discard()
        raise
    except (ScoreError, KeyboardInterrupt, SystemExit) as ended:
        if not isinstance(ended, ScoreError):
            journal.commit()
        if journal.position is not None:
            logger.warning("ended before the output is whole; what is done is kept: go on with --resume")
        raise
    return before
