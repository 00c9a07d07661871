"""Answering by quoting: the sentences of the found passages that answer best, word for word.

For models that can't be trusted with their own words. Sentences, alone or with a neighbour, are read with the question by the reranker; where even the best of
them is below a threshold, nothing is quoted. What this was chosen by is measured in docs/retrieval.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from core.inference import Caller
from core.ports import Reranker
from core.rag.model import FoundChunk, RAGResult
from core.rag.words import stems

MAX_SENTENCE_CHARS = 400
MAX_CANDIDATES = 120
ENOUGH_WORDS = 0.5
"""The share of the question's words that must stand in a quote, where there is no reranker."""
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+(?=[A-Z0-9À-Þ`\"'(\[¿¡])")
_LIST_SIGN = re.compile(r"^\s*(?:[-*+•#>|]+|\d+[.)])\s*")


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence, or two that follow each other, out of the passage with that index; the text stands in it word for word.

    score: places the quotes of one answer; it says nothing across questions.
    """

    chunk_index: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Quoted:
    """The quotes, best first and at most one per passage; and how well the best matches the question by itself, also where that was below the threshold.

    threshold: what it was held against; None for nothing.
    """

    quotes: tuple[Quote, ...]
    best_score: float | None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class _Offered:
    """What might be quoted: the nth sentence of a passage, or that one with a neighbour."""

    chunk_index: int
    nth: int
    text: str


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


def lines(quote: str, passage: str) -> list[str]:
    """The lines in which a quote out of a passage is shown: prose is one however it is wrapped there; a heading, a list item and a row are one each.

    Lines of signs alone are left out.
    """
    begin, at, found = passage.find(quote), 0, list[str]()
    for block in _lines_joined(passage):
        part = passage[max(at, begin) : min(at + len(block), begin + len(quote))]
        at += len(block) + 1
        line = " ".join(part.split())
        if not any(c.isalnum() for c in line):
            continue
        if found and found[-1].endswith((".", "!", "?", "…")) and not _LIST_SIGN.match(part):
            found[-1] += f" {line}"
        else:
            found.append(line)
    return found


def quotable(text: str, nth: int) -> list[str]:
    """What may be quoted around the nth sentence of a passage, counted from 0: it alone, with the one before, with the one after; pairs only if short."""
    spans, cursor = [], 0
    for sentence in sentences(text):
        begin = text.find(sentence, cursor)
        cursor = begin + len(sentence)
        spans.append((begin, cursor))
    pairs = [text[first[0] : second[1]] for first, second in pairwise(spans[max(0, nth - 1) : nth + 2])]
    return [text[slice(*spans[nth])], *(pair for pair in pairs if len(pair) <= MAX_SENTENCE_CHARS)]


def overlap(query: str, text: str) -> float:
    """Which share of the question's content words stands in the text, 0 to 1; 0 for a question without any."""
    wanted = stems(query)
    return len(wanted & stems(text)) / len(wanted) if wanted else 0.0


async def best_quotes(query: str, result: RAGResult, reranker: Reranker | None, caller: Caller, threshold: float | None) -> Quoted:
    """The best quote of each passage, or none. Without a reranker common words take the place of its scores.

    1. In each passage the sentence that scores best when it is read under its title and heading: a sentence rarely repeats what it is about.
    2. The same for that sentence with a neighbour. With the passage's own score added, this is the order of the quotes.
    3. Whether to quote at all: the best one's score by itself, because under its heading everything that is on the topic matches.
    threshold: of that score; None takes the reranker's own, and where it has none, something is always quoted.
    Raises: ServiceError, ModelError from the reranker.
    """

    async def best_in_each(offered: Sequence[_Offered]) -> list[tuple[_Offered, float]]:
        scores = await _scores(query, [_under_heading(result.chunks[o.chunk_index], o.text) for o in offered], reranker, caller)
        best: dict[int, tuple[_Offered, float]] = {}
        for one, score in zip(offered, scores, strict=True):
            if one.chunk_index not in best or score > best[one.chunk_index][1]:
                best[one.chunk_index] = (one, score)
        return list(best.values())

    texts = [found.chunk.content for found in result.chunks]
    single = [_Offered(index, nth, text) for index, passage in enumerate(texts) for nth, text in enumerate(sentences(passage))][:MAX_CANDIDATES]
    if not single:
        return Quoted((), None)
    chosen = [o for o, _ in await best_in_each(single)]
    widened = await best_in_each([replace(o, text=text) for o in chosen for text in quotable(texts[o.chunk_index], o.nth)])
    ranked = sorted((Quote(o.chunk_index, o.text, score + result.scores[o.chunk_index]) for o, score in widened), key=lambda q: (-q.score, q.chunk_index))
    alone = await _scores(query, [quote.text for quote in ranked], reranker, caller)
    needed = threshold if threshold is not None else await _own_threshold(reranker)
    if needed is None:
        return Quoted(tuple(ranked), alone[0])
    if alone[0] < needed:
        return Quoted((), alone[0], needed)
    return Quoted(tuple(quote for quote, score in zip(ranked, alone, strict=True) if score >= needed), alone[0], needed)


async def _own_threshold(reranker: Reranker | None) -> float | None:
    return ENOUGH_WORDS if reranker is None else (await reranker.info()).quote_threshold


async def _scores(query: str, texts: Sequence[str], reranker: Reranker | None, caller: Caller) -> Sequence[float]:
    return [overlap(query, text) for text in texts] if reranker is None else await reranker.rerank(query, texts, caller=caller)


def _under_heading(found: FoundChunk, text: str) -> str:
    heading = found.chunk.metadata.heading
    title = "" if found.title in heading else found.title
    return "\n".join(part for part in (title, heading, text) if part)


def best_sentence(query: str, passage: str) -> str:
    """The sentence of the passage that shares most words with the question; the first where none does."""
    offered = sentences(passage)
    return max(offered, key=lambda text: overlap(query, text), default=passage.strip()[:MAX_SENTENCE_CHARS])


def is_quoted_from(quote: str, passage: str) -> bool:
    """Whether the quote stands in the passage word for word; how its lines are broken doesn't count."""
    return bool(quote.split()) and " ".join(quote.split()) in " ".join(passage.split())
