"""Sound in and out of files: decoding with limits, encoding, resampling. The one place that knows a codec.

Plain WAV is taken apart here. Everything else may be hostile, so it is decoded in a child process that can be killed (`python -m inference.audio`), by the
one demuxer that its first bytes ask for. PyAV is imported where it is used: the server starts without it.
"""

import asyncio
import io
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from core.adapters.child_limits import limit
from core.adapters.child_process import ChildBroke, answer_of
from core.errors import BadInput, TooLong, Unreadable
from core.inference import Samples
from core.voice.containers import container_of, wav
from core.voice.model import SPEECH_RATE_HZ

HEARD_RATE_HZ = 16_000
"""What every listening model and detector of speech takes."""
MAX_CHANNELS = 8
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
CHILD_TIMEOUT_S = 20.0
CHILD_MEMORY_MB = 512
DEMUXERS = {"wav": "wav", "webm": "matroska", "mp3": "mp3", "ogg": "ogg", "flac": "flac", "mp4": "mov"}
DECODERS = ("opus", "vorbis", "aac", "alac", "mp3", "mp3float", "flac")
"""And every kind of plain samples (pcm_…): what the rest of a codec library can do is nobody's business here."""
# (muxer, codec, rate in Hz, bits a second, how to write where nothing can be sought)
ENCODERS: dict[str, tuple[str, str, int, int, dict[str, str]]] = {
    "mp3": ("mp3", "libmp3lame", 24_000, 64_000, {"write_xing": "0"}),
    "webm": ("webm", "libopus", 48_000, 32_000, {"live": "1"}),
}
OUTPUTS = ("wav", "pcm", *ENCODERS)
QUIET = 160
"""An amplitude below this is silence around a text that was spoken: half a percent of the loudest."""
LEAD_MS, TAIL_MS = 10, 120
"""What is left of that silence: voices begin and end with up to a quarter of a second of it, and a listener would wait for it."""
UNKNOWN_BYTES = 0xFFFF_FFFF - 36
ERRORS: dict[str, type[BadInput]] = {"Unreadable": Unreadable, "TooLong": TooLong, "BadInput": BadInput}
BROKEN = "It may be damaged or cut off; record it again, or save it as WAV."


@dataclass(frozen=True, slots=True)
class Decoded:
    """samples: one channel at HEARD_RATE_HZ.   declared_ms: what the file says of its own length; None where it says nothing."""

    samples: Samples
    declared_ms: float | None

    @property
    def duration_ms(self) -> float:
        """How long it really is."""
        return len(self.samples) / HEARD_RATE_HZ * 1000


async def decode(data: bytes, *, max_s: float) -> Decoded:
    """The sound of a file. Its first bytes decide what it is. Raises: Unreadable, TooLong for more than max_s seconds or too many channels."""
    container = container_of(data)
    if not container:
        raise Unreadable("The recording is empty." if not data else "That is no sound file that Hearth reads.", hint=f"Send {', '.join(DEMUXERS)}.")
    if container == "wav" and (plain := _plain_wav(data, max_s)) is not None:
        samples, rate_hz, declared_ms = plain
        return Decoded(await asyncio.to_thread(resampled, samples, rate_hz, HEARD_RATE_HZ), declared_ms)
    try:
        out = await answer_of("inference.audio", container, str(max_s), timeout_s=CHILD_TIMEOUT_S, said=data)
    except TimeoutError as error:
        raise TooLong(f"Decoding the recording took longer than {CHILD_TIMEOUT_S:.0f} s.", hint="Send a shorter one.") from error
    except ChildBroke as error:
        raise Unreadable("The recording broke the decoder.", hint=BROKEN) from error
    head, _, samples_bytes = out.partition(b"\n")
    said = json.loads(head)
    if kind := said.get("error"):
        raise ERRORS.get(kind, Unreadable)(said["message"], hint=said["hint"])
    return Decoded(np.frombuffer(samples_bytes, np.int16), said["declared_ms"])


