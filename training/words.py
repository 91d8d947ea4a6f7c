"""English text as word ids: Python's own documentation topics, split into parts that share no paragraph."""

import hashlib
import platform
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pydoc_data.topics import topics as python_topics

UNKNOWN = "<unknown>"
"""Stands for every word outside the vocabulary; its id is 0."""
SENTENCE_END = "."
"""A word like the others: it is predicted where a sentence ends."""
VOCABULARY_SIZE = 2000
SPLIT_SEED = 0
HELD_OUT_SHARE = 0.12
"""Of all words, how many the test topics have at least, and again the validation topics."""

_WORD = re.compile(r"(?P<word>[a-z_][a-z0-9_]*(?:['-][a-z]+)*)|[.?!](?=[\s\"')]|$)")
_BETWEEN_PARAGRAPHS = re.compile(r"\n\s*\n")

Topics = Mapping[str, str]
"""Texts by their names."""


def digest(topics: Topics) -> str:
    """The SHA-256 of all texts with their names, in the order of the names.

    Python's topics differ from one of its versions to the next: the digest tells which ones were learned from.
    """
    text = "".join(f"{name}\0{topics[name]}\0" for name in sorted(topics))
    return hashlib.sha256(text.encode()).hexdigest()


def split_words(text: str) -> list[str]:
    """The words of `text` in lower case, and `SENTENCE_END` where a sentence or a paragraph ends.

    A word is a letter or underscore with the letters, digits and underscores after it; apostrophes and hyphens
    belong to it where letters follow. A sentence ends at a full stop, a question mark or an exclamation mark
    before a space, a closing bracket or a closing quote. Numbers and all other signs are left out.
    """
    words: list[str] = []
    for paragraph in _BETWEEN_PARAGRAPHS.split(text.lower()):
        found = [match["word"] or SENTENCE_END for match in _WORD.finditer(paragraph)]
        for word in [*found, SENTENCE_END]:
            # No sentence is empty.
            if word != SENTENCE_END or words[-1:] not in ([], [SENTENCE_END]):
                words.append(word)
    return words


def without_repetitions(topics: Topics) -> dict[str, str]:
    """The topics with each paragraph only where it stands first, the longest topic first.

    Python's topics hold one another: "if" is a section of "compound" too. Split as they are, a held-out topic
    would be learned by heart under another name. A topic of which nothing is left is left out.
    """
    seen: set[str] = set()
    unique: dict[str, str] = {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        kept = []
        for paragraph in _BETWEEN_PARAGRAPHS.split(topics[name]):
            words = " ".join(split_words(paragraph))
            if words and words not in seen:
                seen.add(words)
                kept.append(paragraph)
        if kept:
            unique[name] = "\n\n".join(kept)
    return unique


@dataclass(frozen=True)
class Text:
    """Topics as word ids, each part with topics of its own, one after the other."""

    vocabulary: tuple[str, ...]
    """The words by their ids."""
    train: dict[str, list[int]]
    validation: dict[str, list[int]]
    test: dict[str, list[int]]


@cache
def python_text() -> Text:
    """The topics of Python's own documentation, about 54,000 words, as `make_text` splits them."""
    return make_text(python_topics)


def make_text(topics: Topics, size: int = VOCABULARY_SIZE, seed: int = SPLIT_SEED) -> Text:
    """Split `topics` by whole topics, in a drawn order, and write them as ids.

    The first of the drawn order are the test topics, until they hold `HELD_OUT_SHARE` of the words; the next are
    the validation topics, likewise. The vocabulary is `UNKNOWN` and the most frequent words of the others.
    """
    words = {name: split_words(text) for name, text in without_repetitions(topics).items()}
    order = sorted(words)
    random.Random(seed).shuffle(order)  # noqa: S311  # nothing here is secret
    enough = HELD_OUT_SHARE * sum(map(len, words.values()))
    test, rest = _take(order, words, enough)
    validation, train = _take(rest, words, enough)
    vocabulary = make_vocabulary((words[name] for name in train), size)
    ids = {word: index for index, word in enumerate(vocabulary)}
    parts = ({name: [ids.get(word, 0) for word in words[name]] for name in part} for part in (train, validation, test))
    return Text(vocabulary, *parts)


def _take(order: list[str], words: Mapping[str, list[str]], enough: float) -> tuple[list[str], list[str]]:
    """Divide `order` where the topics before hold enough words."""
    lengths = accumulate(len(words[name]) for name in order)
    count = 1 + next(index for index, length in enumerate(lengths) if length >= enough)
    return order[:count], order[count:]


def make_vocabulary(texts: Iterable[Iterable[str]], size: int) -> tuple[str, ...]:
    """`UNKNOWN`, then the most frequent words, `size` entries at most; equally frequent ones by the alphabet."""
    counts = Counter(word for words in texts for word in words)
    return (UNKNOWN, *sorted(counts, key=lambda word: (-counts[word], word))[: size - 1])


DATASET = (
    f"The help topics of Python {platform.python_version()} (pydoc_data.topics, SHA-256 {digest(python_topics)}), "
    "each paragraph once; whole topics held out for validation and test"
)
