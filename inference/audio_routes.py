"""The routes of sound: OpenAI's transcriptions and speech, the voices there are, and one form of a recording made from another."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
import numpy as np
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from core.errors import BadInput, HearthError, NoSpeech, TooLong
from core.inference import Samples, Service
from core.traces import ending, in_order
from core.voice.model import MAX_SPEED, MAX_SPOKEN_CHARS, MIN_SPEED, SPEECH_RATE_HZ, check_language
from inference import audio
from inference.engine import Heard
from inference.house import ModelHouse
from inference.lanes import Ticket
from inference.residency import Resident
from inference.voice_activity import demand_speech
from inference.wire import Handler, capped, read_body, read_bytes, ticket, while_wanted

MAX_FORM_BYTES = 64 << 10
"""What a form adds to the recording it carries."""
MAX_FIELDS = 20
MEDIA_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "webm": "audio/webm", "pcm": f"audio/L16;rate={SPEECH_RATE_HZ};channels=1"}
TRANSCRIPTS = ("json", "verbose_json", "text")
_encode = msgspec.json.Encoder().encode


class SpeechBody(msgspec.Struct):
    """OpenAI's speech request. stream: false gives a file whose header knows its length, once all of it is spoken; the field is ours."""

    input: str
    model: str = "default"
    voice: str | dict[str, Any] = ""
    response_format: str = "mp3"
    speed: float = 1.0
    stream: bool = True

    @property
    def voice_id(self) -> str:
        """OpenAI's protocol has it as a name or as `{"id": …}`."""
        return self.voice if isinstance(self.voice, str) else str(self.voice.get("id", ""))


async def transcribe(house: ModelHouse, request: Request) -> Response:
    """`/v1/audio/transcriptions`."""
    data, said = await _recording(request, house.settings.audio_max_mb * 1_000_000)
    resident = house.resident(Service.STT, said.get("model", ""))
    check_language(said.get("language", ""))
    if said.get("response_format", "json") not in TRANSCRIPTS:
        raise BadInput(f"A transcript in the form {said['response_format'][:20]!r} is not given.", hint=f"Ask for {', '.join(TRANSCRIPTS)}.")
    return await while_wanted(request, _heard(house, resident, data, said, ticket(request)))


async def _recording(request: Request, most_bytes: int) -> tuple[bytes, dict[str, str]]:
    """(the bytes of `file`, the other fields) of a form. Raises: BadInput, TooLong."""
    pieces = capped(request, most_bytes + MAX_FORM_BYTES, "A recording", "Send a shorter one, or pack it as WebM.")
    try:
        form = await MultiPartParser(request.headers, pieces, max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FORM_BYTES).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput("The form can't be understood.", hint="Send multipart/form-data with the recording as `file`.") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise BadInput("There is no file.", hint="Send the recording as `file`.")
        data = await file.read()
    finally:
        await form.close()
    return data, {name: value for name, value in form.items() if isinstance(value, str)}


async def _heard(house: ModelHouse, resident: Resident, data: bytes, said: Mapping[str, str], who: Ticket) -> Response:
    """What is said in a recording; nothing is asked of a model before there is speech in it."""
    with ending(house.asked(resident)) as work:
        async with house.lanes[Service.STT].place(who) as queue_ms:
            begun = time.perf_counter()
            decoded = await audio.decode(data, max_s=house.settings.audio_max_s)
            decoded_ms = _since_ms(begun)
            goes_on = said.get("goes_on") == "true"
            async with house.voice_activity.used() as detector:
                if not goes_on:
                    await asyncio.to_thread(demand_speech, detector.listen(), decoded.samples)
            checked_ms = _since_ms(begun)
            async with resident.used() as engine:
                heard: Heard = await engine.transcribe(decoded.samples, said.get("language", ""), goes_on=goes_on)
        total_ms = _since_ms(begun)
        work.stages(in_order([("queue", queue_ms), ("decode", decoded_ms), ("vad", checked_ms - decoded_ms), ("model", total_ms - checked_ms)]))
    text = heard.text.strip()
    if not text:
        raise NoSpeech("I heard somebody speak, but understood no word.", hint="Say it again, a little slower or closer to the microphone.")
    if said.get("response_format") == "text":
        return Response(text, media_type="text/plain; charset=utf-8")
    times = {"queue_ms": round(queue_ms, 1), "decode_ms": decoded_ms, "vad_ms": round(checked_ms - decoded_ms, 1), "total_ms": total_ms}
    ours = {"declared_ms": decoded.declared_ms, "duration_ms": round(decoded.duration_ms, 1), "model": resident.entry.name, **times}
    whole: dict[str, Any] = {"text": text, "language": heard.language, "duration": round(decoded.duration_ms / 1000, 3)}
    if said.get("response_format") == "verbose_json":
        whole |= {"task": "transcribe", "segments": [{"id": 0, "start": 0.0, "end": whole["duration"], "text": text}]}
    return _json(whole | {"hearth": ours})


def _since_ms(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 1)


def _json(body: object) -> Response:
    return Response(_encode(body), media_type="application/json")


