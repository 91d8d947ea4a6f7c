"""Behaviour of training.words."""

import hashlib
from pydoc_data.topics import topics as python_topics

import pytest

from training.words import (
    DATASET,
    SENTENCE_END,
    UNKNOWN,
    VOCABULARY_SIZE,
    digest,
    make_text,
    make_vocabulary,
    python_text,
    split_words,
    without_repetitions,
)

TOPICS = {
    "loops": "A loop repeats.\n\nBreak ends it.",
    "break": "Break ends it.",
    "names": "A name is bound. A name is free.",
    "numbers": "Numbers are exact, or not.",
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The value. It's new!", ["the", "value", ".", "it's", "new", "."]),
        ("A built-in (see below.) Is it?", ["a", "built-in", "see", "below", ".", "is", "it", "."]),
        ("object.__init__(self)", ["object", "__init__", "self", "."]),
        ("in version 3.5, x1 = 2", ["in", "version", "x1", "."]),
        ("A heading\n*********\n\nIts text. ", ["a", "heading", ".", "its", "text", "."]),
        ("So ... . It ends", ["so", ".", "it", "ends", "."]),
        ("\n\n*****\n\n", []),
        ("", []),
    ],
)
def test_text_is_words_and_sentence_ends(text: str, words: list[str]) -> None:
    """Lower case, no numbers, one mark where a sentence or a paragraph ends, never two in a row."""
    assert split_words(text) == words


def test_a_paragraph_stays_where_the_longest_topic_has_it() -> None:
    """A topic that is a section of another adds nothing, however its lines are broken."""
    assert without_repetitions({"break": "Break\nends it.", **TOPICS}).keys() == TOPICS.keys() - {"break"}


def test_no_paragraph_of_the_topics_is_in_two() -> None:
    """What is held out is nowhere among what is learned."""
    unique = without_repetitions(python_topics)
    paragraphs = [" ".join(split_words(part)) for text in unique.values() for part in text.split("\n\n")]
    spoken = [paragraph for paragraph in paragraphs if paragraph]
    assert len(spoken) == len(set(spoken))
    assert len(" ".join(spoken).split()) < sum(len(split_words(text)) for text in python_topics.values())


def test_the_parts_share_no_topic() -> None:
    """Every topic is in one part; each held-out part has its share of the words."""
    text = python_text()
    parts = [text.train, text.validation, text.test]
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(without_repetitions(python_topics))
    sizes = [sum(map(len, part.values())) for part in parts]
    assert sizes[0] > sum(sizes[1:])
    assert min(sizes[1:]) >= 0.12 * sum(sizes)


def test_another_seed_holds_out_other_topics() -> None:
    """The split is drawn, and the same seed draws the same."""
    one, again, other = (make_text(python_topics, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one.test.keys() != other.test.keys()


def test_the_vocabulary_is_of_the_training_topics() -> None:
    """Two thousand words, the unknown one first; a word of the held-out topics alone is unknown."""
    text = python_text()
    assert len(text.vocabulary) == len(set(text.vocabulary)) == VOCABULARY_SIZE
    assert text.vocabulary[0] == UNKNOWN
    assert SENTENCE_END in text.vocabulary
    assert {index for words in text.train.values() for index in words} == set(range(VOCABULARY_SIZE))
    name, words = next(iter(text.test.items()))
    known = set(text.vocabulary)
    spoken = split_words(without_repetitions(python_topics)[name])
    assert [text.vocabulary[index] for index in words] == [word if word in known else UNKNOWN for word in spoken]


def test_the_most_frequent_words_are_kept() -> None:
    """Ties are broken by the alphabet, so that the same text gives the same ids."""
    assert make_vocabulary([["b", "a", "c"], ["c", "b", "c", "d"]], 4) == (UNKNOWN, "c", "b", "a")


def test_a_small_text_has_few_words() -> None:
    """A vocabulary is no longer than there are words."""
    text = make_text(TOPICS)
    assert 1 < len(text.vocabulary) < 20


def test_the_dataset_names_the_text_by_its_digest() -> None:
    """What was learned from can be told from another Python's topics."""
    assert digest(python_topics) in DATASET
    assert digest({"b": "2", "a": "1"}) == hashlib.sha256(b"a\x001\x00b\x002\x00").hexdigest()
    assert digest({"a": "1"}) != digest({"a": "2"}) != digest({"b": "2"})
