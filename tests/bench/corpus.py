"""Text to measure with: made-up passages whose words are as unequally frequent as those of a language, and real prose that every Python has."""

import pydoc_data.topics

import numpy as np

VOCABULARY = 30_000
WORDS_PER_PASSAGE = 100
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


class Corpus:
    """Endless passages of a vocabulary with Zipf's distribution: the r-th most frequent word is about 1/r as frequent as the first."""

    def __init__(self, seed=1):
        self._random = np.random.default_rng(seed)
        self.words = [_word(n) for n in range(VOCABULARY)]
        share = 1 / np.arange(1, VOCABULARY + 1)
        self._share = share / share.sum()

    def passages(self, count):
        """(count, WORDS_PER_PASSAGE) numbers of words."""
        return self._random.choice(VOCABULARY, (count, WORDS_PER_PASSAGE), p=self._share)

    def text(self, passage):
        """A passage as text."""
        return " ".join(self.words[n] for n in passage)

    def question(self, passage, words=6):
        """Some of a passage's own words."""
        return self.text(self._random.choice(passage, words, replace=False))


def _word(number):
    """A word that can be said, different for every number."""
    syllables = ""
    number += len(SYLLABLES)  # two syllables at least
    while number:
        number, place = divmod(number, len(SYLLABLES))
        syllables += SYLLABLES[place]
    return syllables


def prose(size_bytes):
    """So much plain English: the language reference that comes with Python."""
    text = "\n\n".join(pydoc_data.topics.topics.values())
    return text.encode()[:size_bytes].decode("utf-8", "ignore")