def _plain_wav(data: bytes, max_s: float) -> tuple[Samples, int, float | None] | None:
    """(one channel, rate, declared ms) of 16-bit samples; None for any other kind of WAV. Source: Multimedia Programming Interface 1.0, §3 (RIFF WAVE)."""
    at, channels, rate_hz = 12, 0, 0
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = at + 8
        if name == b"fmt " and body + 16 <= len(data):
            kind, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", data, body)
            if (kind, bits) != (1, 16):
                return None
        elif name == b"data":
            if not channels:
                return None
            _check(channels, rate_hz)
            frame_bytes = 2 * channels
            count = min(size, len(data) - body) // frame_bytes
            if count > max_s * rate_hz:
                raise _too_long(max_s)
            frames = np.frombuffer(data, "<i2", count * channels, body).reshape(count, channels)
            mono = frames[:, 0] if channels == 1 else frames.mean(axis=1).astype(np.int16)
            if not count:
                raise Unreadable("The recording has no sound in it.", hint="Check the microphone, and record again.")
            # A file that is streamed names the largest size there is, because it doesn't know its own.
            return mono, rate_hz, None if size >= UNKNOWN_BYTES - 36 else size / frame_bytes / rate_hz * 1000
        at = body + size + (size & 1)
    raise Unreadable("The recording has no sound in it.", hint=BROKEN)


def _check(channels: int, rate_hz: int) -> None:
    if channels < 1:
        raise Unreadable("The recording has no channel of sound in it.", hint=BROKEN)
    if channels > MAX_CHANNELS:
        raise TooLong(f"The recording has {channels} channels; at most {MAX_CHANNELS} are taken.", hint="Mix it down to one.")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise Unreadable(f"The recording has {rate_hz} samples a second.", hint=f"{MIN_RATE_HZ} to {MAX_RATE_HZ} are taken; 16000 is enough for speech.")


def _too_long(max_s: float) -> TooLong:
    return TooLong(f"The recording is longer than {max_s:.0f} s.", hint="Send it in parts, or raise HEARTH_AUDIO_MAX_S.")


def decode_here(data: bytes, container: str, max_s: float) -> Decoded:
    """As `decode`, in this process and by PyAV; what the child runs. Raises: Unreadable, TooLong."""
    import av

    try:
        with av.open(io.BytesIO(data), format=DEMUXERS[container], timeout=5) as source:
            if not source.streams.audio:
                raise Unreadable("There is no sound in that file.", hint="Send a recording.")
            stream = source.streams.audio[0]
            if stream.codec_context.name not in DECODERS and not stream.codec_context.name.startswith("pcm_"):
                raise Unreadable(f"Sound packed with {stream.codec_context.name} is not read.", hint="Save it as WAV, MP3 or WebM.")
            _check(stream.codec_context.channels, stream.codec_context.sample_rate)
            declared_ms = _declared_ms(source, stream)
            if declared_ms is not None and declared_ms > 2 * max_s * 1000:  # a guess from the bitrate may be wrong, but not by so much
                raise _too_long(max_s)
            samples = _decoded(av, source, max_s)
    except (av.FFmpegError, OSError, ValueError, EOFError) as error:
        raise Unreadable(f"The recording can't be read as {container}.", hint=BROKEN) from error
    if not len(samples):
        raise Unreadable("The recording has no sound in it.", hint=BROKEN)
    return Decoded(samples, declared_ms)


def _declared_ms(source: Any, stream: Any) -> float | None:
    if source.duration:
        return float(source.duration) / 1000
    return float(stream.duration * stream.time_base) * 1000 if stream.duration else None