async def speak(house: ModelHouse, request: Request) -> Response:
    """`/v1/audio/speech`: the sound while it is made, or with `stream` false when it is whole. `pcm` has SPEECH_RATE_HZ, as OpenAI's."""
    body = await read_body(request, SpeechBody)
    resident = house.resident(Service.TTS, body.model)
    _check_speech(body)
    sound = _spoken(house, resident, body, ticket(request))
    if not body.stream:
        return await while_wanted(request, _whole(sound, body.response_format))
    try:
        first = await while_wanted(request, _first(sound))
    except BaseException:
        await sound.aclose()
        raise
    packed = _packed(first, sound, body.response_format)
    return StreamingResponse(packed, media_type=MEDIA_TYPES[body.response_format], headers={"Cache-Control": "no-store"})


def _check_speech(body: SpeechBody) -> None:
    """Raises: BadInput, TooLong."""
    if not body.input.strip():
        raise BadInput("There is nothing to say.", hint="Put the text into `input`.")
    if len(body.input) > MAX_SPOKEN_CHARS:
        raise TooLong(f"At most {MAX_SPOKEN_CHARS} characters are spoken at once, not {len(body.input)}.", hint="Send the text in parts.")
    if not MIN_SPEED <= body.speed <= MAX_SPEED:
        raise BadInput(f"The speed must be between {MIN_SPEED:g} and {MAX_SPEED:g}, not {body.speed:g}.", hint="1 is the usual speed.")
    _check_form(body.response_format)


def _check_form(form: str) -> None:
    if form not in MEDIA_TYPES:
        raise BadInput(f"Sound can't be made as {form[:20]!r}.", hint=f"Ask for {', '.join(MEDIA_TYPES)}.")


async def _spoken(house: ModelHouse, resident: Resident, body: SpeechBody, who: Ticket) -> AsyncGenerator[Samples, None]:
    """The sound at SPEECH_RATE_HZ. The voice doesn't wait for who listens, so that a slow connection holds no place; a text is short, its sound bounded."""
    made: asyncio.Queue[Samples | None] = asyncio.Queue()
    text = body.input.replace("\0", " ")  # a program would take it for the end

    async def work() -> None:
        try:
            async with house.served(resident, who) as engine, aclosing(engine.speak(text, body.voice_id, body.speed)) as pieces:
                async for samples, rate_hz in pieces:
                    made.put_nowait(await asyncio.to_thread(_at_our_rate, samples, rate_hz))
        finally:
            made.put_nowait(None)

    working = asyncio.create_task(work(), name="speaking")
    try:
        while (piece := await made.get()) is not None:
            if len(piece):
                yield piece
        await working  # raises what ended it
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _at_our_rate(samples: Samples, rate_hz: int) -> Samples:
    return audio.resampled(audio.trimmed(samples, rate_hz), rate_hz, SPEECH_RATE_HZ)


async def _first(sound: AsyncGenerator[Samples, None]) -> Samples:
    """The first piece decides whether this is sound or an error with a status of its own."""
    async for piece in sound:
        return piece
    raise _silent()


def _silent() -> HearthError:
    return BadInput("The voice said nothing.", hint="There may be no word in the text that it can say.")


async def _packed(first: Samples, rest: AsyncGenerator[Samples, None], form: str) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        encoder = await asyncio.to_thread(audio.Encoder, form)
        if data := await asyncio.to_thread(encoder.feed, first):
            yield data
        async for piece in rest:
            if data := await asyncio.to_thread(encoder.feed, piece):
                yield data
        if data := await asyncio.to_thread(encoder.close):
            yield data


async def _whole(sound: AsyncGenerator[Samples, None], form: str) -> Response:
    async with aclosing(sound):
        pieces = [piece async for piece in sound]
    if not pieces:
        raise _silent()
    samples = np.concatenate(pieces)
    return _file(await asyncio.to_thread(audio.encode, samples, form), form, len(samples) / SPEECH_RATE_HZ * 1000)


def _file(data: bytes, form: str, duration_ms: float) -> Response:
    return Response(data, media_type=MEDIA_TYPES[form], headers={"Cache-Control": "no-store", "x-hearth-duration-ms": f"{duration_ms:.1f}"})


async def voices(house: ModelHouse, request: Request) -> Response:
    """`/v1/audio/voices`, the usual one first."""
    resident = house.resident(Service.TTS, request.query_params.get("model", ""))
    async with resident.used() as engine:
        return _json({"model": resident.entry.name, "voices": list(engine.voices)})


async def convert(house: ModelHouse, request: Request) -> Response:
    """`/v1/audio/convert?format=…`: the recording in the body as a file of another form, with one channel, as far as a model would listen to it."""
    form = request.query_params.get("format", "wav")
    _check_form(form)
    data = await read_bytes(request, house.settings.audio_max_mb * 1_000_000)

    async def converted() -> Response:
        async with house.lanes[Service.STT].place(ticket(request)):
            decoded = await audio.decode(data, max_s=house.settings.audio_max_s)
            return _file(await asyncio.to_thread(audio.encode, decoded.samples, form, audio.HEARD_RATE_HZ), form, decoded.duration_ms)

    return await while_wanted(request, converted())


POSTS: dict[str, Handler] = {"/v1/audio/transcriptions": transcribe, "/v1/audio/speech": speak, "/v1/audio/convert": convert}
GETS: dict[str, Handler] = {"/v1/audio/voices": voices}
