"""A house over models without weights, and what tests do in it."""

import asyncio
import socket
import sqlite3
import threading
import time
from contextlib import closing

import uvicorn

from core.chat.model import MessageContent, SendMessage
from core.ids import new_id
from core.settings import Settings
from core.voice.containers import wav
from core.voice.model import AudioData, AudioFormat, SendVoice
from inference.audio import resampled
from inference.echo import TONES_RATE_HZ, tones

NOBODY = "s3+http://key:secret@127.0.0.1:9/hearth"
"""A store of objects that is away: nothing listens on the discard port."""


def echo_settings(home, **given):
    models = {"llm": "echo", "embeddings": "echo-embed", "reranker": "echo-rerank", "stt": "echo-stt", "tts": "echo-tts", "vad": "loudness"}
    return Settings(home=home, **{f"{service}_model": name for service, name in models.items()} | given)


class Served:
    """An ASGI application on a loopback port, in a thread."""

    def __init__(self, app):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve(sockets=[self.socket])), daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(5)
        self.socket.close()


def ask(text, conversation_id=None, message_id=None, **given):
    return SendMessage(conversation_id or new_id(), message_id or new_id(), MessageContent(text), **given)


async def finished(turn):
    async for _ in turn.follow():
        pass
    return turn.answer


def recorded(text, rate_hz=TONES_RATE_HZ):
    """A WAV file in which the echo models hear that text."""
    return AudioData(wav(resampled(tones(text), TONES_RATE_HZ, rate_hz).tobytes(), rate_hz), AudioFormat.WAV)


def say(text, request_id=None, conversation_id=None, **given):
    return SendVoice(request_id or new_id(), conversation_id or new_id(), recorded(text) if isinstance(text, str) else text, **given)


async def taken_in(app, who, name, content, collection="lab"):
    """Uploads and waits until the job has ended."""
    path = app.settings.home / f"upload-{new_id()}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    document, job = await app.library.upload(who.user, collection, name, path)
    return document, await waited_for(app, who, job)


async def waited_for(app, who, job):
    """The job when it has ended."""
    for _ in range(600):
        job = await app.library.job(who.user, job.id)
        if job.done:
            break
        await asyncio.sleep(0.05)
    return job


def rows_of(home):
    """Every row of every table but those of sessions."""
    with closing(sqlite3.connect(home / "hearth.db")) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if name != "sessions"]
        return {name: sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"').fetchall())) for name in names}


def files_of(home):
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in (home / "objects").rglob("*") if p.is_file()}
