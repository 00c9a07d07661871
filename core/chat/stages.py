"""Where an answer's time went, out of what is kept with it. Pure."""

from collections.abc import Mapping

from core.chat.model import ChatMessage

OF_RETRIEVAL = ("embed", "dense", "lexical", "fuse", "load", "rerank")


def stages(message: ChatMessage) -> list[tuple[str, float, float]]:
    """(stage, begin in ms, length in ms) from the answer's acceptance on, in order: those of retrieval, then queue, first_token and writing.

    Meaning (dense) and words (lexical) are searched side by side.
    """
    timing, retrieval = message.metadata.timing, message.metadata.retrieval or {}
    spent = retrieval.get("ms")
    found: list[tuple[str, float, float]] = []
    at = 0.0
    if isinstance(spent, Mapping):
        begun = {"lexical": 0.0, "dense": float(spent.get("embed", 0.0))}
        for stage in OF_RETRIEVAL:
            if stage in spent:
                start = begun.get(stage, at)
                found.append((stage, start, float(spent[stage])))
                at = max(at, start + float(spent[stage]))
    if timing.queue_ms:
        found.append(("queue", at, timing.queue_ms))
        at += timing.queue_ms
    if timing.first_token_ms is not None:
        found.append(("first_token", at, max(0.0, timing.first_token_ms - at)))
        if timing.total_ms is not None:
            found.append(("writing", timing.first_token_ms, max(0.0, timing.total_ms - timing.first_token_ms)))
    return found
