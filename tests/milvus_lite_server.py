"""`milvus-lite server` with its writes one after another, and an end on SIGTERM: milvus_lite_server.py FOLDER PORT.

Milvus Lite loses acknowledged rows where several clients write at once; its own README says that writes to a collection must be serialised.
"""

import signal
import sys
import threading

from milvus_lite.adapter.grpc import server, servicer

WRITES = (
    "Insert Upsert Delete Flush CreateIndex DropIndex CreateCollection DropCollection LoadCollection ReleaseCollection TruncateCollection ManualCompaction"
    " CreatePartition DropPartition RenameCollection CreateAlias AlterAlias DropAlias"
).split()
lock = threading.RLock()


def one_after_another(call):
    def locked(self, request, context):
        with lock:
            return call(self, request, context)

    return locked


def stop(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    for name in WRITES:
        if hasattr(servicer.MilvusServicer, name):
            setattr(servicer.MilvusServicer, name, one_after_another(getattr(servicer.MilvusServicer, name)))
    signal.signal(signal.SIGTERM, stop)
    server.run_server(sys.argv[1], "127.0.0.1", int(sys.argv[2]))