def _decoded(av: Any, source: Any, max_s: float) -> Samples:
    """Every sample, counted while they come: what a file says of its own length may be a lie."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=HEARD_RATE_HZ)
    parts, count = [], 0
    try:
        for frame in source.decode(audio=0):
            _check(frame.layout.nb_channels, frame.sample_rate)  # they may change on the way
            for piece in resampler.resample(frame):
                parts.append(piece.to_ndarray()[0])
                count += piece.samples
                if count > max_s * HEARD_RATE_HZ:
                    raise _too_long(max_s)
    except av.FFmpegError:
        if not parts:  # what came before the damage is still what was said; the declared length tells that there was more
            raise
    if parts:
        parts += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def resampled(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """The same sound with another number of samples a second."""
    if from_hz == to_hz or not len(samples):
        return samples
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=to_hz)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
    frame.sample_rate = from_hz
    pieces = [piece.to_ndarray()[0] for piece in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)  # a sample or two make none


def trimmed(samples: Samples, rate_hz: int) -> Samples:
    """Without the silence around it, but for a breath. Silence alone is left as it is: it was asked for."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > QUIET)
    if not len(loud):
        return samples
    return samples[max(0, loud[0] - LEAD_MS * rate_hz // 1000) : loud[-1] + 1 + TAIL_MS * rate_hz // 1000]


class Encoder:
    """Packs sound as it comes. `feed` gives the bytes that are ready; `close` the last."""

    def __init__(self, container: str, rate_hz: int = SPEECH_RATE_HZ) -> None:
        """container: one of OUTPUTS.   rate_hz: of the samples that are fed; pcm and wav leave it so."""
        if container not in OUTPUTS:
            raise BadInput(f"Sound can't be made as {container[:20]!r}.", hint=f"Ask for {', '.join(OUTPUTS)}.")
        self._container, self._rate_hz = container, rate_hz
        self._packer = _Packer(container, rate_hz, _Outlet()) if container in ENCODERS else None
        self._begun = False

    def feed(self, samples: Samples) -> bytes:
        """What the next samples become."""
        if self._packer is not None:
            return self._packer.feed(samples)
        raw = np.asarray(samples, "<i2").tobytes()
        head = b"" if self._begun or self._container == "pcm" else _unending(self._rate_hz)
        self._begun = True
        return head + raw

    def close(self) -> bytes:
        """The end of the file."""
        return self._packer.close() if self._packer is not None else b""


def _unending(rate_hz: int) -> bytes:
    """The head of a WAV file whose length isn't known yet."""
    head = bytearray(wav(b"", rate_hz))
    struct.pack_into("<I", head, 4, UNKNOWN_BYTES + 36)
    struct.pack_into("<I", head, 40, UNKNOWN_BYTES)
    return bytes(head)


class _Outlet(io.RawIOBase):
    """Where a muxer writes, and nothing is sought: bytes are taken as soon as they are there."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self.parts = b"".join(self.parts), []
        return taken


class _Packer:
    """A muxer and a codec of PyAV."""

    def __init__(self, container: str, rate_hz: int, outlet: "_Outlet | io.BytesIO") -> None:
        """outlet: one that can be sought in gets the length written at its beginning, at the end."""
        import av

        muxer, codec, codec_rate_hz, bit_rate, streamed = ENCODERS[container]
        self._outlet = outlet
        self._file: Any = av.open(outlet, "w", format=muxer, options=streamed if isinstance(outlet, _Outlet) else {})
        self._stream: Any = self._file.add_stream(codec, rate=codec_rate_hz, layout="mono", bit_rate=bit_rate)
        self._stream.codec_context.open()
        context = self._stream.codec_context
        self._resampler: Any = av.AudioResampler(context.format, "mono", codec_rate_hz, frame_size=context.frame_size)
        self._rate_hz, self._frame, self._at = rate_hz, av.AudioFrame, 0

    def feed(self, samples: Samples) -> bytes:
        if not len(samples):
            return b""
        frame = self._frame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self._rate_hz, self._at, Fraction(1, self._rate_hz)
        self._at += len(samples)
        self._pack(self._resampler.resample(frame))
        return self._outlet.take() if isinstance(self._outlet, _Outlet) else b""

    def close(self) -> bytes:
        if self._at:
            self._pack(self._resampler.resample(None))
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._outlet.take() if isinstance(self._outlet, _Outlet) else self._outlet.getvalue()

    def _pack(self, frames: Any) -> None:
        for frame in frames:
            self._file.mux(self._stream.encode(frame))


def encode(samples: Samples, container: str, rate_hz: int = SPEECH_RATE_HZ) -> bytes:
    """A whole file."""
    if container == "wav":
        return wav(np.asarray(samples, "<i2").tobytes(), rate_hz)
    if container == "pcm":
        return np.asarray(samples, "<i2").tobytes()
    packer = _Packer(container, rate_hz, io.BytesIO())
    packer.feed(samples)
    return packer.close()


def frames_of(samples: Samples, size: int) -> Iterator[Samples]:
    """The sound in frames of that many samples; the last one is filled up with silence."""
    for start in range(0, len(samples), size):
        frame = samples[start : start + size]
        yield frame if len(frame) == size else np.pad(frame, (0, size - len(frame)))


def main() -> None:
    """`python -m inference.audio CONTAINER MAX_S`: a file on standard input; a line of JSON and the samples on standard output."""
    container, max_s = sys.argv[1], float(sys.argv[2])
    limit(CHILD_MEMORY_MB, round(CHILD_TIMEOUT_S))
    head: dict[str, object]
    try:
        decoded = decode_here(sys.stdin.buffer.read(), container, max_s)
        head, samples = {"declared_ms": decoded.declared_ms}, decoded.samples.tobytes()
    except BadInput as error:
        head, samples = {"error": type(error).__name__, "message": error.message, "hint": error.hint}, b""
    except MemoryError:
        head, samples = {"error": "TooLong", "message": "The recording takes more memory than one may.", "hint": "Send a shorter one."}, b""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + samples)


if __name__ == "__main__":
    main()
