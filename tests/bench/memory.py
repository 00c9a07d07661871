"""What the web process holds before, while and after it takes in many small documents; the echo embedder, so that nothing but Hearth's own work is there."""

import threading
import time

from bench.corpus import Corpus
from bench.house import fresh_home
from bench.processes import rss_mb
from running_house import RunningHouse

SECTIONS = 10
"""Of a document; each becomes a chunk."""
SETTLE_S = 10.0
SAMPLE_S = 0.1


class Highest:
    """The highest resident memory of a process, looked at ten times a second while it is entered."""

    def __init__(self, pid):
        self._pid, self._over = pid, threading.Event()
        self.mb = 0.0
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._over.wait(SAMPLE_S):
            self.mb = max(self.mb, rss_mb(self._pid))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def measure(files):
    """One line."""
    corpus = Corpus()
    passages = corpus.passages(files * SECTIONS)
    with fresh_home() as home, RunningHouse(home, HEARTH_CHAT_PAGE="true") as house:
        house.make_user()
        house.wait_for_pages()
        _taken_in(house, "warm-up", [_markdown(corpus, 0, passages[:SECTIONS])])
        time.sleep(SETTLE_S)
        idle_mb, begun_s = rss_mb(house.process.pid), time.monotonic()
        with Highest(house.process.pid) as highest:
            chunks = _taken_in(house, "many", [_markdown(corpus, n, passages[n * SECTIONS : (n + 1) * SECTIONS]) for n in range(files)])
        took_s = time.monotonic() - begun_s
        time.sleep(SETTLE_S)
        after_mb = rss_mb(house.process.pid)
    figures = {"idle_mb": idle_mb, "peak_mb": highest.mb, "after_mb": after_mb, "kept_mb": after_mb - idle_mb, "wall_s": took_s}
    return {"figure": "memory", "files": files, "chunks": chunks} | {name: round(value, 1) for name, value in figures.items()}


def _markdown(corpus, number, passages):
    sections = "\n\n".join(f"## Section {n}\n\n{corpus.text(passage)[:600]}" for n, passage in enumerate(passages))
    return f"# Document {number}\n\n{sections}\n".encode()


def _taken_in(house, collection, documents):
    """Uploads them, waits until the last job has ended, and says how many chunks they became."""
    jobs = []
    for n, text in enumerate(documents):
        status, job = house.upload(f"document-{n}.md", text, collection)
        assert status == 202, job
        jobs.append(job["id"])
    done = [house.job_done(job, 600) for job in jobs]
    assert all(job["stage"] == "ready" for job in done)
    return sum(job["chunks"] for job in done)
