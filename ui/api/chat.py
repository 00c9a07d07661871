"""`/v1/chat/completions` in OpenAI's shape, and the conversations it leaves behind."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response, StreamingResponse

from core.chat.model import ChatMessage, MessageContent, MessageStatus, SendMessage
from core.chat.turn import Finished, Stage, Turn
from core.errors import BadInput
from core.ids import new_id
from core.inference import TextDelta
from ui.api.auth import Hearth, KnownFirst, Who
from ui.api.shapes import ChatIn, ConversationOut, PageOut, ReceiptOut, message_out, retrieval_out, source_out

router = APIRouter(prefix="/v1", tags=["chat"], route_class=KnownFirst)
_encode = msgspec.json.Encoder().encode
EMPTY_CHOICE = {"index": 0, "delta": {}, "finish_reason": None}
FINISH = {MessageStatus.COMPLETE: "stop", MessageStatus.STOPPED: "stop"}


@router.post("/chat/completions", summary="Ask a question", response_model=None)
async def complete(body: ChatIn, who: Who, app: Hearth) -> Response:
    """Answers the last message. With `stream` the answer comes as server-sent events; the last chunk has `usage` and `hearth`.

    While the model has no place for it, chunks with an empty delta have `hearth.queue`: the position (1 is next) and `eta_s`.
    `hearth.dropped` is how many earlier messages had no room in the prompt; `hearth.summary` is what stood there for them.
    """
    request = _request(body)
    for name in request.collections:
        await app.library.collection(who.user, name)  # a name that isn't there is the client's mistake; nothing is stored for it
    turn = await app.chat.send(who, request)
    if body.stream:
        events = _stream(app, who, turn, request)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
    async with aclosing(app.chat.follow_or_stop(who.user, turn)) as updates:  # type: ignore[type-var]
        async for _ in updates:
            pass
    return _whole(turn.answer, request)


def _request(body: ChatIn) -> SendMessage:
    last = body.messages[-1]
    if last.role != "user":
        raise BadInput("The last message must be the user's.", hint="Put the question last.")
    names = (body.collection,) if isinstance(body.collection, str) else tuple(body.collection or ())
    earlier = body.messages[:-1]
    # With a conversation of ours its stored messages are the history; a client's own list counts only where it keeps the conversation itself.
    kept = [m for m in earlier if m.role in ("system", "developer")] if body.conversation_id else earlier
    roles = {"developer": "system"}
    history = None if body.conversation_id and not kept else tuple((roles.get(m.role, m.role), m.text) for m in kept)
    return SendMessage(
        conversation_id=body.conversation_id or new_id(),
        message_id=body.message_id or new_id(),
        content=MessageContent(last.text),
        collections=names,
        rag=body.rag.to(last.text, names[0]) if body.rag and names else None,
        model=body.model,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        history=history,  # type: ignore[arg-type]
    )


async def _stream(app: Any, who: Who, turn: Turn, request: SendMessage) -> AsyncIterator[bytes]:
    """The answer as OpenAI's chunks. What is the same in all of them is written once; per token only the text is encoded."""
    head = _encode({"id": f"chatcmpl-{turn.answer_id}", "object": "chat.completion.chunk", "created": int(time.time()), "model": request.model})[:-1]
    before = b"data: " + head + b',"choices":[{"index":0,"delta":{"content":'
    after = b'},"finish_reason":null}]}\n\n'
    yield b"data: " + head + b',"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    async with aclosing(app.chat.follow_or_stop(who.user, turn)) as updates:
        async for update in updates:
            if type(update) is TextDelta:
                yield before + _encode(update.text) + after
            elif isinstance(update, Stage) and update.name == "queue":
                # A delta without anything in it, which every client passes over.
                waits = {"choices": [EMPTY_CHOICE], "hearth": {"queue": {"position": update.position, "eta_s": update.eta_s}}}
                yield b"data: " + head + b"," + _encode(waits)[1:] + b"\n\n"
            elif isinstance(update, Finished):
                yield _last(update.message, request, head)
    yield b"data: [DONE]\n\n"


def _last(message: ChatMessage, request: SendMessage, head: bytes) -> bytes:
    tail: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": _finish_reason(message)}]} | _extras(message, request)
    if message.status in (MessageStatus.FAILED, MessageStatus.INTERRUPTED):
        tail["error"] = {"message": message.metadata.error, "type": "service_error", "code": message.status.value}
    return b"data: " + head + b"," + _encode(tail)[1:] + b"\n\n"


def _finish_reason(message: ChatMessage) -> str:
    return FINISH.get(message.status, "error")


def _extras(message: ChatMessage, request: SendMessage) -> dict[str, Any]:
    usage = message.metadata.usage
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return {
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "hearth": {
            "conversation_id": message.conversation_id,
            "message_id": request.message_id,
            "answer_id": message.id,
            "status": message.status.value,
            "rag_sources": [source_out(s) for s in message.metadata.sources],
            "retrieval": retrieval_out(message),
            "timing": message.metadata.timing,
            "dropped": message.metadata.dropped,
            "summary": message.metadata.summary,
        },
    }


def _whole(message: ChatMessage, request: SendMessage) -> Response:
    if message.status is MessageStatus.FAILED:
        error = {"message": message.metadata.error, "type": "service_error", "code": message.status.value}
        return JSONResponse({"error": error, "hearth": {"conversation_id": message.conversation_id, "message_id": request.message_id}}, 502)
    body = {
        "id": f"chatcmpl-{message.id}",
        "object": "chat.completion",
        "created": int(message.created_at.timestamp()),
        "model": message.metadata.model_used or request.model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": message.content}, "finish_reason": _finish_reason(message)}],
    }
    return Response(_encode(body | _extras(message, request)), media_type="application/json")


@router.get("/models", summary="Models that may be named")
async def models(_who: Who, app: Hearth) -> dict[str, Any]:
    """`default` is whatever is configured; the others are what the configured server offers."""
    known = [m.id for m in await app.models.llm.models()]
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "hearth"} for name in ["default", *known]]}


@router.get("/conversations", summary="Your conversations, latest first")
async def conversations(who: Who, app: Hearth, search: str = "", limit: int = Query(50, ge=1, le=500), cursor: str = "") -> PageOut:
    """search: words that must all occur in the title or a message."""
    page = await app.chat.conversations(who.user, search=search, limit=limit, cursor=cursor)
    return PageOut(items=[ConversationOut.of(c) for c in page.items], next_cursor=page.next_cursor)


@router.get("/conversations/{conversation_id}", summary="One conversation with its last messages", response_model=None)
async def conversation(conversation_id: str, who: Who, app: Hearth, limit: int = Query(100, ge=1, le=500), before: str = "") -> Response:
    """`next_cursor`, given as `before`, asks for older messages."""
    found = await app.chat.conversation(who.user, conversation_id)
    page = await app.chat.messages(who.user, conversation_id, limit=limit, before=before)
    body = ConversationOut.of(found).model_dump(mode="json") | {"messages": [message_out(m) for m in page.items], "next_cursor": page.next_cursor}
    return Response(_encode(body), media_type="application/json")


@router.delete("/conversations/{conversation_id}", summary="Delete a conversation")
async def delete_conversation(conversation_id: str, who: Who, app: Hearth) -> ReceiptOut:
    """With everything in it; the receipt counts what is left (nothing)."""
    return ReceiptOut.of(await app.chat.delete(who.user, conversation_id))
