"""Version 1 for words: contexts in, the most likely next words out."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np

from service.codec.body import below
from service.codec.faults import describe
from service.codec.instances import read_instances, refuse_floods
from service.codec.ranking import largest_columns
from service.codec.replies import MAX_REPLY, too_large
from service.codec.tensors import Array, Inputs
from service.errors import MAX_FAULTS, ElementError, FeatureError, RequestError, ShapeError, StructureError, merge
from service.manifest import ModelManifest

NEXT_WORDS = 5
"""Words of an answer, the most likely first."""
LONGEST_CONTEXT = 4096
"""Words of a context. Networks here learned from contexts of some dozens, and a run's time grows with the length."""
MOST_WORDS = 1 << 16
"""Words of all contexts of a request, so that none holds the server for seconds."""
_AROUND_A_WORD = 48
"""About how many bytes an answer has for each of its words beside the word itself."""


class _Instance(msgspec.Struct, forbid_unknown_fields=True):
    context: list[str]


class _Request(msgspec.Struct):
    instances: list[_Instance]


_REQUESTS = msgspec.json.Decoder(_Request)


class Contexts(NamedTuple):
    """A valid request: its contexts grouped by length, since only rows of one shape can be computed together."""

    groups: tuple[Inputs, ...]
    places: tuple[tuple[int, ...], ...]
    """For each group, where in the request its rows stood."""
    unknown: tuple[tuple[int, ...], ...]
    """For each row of the request, which of its words the vocabulary lacks."""


class WordsCodec:
    """Reads predict requests of at most `max_rows` contexts for one `next_word` model and writes their replies.

    A request whose reply would have more than about `max_reply` bytes is refused before it is computed.
    """

    def __init__(self, manifest: ModelManifest, max_rows: int, max_reply: int = MAX_REPLY) -> None:
        self._max_rows = max_rows
        self._expected = f"a list of 1 to {max_rows} contexts, of {MOST_WORDS} words together or fewer"
        self._words = manifest.inputs[0].vocabulary or ()
        self._ids = {word: index for index, word in enumerate(self._words)}
        self._max_reply = max_reply
        longest = max((len(word.encode()) for word in self._words), default=0)
        self._answer_bytes = NEXT_WORDS * (longest + _AROUND_A_WORD)

    def decode(self, body: bytes) -> Contexts:
        """The contexts in `body`; raises a `RequestError` with every fault, `MAX_FAULTS` at most."""
        # Around a context stand two brackets and a comma, and the list has a bracket.
        refuse_floods(body, MOST_WORDS + 3 * self._max_rows + 1, self._expected)
        try:
            instances = _REQUESTS.decode(body).instances
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            instances = []
        lengths = [len(instance.context) for instance in instances]
        if (
            not 0 < len(lengths) <= self._max_rows
            or not 0 < min(lengths) <= max(lengths) <= LONGEST_CONTEXT
            or sum(lengths) > MOST_WORDS
        ):
            raise self._second_look(body)
        size = len(lengths) * self._answer_bytes
        if size > self._max_reply:
            raise too_large("/instances", len(lengths), size, self._max_reply)
        by_length: dict[int, list[int]] = {}
        rows: list[list[int]] = []
        unknown: list[tuple[int, ...]] = []
        for place, instance in enumerate(instances):
            by_length.setdefault(len(instance.context), []).append(place)
            rows.append([self._ids.get(word, 0) for word in instance.context])
            unknown.append(tuple(index for index, word in enumerate(instance.context) if word not in self._ids))
        places = tuple(tuple(group) for group in by_length.values())
        groups = tuple(Inputs((np.array([rows[place] for place in group], np.int64),), len(group)) for group in places)
        return Contexts(groups, places, tuple(unknown))

    def encode(self, request: Contexts, outputs: Sequence[tuple[Array, ...]]) -> bytes:
        """The reply with the probabilities of each group: for each context its `NEXT_WORDS` likeliest words."""
        predictions: list[dict[str, Any]] = [{"next": [], "unknown": unknown} for unknown in request.unknown]
        for places, (probabilities,) in zip(request.places, outputs, strict=True):
            likeliest, numbers = likeliest_words(probabilities)
            for place, indices, row in zip(places, likeliest.tolist(), numbers.tolist(), strict=True):
                predictions[place]["next"] = [
                    {"word": self._words[index], "probability": number}
                    for index, number in zip(indices, row, strict=True)
                ]
        return msgspec.json.encode({"predictions": predictions})

    def _second_look(self, body: bytes) -> RequestError:
        """The error with every fault of a body that the fast way did not take."""
        instances = read_instances(body, self._expected, self._max_rows)
        faults = (fault for place, one in enumerate(instances) for fault in _find_faults(one, f"/instances/{place}"))
        found = list(islice(faults, MAX_FAULTS))
        return (
            merge(found) if found else ShapeError.at("/instances", expected=self._expected, got="one with more words")
        )


def likeliest_words(probabilities: Array) -> tuple[Array, Array]:
    """The ids of the `NEXT_WORDS` likeliest words of each row, the likeliest first, and their probabilities."""
    # Without the first entry: it stands for all words that have none, and is none itself.
    ids = 1 + largest_columns(probabilities[:, 1:], NEXT_WORDS)
    return ids, np.take_along_axis(probabilities, ids, axis=1)


def find_context_faults(words: Any, pointer: str) -> Iterator[RequestError]:  # noqa: ANN401  # JSON
    """Every fault of a JSON value that should be a context; `pointer` is the JSON pointer of it."""
    if not isinstance(words, list) or not 0 < len(words) <= LONGEST_CONTEXT:
        expected = f"a list of 1 to {LONGEST_CONTEXT} words"
        yield ShapeError.at(pointer, expected=expected, got=describe(words))
        return
    for index, word in enumerate(words):
        if not isinstance(word, str):
            yield ElementError.at(f"{pointer}/{index}", expected="a word", got=describe(word))


def _find_faults(instance: Any, pointer: str) -> Iterator[RequestError]:  # noqa: ANN401  # JSON
    if not isinstance(instance, dict):
        yield StructureError.at(pointer, expected="an object with a context", got=describe(instance))
        return
    for name in instance:
        if name != "context":
            hint = "the only name is context"
            got = f"{describe(name)}, a name the model does not know"
            yield FeatureError.at(below(pointer, name), expected="absent", got=got, hint=hint)
    if "context" not in instance:
        yield FeatureError.at(pointer, expected="an object with 'context'", got="one without")
        return
    yield from find_context_faults(instance["context"], f"{pointer}/context")
