"""Collections and documents that are put straight into a store, with vectors along the axes of a small space."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from core.ids import chunk_id, new_id
from core.rag.model import Chunk, ChunkMetadata, Collection, Document, IngestJob, IngestStage

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DIMENSIONS = 8


async def a_collection(store, user, name="manuals"):
    collection = Collection(new_id(), user.id, name, "tiny", DIMENSIONS, "structure-1/700", NOW)
    await store.add_collection(collection)
    return collection


def axis(n):
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[n % DIMENSIONS] = 1
    return vector


def passages(document, texts):
    return [
        Chunk(chunk_id(document.id, document.version, n), document.id, text, axis(n), ChunkMetadata(n, n + 1, "Part", 0, len(text)))
        for n, text in enumerate(texts)
    ]


async def add(store, user, collection, texts=("the port is 8000", "the lamp is green"), sha="a" * 64, publish=True, name="", uri="s3://hearth/x"):
    document = Document(new_id(), collection.name, "Manual", "", "", None, owner_id=user.id, sha256=sha, uri=uri, size_bytes=3, created_at=NOW, name=name)
    job = IngestJob(new_id(), document.id, user.id, collection.name, "Manual", IngestStage.QUEUED, 0.0, created_at=NOW)
    document, job = await store.add_document(document, collection, job)
    if publish:
        document = replace(document, chunks=len(texts), content="\n".join(texts), version=job.version, sha256=job.sha256, uri=job.uri)
        await store.store_chunks(document, passages(document, texts), 1)
        await store.publish(document, job)
    return document, job
