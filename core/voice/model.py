"""A spoken turn: what came in, what was heard, what is said. The bytes of its sound live in the object store; `audio_b64` is for the API's edge."""

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core.errors import BadInput, NoSpeech, Unreadable
from core.ids import is_id
from core.voice.containers import container_of

SPEECH_RATE_HZ = 24_000
"""Of spoken sound as raw samples, everywhere in the house; the rate that OpenAI's `pcm` has."""
BYTES_PER_SAMPLE = 2
MIN_SPEED, MAX_SPEED = 0.25, 4.0
MAX_LANGUAGE_CHARS = 20
MAX_SPOKEN_CHARS = 4096
"""Of one text that is spoken, about five minutes; OpenAI's limit too."""


class AudioFormat(StrEnum):
    """How the sound of a turn is packed."""

    WAV = "wav"
    WEBM = "webm"
    MP3 = "mp3"

    @property
    def media_type(self) -> str:
        """As HTTP names it."""
        return {"wav": "audio/wav", "webm": "audio/webm", "mp3": "audio/mpeg"}[self.value]

    @classmethod
    def named(cls, name: str) -> "AudioFormat":
        """Raises: BadInput for any other."""
        return cls(_taken(name, tuple(cls)))


MADE_WAV = ("ogg", "flac", "mp4")
"""What recorders and phones send besides: the domain doesn't know it, so it is made WAV before it becomes a request."""


def _taken(name: str, forms: Collection[str]) -> str:
    if name not in forms:
        raise BadInput(f"Sound in the form {name[:20]!r} is not taken.", hint=f"Send {', '.join(forms)}.")
    return name


def form_of(data: bytes, named: str = "", forms: Collection[str] = tuple(AudioFormat)) -> str:
    """How some sound is packed, by its first bytes. named: what it is said to be, "" for nothing.   forms: those that are taken.

    Raises: BadInput for a name that isn't taken; Unreadable if there are no bytes, or they begin like something else.
    """
    if named:
        _taken(named, forms)
    if not data:
        raise Unreadable("The recording is empty.", hint="Check the microphone, and record again.")
    found, offered = container_of(data), ", ".join(forms)
    if not named and found not in forms:
        raise Unreadable("That is no recording that is taken here.", hint=f"Send {offered}.")
    if named and found != named:
        is_said = f"looks like {found}" if found else "is no sound that is known"
        raise Unreadable(f"The recording is said to be {named}, but {is_said}.", hint=f"Send {offered}, and say which.")
    return found


@dataclass(frozen=True, slots=True)
class AudioData:
    """Packed sound. duration_ms and sample_rate are 0 where nobody has decoded it yet."""

    data: bytes
    format: AudioFormat
    duration_ms: float = 0.0
    sample_rate: int = 0

    def __post_init__(self) -> None:
        """Raises: Unreadable if there are no bytes, or they begin like something else than they are said to be."""
        form_of(self.data, self.format)


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The next piece of spoken sound: signed 16-bit little-endian samples, one channel. `sequence` counts from 0 within a turn."""

    sequence: int
    data: bytes
    sample_rate: int = SPEECH_RATE_HZ

    @property
    def duration_ms(self) -> float:
        """How long it sounds."""
        return len(self.data) / BYTES_PER_SAMPLE / self.sample_rate * 1000


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was heard. duration_ms: of the sound; declared_ms: what its file says of itself, where it says something (a truncated one says more)."""

    text: str
    language: str = ""
    duration_ms: float = 0.0
    declared_ms: float | None = None
    model: str = ""

    def __post_init__(self) -> None:
        """Raises: NoSpeech for a text without a word: silence is an error that is told, never an empty turn."""
        if not self.text.strip():
            raise NoSpeech("I heard somebody speak, but understood no word.", hint="Say it again, a little slower or closer to the microphone.")


