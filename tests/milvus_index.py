"""Milvus for tests: emptied, and for stores under contract an index that makes itself what the rows say before it is asked."""

from contextlib import asynccontextmanager

from pymilvus import MilvusClient

from core.adapters.chunk_index_milvus import MilvusChunkIndex
from core.adapters.chunk_index_sql import row_index


class Settled(MilvusChunkIndex):
    """In the house the library sees to it that the rows have come to Milvus; stores under contract know no library."""

    async def _as_the_rows_are(self):
        self._compared = False
        await self.settle()

    async def nearest(self, versions, query, top_k):
        await self._as_the_rows_are()
        return await super().nearest(versions, query, top_k)

    async def matching(self, collection_ids, text, top_k):
        await self._as_the_rows_are()
        return await super().matching(collection_ids, text, top_k)


def emptied(url):
    client = MilvusClient(url, dedicated=True)
    for name in client.list_collections():
        for alias in client.list_aliases(name)["aliases"]:
            client.drop_alias(alias)
        client.drop_collection(name)
    client.close()
    return url


@asynccontextmanager
async def opened(url, database, kind=MilvusChunkIndex):
    async with kind(url, rows=row_index(database), database=database) as index:
        yield index
