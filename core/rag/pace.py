"""How long a job will still take, from what the last ones took. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from core.rag.model import IngestJob, Pace, Waiting

EMBEDDING_FROM, EMBEDDING_SHARE = 5.0, 92.0
"""The percent at which embedding begins, and how many it takes."""


def with_outlook(job: IngestJob, waiting: Waiting, now: datetime, *, lease: timedelta, workers: int) -> IngestJob:
    """The job with its place, its remaining time and whether it has stalled, as of now."""
    if job.done:
        return job
    place, bytes_ahead = waiting.places.get(job.id, (None, 0))
    stalled = job.running and job.heartbeat_at is not None and now - job.heartbeat_at > lease
    if job.running:
        return replace(job, stalled=stalled, eta_s=None if stalled else eta_s(job, 0, waiting.pace, workers=workers))
    return replace(job, position=place, paused=waiting.paused, eta_s=None if waiting.paused else eta_s(job, bytes_ahead, waiting.pace, workers=workers))


def eta_s(job: IngestJob, bytes_ahead: int, pace: Pace, *, workers: int) -> float | None:
    """Seconds until it is ready: chunks still to be embedded at the measured chunks per second. None where nothing has been measured yet.

    bytes_ahead: of the documents before it; they and a file that has not been read yet are taken to have as many chunks per byte as the last ones.
    """
    known = pace if pace.chunks and pace.seconds > 0 else _own(job)
    if not known.chunks or known.seconds <= 0:
        return None
    seconds_per_chunk = known.seconds / known.chunks
    chunks_per_byte = known.chunks / max(1, known.size_bytes)
    mine = (job.chunks or job.size_bytes * chunks_per_byte) * (100 - job.percent) / 100
    return round((mine + bytes_ahead * chunks_per_byte / max(1, workers)) * seconds_per_chunk, 1)


def _own(job: IngestJob) -> Pace:
    """What the job itself has shown until its last heartbeat."""
    if job.started_at is None or job.heartbeat_at is None:
        return Pace()
    share = max(0.0, job.percent - EMBEDDING_FROM) / EMBEDDING_SHARE
    return Pace(int(job.chunks * share), int(job.size_bytes * share), (job.heartbeat_at - job.started_at).total_seconds())
