"""Where a spoken turn's time went, out of what is measured of it. Pure."""

from core.traces import Spent
from core.voice.model import VoiceTiming

STAGES = ("stt", "rag", "llm_ttft", "tts_ttfb")
"""What a speaker waits for, in this order."""


def spoken_stages(timing: VoiceTiming) -> list[Spent]:
    """How long the speaker of a recording waited for each stage; what was done while another was waited for took nothing."""
    rag_at = None if timing.rag_ms is None else (timing.stt_ms or 0.0) + timing.rag_ms
    reached = zip(STAGES, (timing.stt_ms, rag_at, timing.llm_first_token_ms, timing.first_audio_ms), strict=True)
    found, at = list[Spent](), 0.0
    for stage, reached_at in reached:
        if reached_at is not None:
            found.append((stage, at, max(0.0, reached_at - at)))
            at = max(at, reached_at)
    return found
