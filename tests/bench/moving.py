"""`hearth migrate` to PostgreSQL and back: chunks a second, with everything copied, read again and compared. Prints a JSON line each way.

.venv/bin/python tests/bench/moving.py [CHUNKS]
"""

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import servers
from bench.corpus import Corpus
from bench.house import fresh_home
from bench.retrieval import CHUNKS_PER_DOCUMENT, add_document, empty_collection

from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import SqlDocuments
from core.app import move
from core.moving import Moving
from core.settings import Settings
from inference.echo import EchoEmbeddings


async def main(chunks):
    """A house of one collection, there and back."""
    with fresh_home() as home, fresh_home() as back, servers.postgres_18(durable=True) as server:
        async with SqliteDatabase("", home=home) as database:
            await database.migrate()
            _, collection = await empty_collection(database)
            corpus = Corpus()
            meanings = await EchoEmbeddings(None).embed(corpus.words, "document")
            for _ in range(0, chunks, CHUNKS_PER_DOCUMENT):
                await add_document(SqlDocuments(database), collection, corpus, meanings)
        for to, where in (("servers", home), ("home", back)):
            begun_s = time.monotonic()
            moved = {kind.what: kind.count for kind in await move(Settings(home=where, records_url=server.url), to, Moving())}
            seconds = time.monotonic() - begun_s
            figures = {"to": to, "chunks": moved["chunks"], "dimensions": EchoEmbeddings.DIMENSIONS, "rows": sum(moved.values()), "s": round(seconds, 1)}
            print(json.dumps({"figure": "migrate"} | figures | {"chunks_per_s": round(moved["chunks"] / seconds)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
