"""Taking plain text in with the real embedding model: how much of the job's time is the embedder's."""

import time
from contextlib import AsyncExitStack

import uvloop
from bench.corpus import prose
from bench.house import fresh_home, linked_models
from running_house import PASSWORD

from core.adapters.chunk_index_sql import SqliteChunkIndex
from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import SqlDocuments
from core.adapters.objects_folder import FolderObjectStore
from core.adapters.page_renderer_child import ChildPageRenderer
from core.adapters.parser_child import ChildParser
from core.app import now, open_app, open_models
from core.inference import Caller
from core.rag.library import Library
from core.rag.model import IngestStage
from core.rag.pictures import PagePictures
from core.settings import Settings
from ui.commands import local_inference


class TimedEmbedder:
    """The embedder port, with a stopwatch: the seconds that a caller waits for vectors, with the way to the model process and back."""

    def __init__(self, embedder):
        self._embedder = embedder
        self.used_s = 0.0

    def of(self, model):
        """The one model that is measured."""
        return self

    async def info(self):
        """As the port says."""
        return await self._embedder.info()

    async def embed(self, texts, kind, *, caller):
        """As the port says."""
        begun_s = time.monotonic()
        try:
            return await self._embedder.embed(texts, kind, caller=caller)
        finally:
            self.used_s += time.monotonic() - begun_s


def measure(size_bytes):
    """One line: a text of that size, from the lease of its job to ready."""
    with fresh_home() as home:
        linked_models(home)
        return uvloop.run(_measure(Settings(home=home), size_bytes))


async def _measure(settings, size_bytes):
    async with AsyncExitStack() as stack:
        async with open_app(settings) as app:
            user = await app.users.add("ada", PASSWORD)
        local = await stack.enter_async_context(local_inference(settings))
        embedder = TimedEmbedder((await stack.enter_async_context(open_models(settings, local))).embedder)
        database = await stack.enter_async_context(SqliteDatabase("", home=settings.home))
        objects = await stack.enter_async_context(FolderObjectStore("", home=settings.home))
        parser = ChildParser(timeout_s=settings.parse_timeout_s, memory_mb=settings.parse_memory_mb, max_bytes=settings.upload_max_mb * 1_000_000)
        library = Library(
            SqlDocuments(database),
            objects,
            parser,
            PagePictures(ChildPageRenderer(timeout_s=20, memory_mb=settings.parse_memory_mb)),
            embedder,
            SqliteChunkIndex(database),
            now,
            chunk_chars=settings.chunk_chars,
            max_bytes=size_bytes + 1,
            workers=0,
        )
        await embedder.embed(["The first text waits for the model to be loaded."], "document", caller=Caller())
        return await _timed(library, embedder, user, settings.home, size_bytes)


async def _timed(library, embedder, user, home, size_bytes):
    path = home / "reference.txt"
    path.write_text(prose(size_bytes), encoding="utf-8")
    _, job = await library.upload(user, "lab", path.name, path)
    embedder.used_s, begun_s = 0.0, time.monotonic()
    assert await library.ingest_next()
    wall_s = time.monotonic() - begun_s
    job = await library.job(user, job.id)
    assert job.stage is IngestStage.READY, job.error
    chunks = (await library.documents(user, "lab")).items[0].chunks
    return {
        "figure": "ingest",
        "text_bytes": path.stat().st_size,
        "chunks": chunks,
        "wall_s": round(wall_s, 2),
        "embedder_s": round(embedder.used_s, 2),
        "embedder_share_percent": round(100 * embedder.used_s / wall_s, 1),
        "other_ms_per_chunk": round((wall_s - embedder.used_s) / chunks * 1000, 2),
    }