@dataclass(frozen=True, slots=True)
class SynthesizedAudio:
    """A text as it sounds."""

    text: str
    audio: AudioData
    voice: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody who can speak. `language`: as BCP 47 names it; `note`: what a listener should know, "" for nothing."""

    id: str
    language: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class VoiceRequest:
    """What somebody said. The id is the client's, and the id of the message that it becomes.

    audio_b64: "" where only the row is at hand.   uri: of the stored sound; "" before it is stored, and again after an hour.
    """

    id: str
    user_id: str
    audio_b64: str
    format: AudioFormat
    language: str
    premium: bool
    enable_rag: bool
    conversation_id: str = ""
    session_id: str = ""
    created_at: datetime | None = None
    uri: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class VoiceTiming:
    """Where the time of a turn went, in milliseconds since it came in or of a stage; None where a part didn't happen."""

    stt_ms: float | None = None
    rag_ms: float | None = None
    llm_first_token_ms: float | None = None
    llm_ms: float | None = None
    first_audio_ms: float | None = None
    """From the request to the first sample that is ready to be heard."""


@dataclass(frozen=True, slots=True)
class VoiceResponse:
    """What was said in return, exactly one per request. Its id is that of the answering message.

    response_text: what was spoken, as far as it came; the message has the whole.   audio_b64: "" where there is no sound; `error` then says why.
    latency_ms: from the request to the last sample.
    """

    id: str
    request_id: str
    transcription: str
    response_text: str
    audio_b64: str
    audio_format: AudioFormat
    latency_ms: float
    rag_docs_used: int
    created_at: datetime | None = None
    uri: str = ""
    error: str = ""
    interrupted: bool = False
    timing: VoiceTiming = field(default_factory=VoiceTiming)


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A request with what was heard, and the response once there is one."""

    request: VoiceRequest
    transcription: Transcription
    response: VoiceResponse | None = None


@dataclass(frozen=True, slots=True)
class SendVoice:
    """What a client sends: ids of its own making, so that sending again is safe.

    language, voice: "" for the user's own choice.   enable_rag: None for the user's own choice.   collections: names; () with enable_rag means all.
    streamed: the answer is spoken clause by clause while it is written, as raw samples; otherwise as one file of `audio_format` at the end.
    """

    request_id: str
    conversation_id: str
    audio: AudioData
    language: str = ""
    enable_rag: bool | None = None
    collections: tuple[str, ...] = ()
    voice: str = ""
    speed: float = 1.0
    model: str = "default"
    audio_format: AudioFormat = AudioFormat.WAV
    streamed: bool = False

    def __post_init__(self) -> None:
        """Raises: BadInput if an id isn't a UUID, or a choice is out of range."""
        for name, value in (("id", self.request_id), ("conversation_id", self.conversation_id)):
            if not is_id(value):
                raise BadInput(f"{name} must be a UUID in lower case, not {value[:60]!r}.", hint="Make a new UUIDv7 for each.")
        if not MIN_SPEED <= self.speed <= MAX_SPEED:
            raise BadInput(f"The speed must be between {MIN_SPEED:g} and {MAX_SPEED:g}, not {self.speed:g}.", hint="1 is the usual speed.")
        check_language(self.language)


def check_language(language: str) -> None:
    """Raises: BadInput for what can't be the name of a language."""
    if len(language) > MAX_LANGUAGE_CHARS or not all(c.isascii() and (c.isalnum() or c == "-") for c in language):
        raise BadInput(f"{language[:40]!r} is no language.", hint="Name it like en, de or pt-BR; leave it out and it is guessed.")


def bytes_of(audio_b64: str) -> bytes:
    """The sound of an API's body. Raises: BadInput for broken base64."""
    try:
        return base64.b64decode(audio_b64, validate=True)
    except binascii.Error as error:
        raise BadInput("audio_b64 is not base64.", hint="Encode the file's bytes with the standard alphabet, without line breaks.") from error
