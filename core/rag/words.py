"""Words that carry meaning, in the form in which they can be compared. English endings and stop words; other languages pass unchanged."""

import re
import unicodedata

_WORD = re.compile(r"\w+")
STOP_WORDS = frozenset(
    "a an and are as at be been but by can could did do does for from had has have how i if in into is it its may me my of on or our shall she he should so "
    "such than that the their them then there these they this those to was we were what when where which who whom whose why will with would you your".split()
)


def content_words(text: str) -> list[str]:
    """The words in lower case and in order, without stop words."""
    return [word for word in (match.group().lower() for match in _WORD.finditer(text)) if word not in STOP_WORDS]


def stem(word: str) -> str:
    """The word without a common English ending; short words stay as they are."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems(text: str) -> frozenset[str]:
    """The stems of the content words."""
    return frozenset(stem(word) for word in content_words(text))


def letters(text: str) -> str:
    """What is compared where line breaks, hyphens, ligatures and accents may differ: letters and digits alone, without case and marks."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())
