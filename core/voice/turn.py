"""One spoken turn while it goes on: what is heard, what is answered and how it sounds, in order, for any number of followers."""

from dataclasses import dataclass

from core.chat.turn import Finished, SourcesFound, Stage
from core.errors import HearthError
from core.inference import TextDelta
from core.updates import Updates
from core.voice.model import AudioChunk, Transcription, VoiceResponse


@dataclass(frozen=True, slots=True)
class Listening:
    """The recording is with the model that listens."""


@dataclass(frozen=True, slots=True)
class Transcribed:
    """What was heard. From now on the request is stored."""

    transcription: Transcription


@dataclass(frozen=True, slots=True)
class Speaking:
    """The next piece of the answer is about to sound: what of it is spoken. Its AudioChunks follow."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The response as it is stored; always the last update of a turn that came so far."""

    response: VoiceResponse


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was stored: there was nothing to hear, or nobody who could listen. Always the last update of such a turn."""

    error: HearthError


VoiceUpdate = Listening | Transcribed | Stage | SourcesFound | TextDelta | Finished | Speaking | AudioChunk | Answered | Refused


class VoiceTurn(Updates[VoiceUpdate]):
    """From a recording to its answer. Stage, SourcesFound, TextDelta and Finished are those of the chat turn inside it."""

    def __init__(self, request_id: str, user_id: str) -> None:
        super().__init__((Answered, Refused))
        self.request_id, self.user_id = request_id, user_id

    @property
    def end(self) -> Answered | Refused | None:
        """How it ended; None while it goes on."""
        last = self._updates[-1] if self._updates else None
        return last if isinstance(last, Answered | Refused) else None
