"""`/v1/chat/completions` in OpenAI's shape, and the conversations it leaves behind."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response, StreamingResponse

from core.app import App
from core.chat.export import as_json, as_markdown
from core.chat.model import ChatMessage, MessageContent, MessageStatus, SendMessage
from core.chat.turn import Finished, Stage, Turn
from core.errors import BadInput
from core.ids import new_id
from core.inference import TextDelta
from ui.api.auth import Hearth, KnownFirst, Who
from ui.api.shapes import (
    AgainIn,
    ChatIn,
    ConversationIn,
    ConversationOut,
    FeedbackIn,
    PageOut,
    PromptIn,
    ReceiptOut,
    ShareIn,
    feedback_out,
    message_out,
    prompt_out,
    retrieval_out,
    share_out,
    source_out,
)

router = APIRouter(prefix="/v1", tags=["chat"], route_class=KnownFirst)
_encode = msgspec.json.Encoder().encode
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
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
    return await _answer(app, who, await app.chat.send(who, request), request, stream=body.stream)


async def _answer(app: App, who: Who, turn: Turn, request: SendMessage, *, stream: bool) -> Response:
    if stream:
        return StreamingResponse(_stream(app, who, turn, request), media_type="text/event-stream", headers=STREAM_HEADERS)
    async with aclosing(app.chat.follow_or_stop(turn)) as updates:  # type: ignore[type-var]
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
        parent_id=body.parent_id,
    )


async def _stream(app: App, who: Who, turn: Turn, request: SendMessage) -> AsyncIterator[bytes]:
    """The answer as OpenAI's chunks. What is the same in all of them is written once; per token only the text is encoded."""
    head = _encode({"id": f"chatcmpl-{turn.answer_id}", "object": "chat.completion.chunk", "created": int(time.time()), "model": request.model})[:-1]
    before = b"data: " + head + b',"choices":[{"index":0,"delta":{"content":'
    after = b'},"finish_reason":null}]}\n\n'
    yield b"data: " + head + b',"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    async with aclosing(app.chat.follow_or_stop(turn)) as updates:  # type: ignore[type-var]
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


@router.post("/messages/{message_id}/again", summary="Answer a question again", response_model=None)
async def again(message_id: str, body: AgainIn, who: Who, app: Hearth) -> Response:
    """Another answer beside that one: by another model, with another retrieval depth, from other collections. The reply is as of `/v1/chat/completions`."""
    rag = body.rag.to("again", "again") if body.rag else None
    names = (body.collection,) if isinstance(body.collection, str) else body.collection
    for name in names or ():
        await app.library.collection(who.user, name)
    turn = await app.chat.answer_again(who, message_id, body.id or new_id(), model=body.model, rag=rag, collections=names)
    request = SendMessage(turn.conversation_id, turn.answer.reply_to, MessageContent("again"), model=body.model)
    return await _answer(app, who, turn, request, stream=body.stream)


@router.post("/messages/{message_id}/stop", status_code=204, summary="Stop an answer")
async def stop(message_id: str, who: Who, app: Hearth) -> Response:
    """The model stops; the text so far is kept. An answer that is over stays as it is."""
    await app.chat.stop(who.user, message_id)
    return Response(status_code=204)


@router.get("/messages/{message_id}/stream", summary="Follow an answer that is being written", response_model=None)
async def follow(message_id: str, who: Who, app: Hearth, after: int = Query(0, ge=0)) -> Response:
    """Server-sent events, each with the length of the answer so far as `id`; after: the `id` of the last one that was seen, here or at another process."""
    turn = await app.chat.turn(who.user, message_id)
    return StreamingResponse(_numbered(turn, after), media_type="text/event-stream", headers=STREAM_HEADERS)


async def _numbered(turn: Turn, after: int) -> AsyncIterator[bytes]:
    chars = 0
    async with aclosing(turn.follow()) as updates:  # type: ignore[type-var]
        async for update in updates:
            if type(update) is TextDelta:
                unseen, chars = update.text[max(0, after - chars) :], chars + len(update.text)
                if unseen:
                    yield b"id: %d\ndata: " % chars + _encode({"text": unseen}) + b"\n\n"
            elif isinstance(update, Finished):
                yield b"id: %d\nevent: finished\ndata: " % chars + _encode(message_out(update.message)) + b"\n\n"


@router.put("/messages/{message_id}/feedback", status_code=204, summary="Judge an answer")
async def judge(message_id: str, body: FeedbackIn, who: Who, app: Hearth) -> Response:
    """The last verdict counts."""
    await app.chat.judge(who.user, message_id, body.verdict, body.reason)
    return Response(status_code=204)


@router.delete("/messages/{message_id}/feedback", status_code=204, summary="Take a verdict back")
async def unjudge(message_id: str, who: Who, app: Hearth) -> Response:
    """As if it had never been given."""
    await app.chat.judge(who.user, message_id, None)
    return Response(status_code=204)


