"""The language model to beat: an interpolated Kneser-Ney bigram."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise


class KneserNey:
    """Probabilities of the next word given the one before, learned from a text of word ids.

    R. Kneser, H. Ney: Improved backing-off for m-gram language modeling (ICASSP 1995), in the interpolated form of
    S. F. Chen, J. Goodman: An empirical study of smoothing techniques for language modeling (1999), section 2.7.
    With c(v w) the times that w follows v, N(v •) the different words that follow v, N(• w) the different words
    that w follows and N(• •) all different pairs:

        P(w | v) = max(c(v w) - D, 0) / c(v •)  +  D · N(v •) / c(v •) · P(w)
        P(w)     = max(N(• w) - E, 0) / N(• •)  +  E · W / N(• •) · 1 / V

    V is the size of the vocabulary, W how many of its words follow any: what E takes from these is spread over all,
    so that no word is impossible. After a word that was never seen with a follower, P(w | v) is P(w). The discounts
    are those of H. Ney, U. Essen, R. Kneser (1994), n1 / (n1 + 2 · n2), where n1 and n2 are how many of the counts
    c(v w), or N(• w), are one and two.
    """

    def __init__(self, words: Sequence[int], size: int) -> None:
        self.size = size
        self._pairs = Counter(pairwise(words))
        self._times: Counter[int] = Counter()
        """c(v •)"""
        for (before, _), count in self._pairs.items():
            self._times[before] += count
        self._followers = Counter(before for before, _ in self._pairs)
        """N(v •)"""
        self._predecessors = Counter(word for _, word in self._pairs)
        """N(• w)"""
        self._discount = _discount(self._pairs)
        self._lower_discount = _discount(self._predecessors)

    def probability(self, word: int, before: int) -> float:
        """P(word | before)."""
        times = self._times[before]
        if not times:
            return self._lower(word)
        seen = max(self._pairs[before, word] - self._discount, 0) / times
        return seen + self._discount * self._followers[before] / times * self._lower(word)

    def losses(self, words: Sequence[int]) -> list[float]:
        """-ln P of every word of the text but its first, in their order."""
        return [-math.log(self.probability(word, before)) for before, word in pairwise(words)]

    def _lower(self, word: int) -> float:
        """P(word)."""
        if not self._pairs:
            return 1 / self.size
        spread = self._lower_discount * len(self._predecessors) / self.size
        return (max(self._predecessors[word] - self._lower_discount, 0) + spread) / len(self._pairs)


def _discount(counts: Counter[int] | Counter[tuple[int, int]]) -> float:
    """n1 / (n1 + 2 · n2); 0.75 where no count is one or none is two and so nothing can be estimated."""
    once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
    return once / (once + 2 * twice) if once and twice else 0.75
