"""Questions that lean on the one before: "and the second one?", "how long does it last?", "und am Wochenende?".

Pure and deterministic. A search knows nothing of the conversation, so such a question is given the content words of the question it leans on.
"""

import re
from collections.abc import Sequence

from core.inference import Message
from core.rag.words import content_words, stem

LONGEST_WORDS = 9
"""A question with more words than this says itself what it is about."""
LOOK_BACK = 3
"""How many earlier questions are followed, where each leans on the one before it."""
_OPENING = re.compile(r"(?:(?:and|or|but|then|also|what about|how about|und|oder|aber|was ist mit|wie ist es mit|wie sieht es)\b|what if one\b)", re.IGNORECASE)
_POINTING = frozenset("it its they them their that this those these one ones he she him her there es ihn ihm ihr ihre sie das dies dort davon dafür".split())
_FILLING = frozenset(
    "about what if then also one ones second first other "
    "und oder aber was wie wo wer wann warum ist sind war wird werden hat haben der die das den dem des ein eine einen einem einer "
    "im in am an auf für mit von zu zum zur es sie ich man muss darf kann".split()
)
_WORD = re.compile(r"\w+")


def leans(question: str) -> bool:
    """Whether the question can't be understood without the one before."""
    words = [word.lower() for word in _WORD.findall(question)]
    if not 0 < len(words) <= LONGEST_WORDS:
        return False
    return bool(_OPENING.match(question.strip())) or any(word in _POINTING for word in words)


def standalone(question: str, history: Sequence[Message]) -> str:
    """The question as it can be searched by itself: with the content words of the earlier questions it leans on; unchanged where it leans on none.

    history: the conversation so far, oldest first. Words that the question has already are not added again.
    """
    if not leans(question):
        return question
    earlier = [message.content for message in history if message.role == "user"][::-1][:LOOK_BACK]
    added: list[str] = []
    known = {stem(word) for word in content_words(question)}
    for previous in earlier:
        for word in content_words(previous):
            if word not in _FILLING and word not in _POINTING and stem(word) not in known:
                known.add(stem(word))
                added.append(word)
        if not leans(previous):
            break
    return f"{question} ({' '.join(added)})" if added else question
