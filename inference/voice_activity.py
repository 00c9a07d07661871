"""Whether somebody speaks, frame by frame, on onnxruntime or by loudness alone. The web process uses it in calls, the model server before it listens.

Source of the network: Silero Team, "Silero VAD: pre-trained enterprise-grade Voice Activity Detector", https://github.com/snakers4/silero-vad (MIT).
"""

from typing import Any, Protocol

import numpy as np

from core.errors import NoSpeech
from core.inference import Samples
from core.ports import VoiceActivity
from inference.audio import HEARD_RATE_HZ, frames_of
from inference.engine import EngineSettings

FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
"""The end of the frame before, which the network sees in front of each."""
SPEECH_PROBABILITY = 0.5
SPEECH_FRAMES = 3
"""So many frames of speech, about a tenth of a second, make a recording one in which somebody speaks."""
LOUD, SILENT = 500.0, 100.0
"""Root mean square of the samples of a frame: certainly a voice near a microphone, and certainly none."""


class SpeechDetector(Protocol):
    """A detector that is loaded once and listens to any number of streams."""

    def listen(self) -> VoiceActivity:
        """A new stream, with nothing heard before."""

    async def close(self) -> None:
        """Frees the model."""


def demand_speech(stream: VoiceActivity, samples: Samples) -> None:
    """Looks through a recording at HEARD_RATE_HZ, no further than it must. Raises: NoSpeech if nobody speaks in it."""
    frames = 0
    for frame in frames_of(samples, stream.frame_samples):
        frames += stream.probability(frame) > SPEECH_PROBABILITY
        if frames >= SPEECH_FRAMES:
            return
    raise NoSpeech("I heard nothing: there is no speech in the recording.", hint="Check the microphone, and speak a little louder.")


class Silero:
    """The network, shared by every stream: it keeps nothing itself."""

    def __init__(self, settings: EngineSettings) -> None:
        """Loads it. Raises: ImportError without onnxruntime; OSError for a file that isn't there."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a frame is so little work that sharing it costs more
        path = settings.folder / "silero_vad.onnx"
        if not path.is_file():
            raise OSError(f"{path.name} is missing")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def listen(self) -> VoiceActivity:
        """As the protocol says."""
        return _SileroStream(self._session)

    async def close(self) -> None:
        """As the protocol says."""
        del self._session


class _SileroStream:
    frame_samples, rate_hz = FRAME_SAMPLES, HEARD_RATE_HZ

    def __init__(self, session: Any) -> None:
        self._session = session
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros((1, CONTEXT_SAMPLES), np.float32)
        self._rate = np.array(HEARD_RATE_HZ, np.int64)

    def probability(self, frame: Samples) -> float:
        """As the port says."""
        heard = np.concatenate([self._context, frame[None].astype(np.float32) / 32768], axis=1)
        self._context = heard[:, -CONTEXT_SAMPLES:]
        out, self._state = self._session.run(None, {"input": heard, "state": self._state, "sr": self._rate})
        return float(out[0, 0])


class Loudness:
    """Takes any loud sound for speech: needs no model, and is right where nothing but a voice is loud."""

    def __init__(self, settings: EngineSettings) -> None:
        """Needs nothing of the settings."""

    def listen(self) -> VoiceActivity:
        """As the protocol says."""
        return _LoudnessStream()

    async def close(self) -> None:
        """As the protocol says."""


class _LoudnessStream:
    frame_samples, rate_hz = FRAME_SAMPLES, HEARD_RATE_HZ

    def probability(self, frame: Samples) -> float:
        """As the port says: rises evenly from silent to loud."""
        level = float(np.sqrt(np.mean(np.square(frame, dtype=np.float64)))) if len(frame) else 0.0
        return min(1.0, max(0.0, (level - SILENT) / (LOUD - SILENT)))
