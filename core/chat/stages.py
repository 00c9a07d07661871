"""Where an answer's time went, out of what is kept with it. Pure."""

from collections.abc import Mapping

from core.chat.model import ChatMessage
from core.rag.stages import search_stages
from core.traces import Attributes, Spent


def stages(message: ChatMessage) -> list[Spent]:
    """(stage, begin in ms, length in ms) from the answer's acceptance on, in order: those of retrieval, then queue, first_token and writing."""
    timing, retrieval = message.metadata.timing, message.metadata.retrieval or {}
    spent = retrieval.get("ms")
    found = search_stages(spent) if isinstance(spent, Mapping) else []
    at = max((start + length for _, start, length in found), default=0.0)
    if timing.queue_ms:
        found.append(("queue", at, timing.queue_ms))
        at += timing.queue_ms
    if timing.first_token_ms is not None:
        found.append(("first_token", at, max(0.0, timing.first_token_ms - at)))
        if timing.total_ms is not None:
            found.append(("writing", timing.first_token_ms, max(0.0, timing.total_ms - timing.first_token_ms)))
    return found


def attributes(message: ChatMessage) -> Attributes:
    """What a trace tells of an answer beside its stages. A model is named only where it has answered: what a client asked for may be any text.

    Source: OpenTelemetry's semantic conventions for generative AI, where they have a name for it.
    """
    meta = message.metadata
    told: dict[str, str | int] = {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": message.conversation_id}
    told |= {"hearth.message.id": message.id, "hearth.status": message.status.value, "hearth.sources": len(meta.sources)}
    if meta.usage is not None:
        tokens = {"gen_ai.usage.input_tokens": meta.usage.prompt_tokens, "gen_ai.usage.output_tokens": meta.usage.completion_tokens}
        told |= {"gen_ai.request.model": meta.model_used, **tokens}
    return told