@router.get("/conversations", summary="Your conversations, pinned and latest first")
async def conversations(who: Who, app: Hearth, search: str = "", tag: str = "", limit: int = Query(50, ge=1, le=500), cursor: str = "") -> PageOut:
    """search: words that must all occur in the title or a message.   tag: only those that carry it."""
    page = await app.chat.conversations(who.user, search=search, tag=tag, limit=limit, cursor=cursor)
    return PageOut(items=[ConversationOut.of(c) for c in page.items], next_cursor=page.next_cursor)


@router.get("/conversations/{conversation_id}", summary="One path through a conversation", response_model=None)
async def conversation(conversation_id: str, who: Who, app: Hearth, at: str = "", limit: int = Query(100, ge=1, le=500), before: str = "") -> Response:
    """The last messages of the newest path, or of the one through the message `at`. `next_cursor`, given as `before`, asks for older ones.

    `branches` names, for each message that has any, all messages with the same parent.
    """
    found = await app.chat.conversation(who.user, conversation_id)
    thread = await app.chat.thread(who.user, conversation_id, at=at, limit=limit, before=before)
    verdicts = await app.chat.feedback(who.user, conversation_id)
    body = ConversationOut.of(found).model_dump(mode="json") | {
        "messages": [message_out(m) for m in thread.messages],
        "branches": thread.branches,
        "feedback": {i: feedback_out(f) for i, f in verdicts.items()},
        "next_cursor": thread.messages[0].id if thread.older else "",
    }
    return Response(_encode(body), media_type="application/json")


@router.patch("/conversations/{conversation_id}", summary="Change title, pin, tags or settings")
async def change(conversation_id: str, body: ConversationIn, who: Who, app: Hearth) -> ConversationOut:
    """What is left out stays."""
    settings = body.settings.to() if body.settings else None
    return ConversationOut.of(await app.chat.change(who.user, conversation_id, title=body.title, pinned=body.pinned, tags=body.tags, settings=settings))


@router.delete("/conversations/{conversation_id}", summary="Delete a conversation")
async def delete_conversation(conversation_id: str, who: Who, app: Hearth) -> ReceiptOut:
    """With everything in it; the receipt counts what is left (nothing)."""
    return ReceiptOut.of(await app.chat.delete(who.user, conversation_id))


@router.get("/conversations/{conversation_id}/export", summary="A conversation as a file", response_model=None)
async def export(conversation_id: str, who: Who, app: Hearth, form: Literal["markdown", "json"] = Query("markdown", alias="format"), at: str = "") -> Response:
    """One path as Markdown or JSON."""
    found = await app.chat.conversation(who.user, conversation_id)
    messages = await app.chat.whole_path(who.user, conversation_id, at=at)
    name = quote(found.title[:80], safe="")
    if form == "json":
        body, kind, suffix = _encode(as_json(found, messages)), "application/json", "json"
    else:
        body, kind, suffix = as_markdown(found, messages).encode(), "text/markdown; charset=utf-8", "md"
    return Response(body, media_type=kind, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}.{suffix}"})


@router.get("/conversations/{conversation_id}/shares", summary="The links to a conversation")
async def shares(conversation_id: str, who: Who, app: Hearth) -> PageOut:
    """Without their secrets."""
    return PageOut(items=[share_out(s) for s in await app.shelf.shares(who.user, conversation_id)])


@router.post("/conversations/{conversation_id}/shares", status_code=201, summary="Make a link that lets others read")
async def share(conversation_id: str, body: ShareIn, who: Who, app: Hearth) -> dict[str, Any]:
    """`path` opens the conversation as far as that message, for anybody, until the link is revoked. It is shown this once."""
    made, secret = await app.shelf.share(who.user, conversation_id, body.message_id)
    return share_out(made) | {"path": f"/share/{secret}"}


@router.delete("/shares/{share_id}", status_code=204, summary="Revoke a link")
async def revoke(share_id: str, who: Who, app: Hearth) -> Response:
    """From now on it leads nowhere."""
    await app.shelf.revoke(who.user, share_id)
    return Response(status_code=204)


@router.get("/tags", summary="Your tags")
async def tags(who: Who, app: Hearth) -> PageOut:
    """By name."""
    return PageOut(items=list(await app.chat.tags(who.user)))


@router.get("/prompts", summary="Your saved prompts")
async def prompts(who: Who, app: Hearth) -> PageOut:
    """By name."""
    return PageOut(items=[prompt_out(p) for p in await app.shelf.prompts(who.user)])


@router.put("/prompts", summary="Save a prompt")
async def save_prompt(body: PromptIn, who: Who, app: Hearth) -> dict[str, Any]:
    """The same name replaces it."""
    return prompt_out(await app.shelf.save_prompt(who.user, body.name, body.text))


@router.delete("/prompts/{prompt_id}", status_code=204, summary="Delete a prompt")
async def drop_prompt(prompt_id: str, who: Who, app: Hearth) -> Response:
    """For good."""
    await app.shelf.drop_prompt(who.user, prompt_id)
    return Response(status_code=204)
