"""Speaking and listening over HTTP: OpenAI's audio routes, and whole spoken turns."""

import base64
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from core.app import App
from core.errors import BadInput, HearthError, IllegalStep, NoSpeech
from core.ids import new_id
from core.users.model import User
from core.voice.model import SPEECH_RATE_HZ, AudioChunk, AudioFormat, SendVoice, bytes_of, check_language
from ui.api.auth import Hearth, KnownFirst, Who
from ui.api.shapes import PreferencesIn, PreferencesOut, SpeechIn, TranscriptionOut, VoiceIn, VoiceOut, VoicesOut
from ui.errors import problem, response

router = APIRouter(prefix="/v1", tags=["voice"], route_class=KnownFirst)
files = APIRouter(include_in_schema=False, route_class=KnownFirst)
SOUND_HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
RAW = f"audio/L16;rate={SPEECH_RATE_HZ};channels=1"


@router.post("/audio/transcriptions", summary="What is said in a recording", response_model=None)
async def transcribe(
    file: Annotated[UploadFile, File()],
    who: Who,
    app: Hearth,
    language: Annotated[str, Form()] = "",
    response_format: Annotated[Literal["json", "text", "verbose_json"], Form()] = "json",
) -> Response:
    """OpenAI's route, for WAV, WebM, MP3, Ogg, FLAC and MP4.

    `hearth.declared_ms` is what a file of the first three says of its own length: a recording that was cut off says more.
    """
    check_language(language)
    # No more of it is read than shows that it is too long.
    data = await file.read(app.settings.audio_max_mb * 1_000_000 + 1)
    heard = await app.voice.hear(who.user, await app.voice.recording(who.user, data), language)
    if response_format == "text":
        return PlainTextResponse(heard.text)
    return JSONResponse(TranscriptionOut.of(heard).model_dump(mode="json"))


@router.post("/audio/speech", summary="A text as it sounds", response_model=None)
async def speak(body: SpeechIn, who: Who, app: Hearth) -> Response:
    """OpenAI's route. `pcm` is sent while it is made, the others at the end; it is 16-bit little-endian at 24 kHz, one channel."""
    if not body.input.strip():
        raise BadInput("There is nothing to say.", hint="Put the text into `input`.")
    await app.voice.may_read_out(who.user)
    if body.response_format == "pcm":
        chunks = app.voice.speak(who.user, body.input, voice=body.voice, speed=body.speed)
        try:
            first = await anext(chunks)  # decides whether this is sound or an error with a status of its own
        except StopAsyncIteration:
            raise BadInput("There is no word in that text that can be said.") from None
        return StreamingResponse(_bytes(first, chunks), media_type=RAW, headers=SOUND_HEADERS)
    wanted = AudioFormat(body.response_format)
    made = await app.voice.say(who.user, body.input, voice=body.voice, speed=body.speed, audio_format=wanted)
    return Response(made.audio.data, media_type=wanted.media_type, headers=SOUND_HEADERS)


async def _bytes(first: AudioChunk, rest: AsyncIterator[AudioChunk]) -> AsyncIterator[bytes]:
    async with aclosing(rest) as chunks:  # type: ignore[type-var]
        yield first.data
        async for chunk in chunks:
            yield chunk.data


@router.get("/audio/voices", summary="Who can speak")
async def voices(who: Who, app: Hearth) -> VoicesOut:
    """The usual one first; `chosen` is yours."""
    return VoicesOut.of(await app.voice.voices(), who.user.preferences.voice_id)


@router.post("/voice", summary="A spoken turn", response_model=None)
async def turn(body: VoiceIn, who: Who, app: Hearth) -> Response:
    """Hears a recording, answers it in its conversation, and speaks the answer. With the same `id` the same response comes back.

    Where nothing is heard, the error is also spoken: `error.audio_b64`.
    """
    audio = await app.voice.recording(who.user, bytes_of(body.audio_b64), body.format)
    names = (body.collection,) if isinstance(body.collection, str) else tuple(body.collection or ())
    spoken = SendVoice(
        body.id or new_id(),
        body.conversation_id or new_id(),
        audio,
        language=body.language,
        enable_rag=body.enable_rag,
        collections=names,
        voice=body.voice,
        speed=body.speed,
        model=body.model,
        audio_format=AudioFormat.named(body.audio_format),
    )
    try:
        answered = await app.voice.answer(who, spoken)
    except NoSpeech as error:
        return await _told_aloud(app, who.user, error, spoken)
    return JSONResponse(VoiceOut.of(answered, spoken.conversation_id).model_dump(mode="json"))


async def _told_aloud(app: App, user: User, error: NoSpeech, spoken: SendVoice) -> Response:
    """The error with its sentence as sound; without a voice, as text alone."""
    body = problem(error)
    try:
        said = await app.voice.say(user, error.message, voice=spoken.voice, speed=spoken.speed, audio_format=spoken.audio_format)
    except HearthError:
        return response(error)
    body["error"] |= {"audio_b64": base64.b64encode(said.audio.data).decode(), "audio_format": said.audio.format.value}
    return JSONResponse(body, response(error).status_code)


@router.get("/voice/{request_id}", summary="A spoken turn again")
async def again(request_id: str, who: Who, app: Hearth) -> VoiceOut:
    """With its sound for an hour, without it for as long as messages are kept. An error while it isn't answered yet."""
    found = await app.voice.turn(who.user, request_id)
    if found.response is None:
        raise IllegalStep("That recording has no answer yet.", hint="Send it again with the same id: it is answered once.")
    return VoiceOut.of(await app.voice.with_sound(found.response), found.request.conversation_id)


@router.post("/voice/{request_id}/stop", status_code=204, summary="End a spoken turn")
async def stop(request_id: str, who: Who, app: Hearth) -> Response:
    """The model and the voice stop; what was spoken is kept. A turn that is over stays as it is."""
    if await app.voice.stop(who.user, request_id) is None:
        await app.voice.turn(who.user, request_id)
    return Response(status_code=204)


@router.get("/preferences", summary="What you chose once")
async def preferences(who: Who) -> PreferencesOut:
    """Voice, language, model and whether your documents are read."""
    return PreferencesOut.of(who.user.preferences)


@router.patch("/preferences", summary="Choose another voice or language")
async def choose(body: PreferencesIn, who: Who, app: Hearth) -> PreferencesOut:
    """What is left out stays."""
    changed = {name: value for name, value in body.model_dump().items() if value is not None}
    check_language(changed.get("speech_language", ""))
    if voice := changed.get("voice_id"):
        known = [v.id for v in await app.voice.voices()]
        if voice not in known:
            raise BadInput(f"There is no voice {voice[:40]!r}.", hint=f"There are {', '.join(known[:8])}; /v1/audio/voices lists them all.")
    return PreferencesOut.of((await app.users.save_preferences(who.user, replace(who.user.preferences, **changed))).preferences)


@files.get("/files/voice/{request_id}/{side}")
async def sound(request_id: str, side: Literal["request", "response"], who: Who, app: Hearth) -> Response:
    """What was said, or the answer as it sounded, for its owner and for an hour."""
    found = await app.voice.sound(who.user, request_id, side)
    return Response(found.data, media_type=found.format.media_type, headers=SOUND_HEADERS)
