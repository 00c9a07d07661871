"""A conversation of 500 messages whose answers carry sources and traces: how long the store takes to open it, to page through it, and to accept a turn."""

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import uvloop
from bench.house import fresh_home
from bench.load import percentile

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.conversations_sql import SqlConversations
from core.adapters.database_sql import SqliteDatabase
from core.chat.grounding import stored_history
from core.chat.model import ChatMessage, Conversation, MessageMetadata, MessageStatus, NewTurn
from core.chat.room import HISTORY_MESSAGES
from core.ids import new_id, reply_id
from core.rag.model import Candidate, RetrievalTrace, Source
from core.users.model import Preferences, User

PAGE_MESSAGES = 100
TEXT = "Backups run every night at 02:30 and are kept for 35 days; who restores one needs the key of the safe. " * 6


def measure(messages, rounds):
    """One line."""
    with fresh_home() as home:
        return uvloop.run(_measure(home, messages, rounds))


async def _measure(home, messages, rounds):
    user, conversation = User(new_id(), "ada", False, Preferences(), datetime.now(UTC)), new_id()
    async with SqliteDatabase("", home=home) as database:
        await database.migrate()
        await SqlAccounts(database).add(user, None)
        store = SqlConversations(database)
        for n in range(messages // 2):
            await _add_turn(store, user, conversation, n)
        took = {name: [] for name in ("open", "whole", "accept")}
        for n in range(rounds):
            for name, work in (("open", _open), ("whole", _whole), ("accept", _accept)):
                begun_s = time.perf_counter()
                await work(store, user, conversation, messages + n)
                took[name].append((time.perf_counter() - begun_s) * 1000)
    figures = {f"{name}_{p}_ms": round(percentile(times, q), 2) for name, times in took.items() for p, q in (("p50", 50), ("p95", 95))}
    return {"figure": "thread", "messages": messages, "rounds": rounds} | figures


def _turn(user, conversation, n, history=0):
    at, asked = datetime.now(UTC), new_id()
    question = ChatMessage(asked, conversation, "", user.id, "user", f"Question {n}? {TEXT[:200]}", at)
    answered = at + timedelta(microseconds=1)
    answer = ChatMessage(reply_id(asked), conversation, "", user.id, "assistant", "", answered, status=MessageStatus.GENERATING, reply_to=asked)
    return NewTurn(Conversation(conversation, user.id, "A long one", at, at), question, answer, at + timedelta(hours=1), (), history)


async def _add_turn(store, user, conversation, n):
    turn = _turn(user, conversation, n)
    await store.accept(turn)
    await store.finish(replace(turn.answer, content=TEXT, status=MessageStatus.COMPLETE, metadata=_metadata()), [])


def _metadata():
    """What an answer from documents carries: three sources with their passages, thirty candidates with their ranks."""
    sources = tuple(Source(k, new_id(), new_id(), "Lab handbook", 3, 0, TEXT[:100], 0.9, passage=TEXT) for k in range(1, 4))
    candidates = tuple(Candidate(new_id(), new_id(), "Lab handbook", k, 0.5, k, 3.5, k, 0.02, k, 0.4) for k in range(1, 31))
    trace = RetrievalTrace("question", ("lab",), 812, 3, candidates, {"total": 12.5}, 0.9, 0.3)
    return MessageMetadata(sources=sources, rag_sources=tuple(s.chunk_id for s in sources), retrieval=asdict(trace), model_used="m")


async def _open(store, user, conversation, n):
    """As a page does it: the conversation and its last messages."""
    await store.get_for(user.id, conversation)
    await store.thread_for(user.id, conversation, limit=PAGE_MESSAGES)


async def _whole(store, user, conversation, n):
    """Every page of it, back to its first message."""
    thread = await store.thread_for(user.id, conversation, limit=PAGE_MESSAGES)
    while thread.older:
        thread = await store.thread_for(user.id, conversation, limit=PAGE_MESSAGES, before=thread.messages[0].id)


async def _accept(store, user, conversation, n):
    """A new turn, stored, with the history of its prompt."""
    accepted = await store.accept(_turn(user, conversation, n, HISTORY_MESSAGES))
    stored_history(accepted.history)
