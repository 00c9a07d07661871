"""Sound in the files that other programs make."""

import io

import av
import numpy as np

from inference.echo import TONES_RATE_HZ

WRITTEN = {"ogg": ("ogg", "libopus", 48_000), "flac": ("flac", "flac", 16_000), "mp4": ("mp4", "aac", 48_000)}


def packed(container, samples, *, rate_hz=None, layout="mono", codec=None):
    """A file with these samples, which are at TONES_RATE_HZ."""
    muxer, usual, usual_hz = (
        WRITTEN.get(container) or {"webm": ("webm", "libopus", 48_000), "mp3": ("mp3", "libmp3lame", 24_000), "wav": ("wav", "pcm_s16le", 16_000)}[container]
    )
    rate_hz = rate_hz or usual_hz
    out = io.BytesIO()
    with av.open(out, "w", format=muxer) as file:
        stream = file.add_stream(codec or usual, rate=rate_hz, layout=layout)
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
        frame.sample_rate = TONES_RATE_HZ
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate_hz, frame_size=stream.codec_context.frame_size)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return out.getvalue()
