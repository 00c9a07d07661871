"""Answering by quoting: the sentences of the found passages that answer best, word for word.

For models that can't be trusted with their own words. The score is the reranker's plus a share for common words; below a threshold nothing is quoted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from core.inference import Caller
from core.ports import Reranker
from core.rag.model import FoundChunk
from core.rag.words import stems

OVERLAP_WEIGHT = 0.2
MAX_SENTENCE_CHARS = 400
MAX_CANDIDATES = 120
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+(?=[A-Z0-9À-Þ`\"'(\[¿¡])")
_LIST_SIGN = re.compile(r"^\s*(?:[-*+•#>|]+|\d+[.)])\s*")


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence, or two that follow each other, out of the passage with that index; the text stands in it word for word."""

    chunk_index: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Quoted:
    """The quotes above the threshold, best first and at most one per passage; and the best score, also if it was below."""

    quotes: tuple[Quote, ...]
    best_score: float | None


def sentences(text: str) -> list[str]:
    """The sentences of a passage as they stand there. A line that ends without a full stop (a heading, a list item, a row) is one by itself."""
    found: list[str] = []
    for block in _lines_joined(text):
        for part in _SENTENCE_END.split(block):
            sentence = part.strip()
            while len(sentence) > MAX_SENTENCE_CHARS:
                cut = sentence.rfind(" ", 0, MAX_SENTENCE_CHARS)
                cut = cut if cut > 0 else MAX_SENTENCE_CHARS
                found.append(sentence[:cut])
                sentence = sentence[cut:].strip()
            if any(c.isalnum() for c in sentence):
                found.append(sentence)
    return found


def _lines_joined(text: str) -> list[str]:
    """Lines that belong together: wrapped prose is joined by the newline it had, everything else stays a line."""
    blocks: list[str] = []
    for line in text.split("\n"):
        wrapped = bool(blocks) and blocks[-1] and len(blocks[-1].rsplit("\n", 1)[-1]) >= 40 and not blocks[-1].rstrip().endswith((".", "!", "?", ":", "…", "|"))
        if wrapped and line.strip() and not _LIST_SIGN.match(line):
            blocks[-1] += "\n" + line
        else:
            blocks.append(line)
    return blocks


def candidates(text: str) -> list[str]:
    """What may be quoted of a passage: every sentence, and every two that follow each other."""
    single = sentences(text)
    pairs = []
    start = 0
    for first, second in pairwise(single):
        begin = text.find(first, start)
        end = text.find(second, begin + len(first)) + len(second)
        start = begin + 1
        if 0 <= begin < end and len(text[begin:end]) <= MAX_SENTENCE_CHARS:
            pairs.append(text[begin:end])
    return single + pairs


def overlap(query: str, text: str) -> float:
    """Which share of the question's content words stands in the text, 0 to 1; 0 for a question without any."""
    wanted = stems(query)
    return len(wanted & stems(text)) / len(wanted) if wanted else 0.0


async def best_quotes(query: str, chunks: Sequence[FoundChunk], reranker: Reranker | None, caller: Caller, threshold: float) -> Quoted:
    """The best quote of each passage that reaches the threshold. Without a reranker common words alone decide.

    Raises: ServiceError, ModelError from the reranker.
    """
    offered = [(index, text) for index, found in enumerate(chunks) for text in candidates(found.chunk.content)][:MAX_CANDIDATES]
    if not offered:
        return Quoted((), None)
    near = await reranker.rerank(query, [text for _, text in offered], caller=caller) if reranker is not None else [0.6 * overlap(query, t) for _, t in offered]
    best: dict[int, Quote] = {}
    for (index, text), score in zip(offered, near, strict=True):
        total = score + OVERLAP_WEIGHT * overlap(query, text)
        if index not in best or total > best[index].score:
            best[index] = Quote(index, text, total)
    ranked = sorted(best.values(), key=lambda quote: (-quote.score, quote.chunk_index))
    return Quoted(tuple(q for q in ranked if q.score >= threshold), ranked[0].score)


def best_sentence(query: str, passage: str) -> str:
    """The sentence of the passage that shares most words with the question; the first where none does."""
    offered = sentences(passage)
    return max(offered, key=lambda text: overlap(query, text), default=passage.strip()[:MAX_SENTENCE_CHARS])


def is_quoted_from(quote: str, passage: str) -> bool:
    """Whether the quote stands in the passage word for word; how its lines are broken doesn't count."""
    return bool(quote.split()) and " ".join(quote.split()) in " ".join(passage.split())
