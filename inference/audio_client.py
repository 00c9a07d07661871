"""The client of servers that listen and speak, over the routes that OpenAI gave them: our own inference process, speaches, vLLM, LocalAI and their like."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import aiohttp
import msgspec

from core.errors import BadInput, HearthError, ModelError, NoSpeech, ServiceUnavailable
from core.inference import Caller, Model, Service
from core.ports import VoiceActivity
from core.voice.containers import wav
from core.voice.model import BYTES_PER_SAMPLE, SPEECH_RATE_HZ, AudioChunk, AudioData, AudioFormat, SynthesizedAudio, Transcription, Voice
from inference import audio as sound
from inference.client import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, IDLE_TIMEOUT_S, Body, Known, ModelServer, decoded, entry_of
from inference.voice_activity import demand_speech

CHUNK_MS = 200
"""How long a piece of spoken sound is at most: what is cancelled costs no more than one."""
CHUNK_BYTES = SPEECH_RATE_HZ * BYTES_PER_SAMPLE * CHUNK_MS // 1000
VOICES_OF_OPENAI = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")
"""What a server that can't list its voices most likely calls them."""


class _Measured(msgspec.Struct):
    declared_ms: float | None = None
    duration_ms: float | None = None
    model: str = ""


class _Text(msgspec.Struct):
    text: str
    language: str | None = None
    duration: float | None = None
    hearth: _Measured | None = None


class _Voice(msgspec.Struct):
    id: str
    language: str = ""
    note: str = ""


class _Voices(msgspec.Struct):
    voices: list[_Voice | str]


class _AudioModel:
    """What listening and speaking have in common."""

    def __init__(self, server: ModelServer) -> None:
        self._server, self._known = server, Known()

    async def info(self) -> Model:
        """As the port says."""
        if (known := self._known.get()) is not None:
            return known
        if self._server.local:
            await entry_of(self._server)
        return self._known.put(Model(self._server.model, self._server.service, local=self._server.local))

    async def check(self) -> Model:
        """As the port says."""
        await self._server.ping()
        return await self.info()


class RemoteTranscriber(_AudioModel):
    """The Transcriber port over a server. A foreign one is asked only where somebody speaks: many make words of silence."""

    def __init__(self, server: ModelServer, activity: Callable[[], Awaitable[VoiceActivity]], *, max_s: float) -> None:
        """activity: makes a detector of speech for one recording.   max_s: of a recording."""
        super().__init__(server)
        self._activity, self._max_s = activity, max_s

    async def transcribe(self, audio: AudioData, *, caller: Caller, language: str = "", goes_on: bool = False) -> Transcription:
        """As the port says."""
        server = self._server
        if not server.local and not goes_on:
            await self._demand_speech(audio.data)
        # Foreign servers know two letters; ours takes what it is given.
        fields = {"model": server.model, "response_format": "json"} | ({"language": language.partition("-")[0]} if language else {})
        if goes_on and server.local:  # a field of ours
            fields |= {"goes_on": "true"}
        form = Body.form(fields, "file", f"speech.{audio.format}", audio.format.media_type, audio.data)
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        async with server.post("audio/transcriptions", form, caller, timeout) as response:
            answer = decoded(await response.read(), _Text, server)
        measured = answer.hearth or _Measured()
        duration_ms = measured.duration_ms if measured.duration_ms is not None else (answer.duration or 0.0) * 1000
        return Transcription(answer.text.strip(), answer.language or language, duration_ms, measured.declared_ms, measured.model or server.model)

    async def _demand_speech(self, data: bytes) -> None:
        """What our own server does by itself, as far as the software for it is here. Raises: NoSpeech, Unreadable, TooLong."""
        if find_spec("av") is None:
            return
        try:
            stream = await self._activity()
        except ModelError:  # whoever listens judges alone
            return
        await asyncio.to_thread(demand_speech, stream, (await sound.decode(data, max_s=self._max_s)).samples)

    async def prepare(self, *, caller: Caller) -> None:
        """As the port says; a foreign server is left alone."""
        if self._server.local:
            with suppress(NoSpeech):
                await self.transcribe(AudioData(wav(bytes(2 * 1_600), 16_000), AudioFormat.WAV), caller=caller, goes_on=True)  # a tenth of a second of nothing


class RemoteCodec:
    """The AudioCodec port over our own inference process, which opens sound beside the models (docs/adr/0020)."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    async def to_wav(self, data: bytes, *, caller: Caller) -> AudioData:
        """As the port says."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        async with self._server.post("audio/convert?format=wav", Body(data, "application/octet-stream"), caller, timeout) as response:
            return AudioData(await response.read(), AudioFormat.WAV)


class RemoteSynthesizer(_AudioModel):
    """The Synthesizer port over a server."""

    def __init__(self, server: ModelServer) -> None:
        super().__init__(server)
        self._usual = ""

    async def check(self) -> Model:
        """As the port says; ours is asked for its voices, which it has only when it can speak."""
        if self._server.local:
            await self.voices()
        return await super().check()

    async def voices(self) -> Sequence[Voice]:
        """As the port says; where a foreign server can't list them, the names that OpenAI's clients use."""
        if not self._server.local:
            try:
                listed = msgspec.convert(await self._server.get("audio/voices"), _Voices).voices
            except (HearthError, msgspec.ValidationError):
                listed = list(VOICES_OF_OPENAI)
        else:
            listed = msgspec.convert(await self._server.get("audio/voices"), _Voices).voices
        return [Voice(v, "") if isinstance(v, str) else Voice(v.id, v.language, v.note) for v in listed]

    async def speak(self, text: str, *, caller: Caller, voice: str = "", speed: float = 1.0) -> AsyncIterator[AudioChunk]:
        """As the port says."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=IDLE_TIMEOUT_S)
        waiting, sequence = b"", 0
        async with self._server.post("audio/speech", await self._body(text, voice, speed, "pcm"), caller, timeout) as response:
            async for received in response.content.iter_any():
                waiting += received
                while len(waiting) >= BYTES_PER_SAMPLE:
                    piece = waiting[: min(CHUNK_BYTES, len(waiting) - len(waiting) % BYTES_PER_SAMPLE)]
                    waiting = waiting[len(piece) :]
                    yield AudioChunk(sequence, piece)
                    sequence += 1
        if not sequence:
            raise self._silent()

    async def synthesize(self, text: str, *, caller: Caller, voice: str = "", speed: float = 1.0, audio_format: AudioFormat | None = None) -> SynthesizedAudio:
        """As the port says; a WAV is asked for as raw samples, because a streamed one doesn't know its length, the others of our own server as whole files."""
        wanted = audio_format or AudioFormat.WAV
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        if wanted is AudioFormat.WEBM and not self._server.local:
            raise BadInput("The server that speaks can't pack its sound as WebM.", hint="Ask for wav or mp3.")
        named = "pcm" if wanted is AudioFormat.WAV else wanted.value
        whole = {"stream": False} if self._server.local and wanted is not AudioFormat.WAV else {}
        async with self._server.post("audio/speech", await self._body(text, voice, speed, named) | whole, caller, timeout) as response:
            data = await response.read()
        if not data:
            raise self._silent()
        if wanted is AudioFormat.WAV:
            duration_ms = len(data) / BYTES_PER_SAMPLE / SPEECH_RATE_HZ * 1000
            return SynthesizedAudio(text, AudioData(wav(data, SPEECH_RATE_HZ), wanted, duration_ms, SPEECH_RATE_HZ), voice, self._server.model)
        return SynthesizedAudio(text, AudioData(data, wanted), voice, self._server.model)

    async def _body(self, text: str, voice: str, speed: float, response_format: str) -> dict[str, Any]:
        if not voice and not self._server.local:  # the protocol wants one
            voice = self._usual = self._usual or (await self.voices())[0].id
        return {"model": self._server.model, "input": text, "voice": voice, "speed": speed, "response_format": response_format}

    def _silent(self) -> ServiceUnavailable:
        return ServiceUnavailable("The voice said nothing.", service=Service.TTS, hint="Check the model that speaks; `hearth doctor` tries it.")
