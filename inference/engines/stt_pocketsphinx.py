"""Listening with PocketSphinx: offline, English, of basic accuracy; its models are in its package.

It runs in processes of its own (`python -m inference.engines.stt_pocketsphinx`): it holds Python's lock for seconds while it decodes, and every other answer
of this process would stand still meanwhile. Each recording begins with the same mean for its normalisation (cepstral mean normalisation, CMN): one taken from
the recording alone is wrong for short ones, and one carried over makes what is heard depend on who spoke before. A high voice comes out of a short vocal tract,
whose resonances are higher than the model's speakers had them: its frequencies are brought down before they are compared, a deep voice's up (vocal tract length
normalisation, VTLN).

An utterance that goes on is sent again with what was said since. A process that has the beginning of it decodes only the rest, so that the final text, too,
costs no more than the last words. The decoder's second pass over the whole (its flat lexicon) is left out then: it takes 91 ms of CPU after a sentence, which
somebody in a call would wait for, and heals 7 of 430 words. A recording that comes whole has both passes. A final text closes its utterance for good, so a
copy of the process gives it: where speech goes on after all, nothing is decoded twice.
"""

import asyncio
import json
import os
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from core.errors import BadInput, ModelError
from core.inference import Samples
from inference.engine import EngineSettings, Heard
from inference.pitch import pitch_hz

NOTHING = np.zeros(0, np.int16)
SLOWEST = 5.0
"""It takes about a quarter of the sound's own time; past so many times of it, something is wrong."""
START_S = 20.0
HEAD = struct.Struct("<If??")
"""How many bytes follow, by what their frequencies are divided, whether they begin an utterance, and whether it goes on after them."""
CMN = "57.4098,6.16976,14.836,13.6535,0.989787,2.06604,1.57192,-1.85535,1.9643,5.4774,0.365292,8.77336,7.83673"
"""What the decoder had settled on after 40 sentences of two flite voices. Of 20 others it then heard 8 of 348 words wrong, with both passes; each by its own
mean, 24."""
MOST_STATES = 3_000
"""So many are followed at once; more take a quarter longer, and as many of 430 words are wrong."""
LOUD_PERCENTILE, LOUD, MOST_GAIN = 99.5, 14_000, 32.0
MIDDLE_HZ, WARP_POWER, WARP_STEP, LEAST_WARP, MOST_WARP = 130.0, 0.9, 0.05, 0.75, 1.3
"""The pitch of a voice that is taken as it is, and how others follow from theirs, in steps: a little more of a voice is not another voice. On 60 sentences and
20 recordings of four people, words wrong without and with: flite's slt (171 Hz) 15.8 and 9.3 %, rms (102 Hz) 6.2 and 4.8 %, the people (100 to 205 Hz) 39 and
31 %; of two further voices of flite one was heard worse by two words in a hundred."""
PIECE_BYTES = 1024
"""What is decoded at once: 32 ms. The mean follows the recording from piece to piece."""
MOST_DRIFT = 2.0
"""The loudness of an utterance is judged by its beginning. Where that was wrong by more than this factor, all of it is decoded again."""
MOST_WARP_DRIFT = 1.15
"""The same of its pitch."""
COPIES = hasattr(os, "fork")
"""Elsewhere, what is said after a final text has all of its utterance decoded again."""
LEFT_ALONE_S = 4.0
"""Of sound: so little is decoded to its end though nobody wants it any more, because the process then has it when the rest comes."""


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a voice is made like the ones that the models know."""

    gain: float
    """How much louder it is made."""
    warp: float
    """By what its frequencies are divided."""

    def suits(self, other: "_Manner") -> bool:
        """Whether what was begun like this may go on, where all of the utterance asks for the other."""
        return 1 / MOST_DRIFT < self.gain / other.gain < MOST_DRIFT and 1 / MOST_WARP_DRIFT < self.warp / other.warp < MOST_WARP_DRIFT


@dataclass(eq=False, slots=True)
class _Worker:
    """A process, and the utterance that is open in it."""

    process: asyncio.subprocess.Process
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    given: Samples = field(default_factory=lambda: NOTHING)
    """What the open utterance has been given, or will have been when the process is free; empty where none is open."""
    manner: _Manner = field(default_factory=lambda: _Manner(1.0, 1.0))
    asked: int = 0
    """How many recordings it is at, or wait for it."""

    def has_beginning_of(self, samples: Samples) -> bool:
        """Whether the open utterance is what these samples begin with."""
        return 0 < len(self.given) <= len(samples) and np.array_equal(self.given, samples[: len(self.given)])


class PocketSphinxTranscriber:
    """As many processes as recordings are listened to at once; each is kept for the next."""

    def __init__(self, settings: EngineSettings) -> None:
        """Starts nothing yet. Raises: ImportError without the package."""
        if find_spec("pocketsphinx") is None:
            raise ImportError("pocketsphinx is not installed", name="pocketsphinx")
        self._workers: list[_Worker] = []

    async def transcribe(self, samples: Samples, language: str, *, goes_on: bool = False) -> Heard:
        """As the protocol says."""
        if language and language.partition("-")[0].lower() != "en":
            raise BadInput(
                f"PocketSphinx understands English only, not {language}.", hint="Choose another model with HEARTH_STT_MODEL, or a server with HEARTH_STT_URL."
            )
        manner = await asyncio.to_thread(_manner_of, samples)
        try:
            return Heard(await self._heard(samples, manner, goes_on=goes_on), "en")
        except TimeoutError as error:
            raise ModelError("PocketSphinx did not come to an end.", model="pocketsphinx", hint="Try a shorter recording.") from error
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise ModelError("PocketSphinx broke off.", model="pocketsphinx", hint="Try again; the log of the inference process says more.") from error

    async def _heard(self, samples: Samples, manner: _Manner, *, goes_on: bool) -> str:
        worker = self._for(samples) or await self._start()
        worker.asked += 1
        try:
            async with worker.lock:
                if worker in self._workers:
                    return await self._decoded(worker, samples, manner, goes_on=goes_on)
        finally:
            worker.asked -= 1
        return await self._heard(samples, manner, goes_on=goes_on)  # its process was ended meanwhile

    def _for(self, samples: Samples) -> _Worker | None:
        """The process that has the beginning of it, though it may still be at it; else one that is free."""
        free = [w for w in self._workers if not w.asked]
        return next((w for w in self._workers if w.has_beginning_of(samples)), None) or min(free, key=lambda w: len(w.given), default=None)

    async def _start(self) -> _Worker:
        command = (sys.executable, "-m", "inference.engines.stt_pocketsphinx")
        worker = _Worker(await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE))
        self._workers.append(worker)
        return worker

    async def _decoded(self, worker: _Worker, samples: Samples, manner: _Manner, *, goes_on: bool) -> str:
        """The text. A process that doesn't come to its end is ended: what it would say next belongs to this."""
        fresh = not worker.has_beginning_of(samples) or not worker.manner.suits(manner)
        rest = samples if fresh else samples[len(worker.given) :]
        worker.manner = manner if fresh else worker.manner
        worker.given = samples if goes_on or (COPIES and not fresh) else NOTHING
        data = louder(rest, worker.manner.gain).tobytes()
        answer = asyncio.create_task(_answer(worker.process, HEAD.pack(len(data), worker.manner.warp, fresh, goes_on) + data))
        try:
            async with asyncio.timeout(START_S + SLOWEST * len(rest) / 16_000):
                return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if len(rest) <= LEFT_ALONE_S * 16_000:
                await asyncio.wait([answer])
            raise
        finally:
            if not answer.done() or answer.exception() is not None:
                answer.cancel()
                await self._end(worker)

    async def _end(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)
        with suppress(ProcessLookupError):
            worker.process.kill()
        await worker.process.wait()
        if worker.process.stdin is not None:
            worker.process.stdin.close()

    async def close(self) -> None:
        """As the protocol says."""
        for worker in list(self._workers):
            await self._end(worker)


async def _answer(process: asyncio.subprocess.Process, piece: bytes) -> str:
    """What a process says to a piece of sound. Raises: OSError, IncompleteReadError, ValueError where it broke off."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(piece)
    await process.stdin.drain()
    return str(json.loads(await process.stdout.readuntil(b"\n")))


def _manner_of(samples: Samples) -> _Manner:
    return _Manner(gain_of(samples), warp_of(pitch_hz(samples)))


def warp_of(hz: float) -> float:
    """By what the frequencies of a voice of this pitch are divided; 1.0 where its pitch is not known (0).

    Source: Faria and Gelbart, "Efficient pitch-based estimation of VTLN warp factors", 2005.
    """
    steps = round((hz / MIDDLE_HZ) ** WARP_POWER / WARP_STEP)
    return min(MOST_WARP, max(LEAST_WARP, steps * WARP_STEP)) if hz else 1.0


def gain_of(samples: Samples) -> float:
    """What makes it as loud as the speech that CMN was taken from: its first number is loudness. Of one a tenth as loud 27 words in 100 were wrong, not 3.

    The very loudest samples don't count, so that a click does not keep the rest quiet; they are clipped.
    """
    loud = float(np.percentile(np.abs(samples.astype(np.int32)), LOUD_PERCENTILE)) if len(samples) else 0.0
    return min(MOST_GAIN, LOUD / loud) if loud else 1.0


def louder(samples: Samples, gain: float) -> Samples:
    """The same sound, clipped where it would be too loud."""
    return np.asarray(np.clip(samples * gain, -32768, 32767), "<i2")


def main() -> None:
    """Sound on standard input, each piece with its HEAD in front; a line of JSON for each on standard output. Ends with its input."""
    from pocketsphinx import Decoder

    decoders: dict[bool, Any] = {}
    """By whether it makes the second pass; each is there from its first use on, about 90 MB."""
    decoder: Any = None
    open_utterance = False
    while len(head := sys.stdin.buffer.read(HEAD.size)) == HEAD.size:
        length, warp, fresh, goes_on = HEAD.unpack(head)
        samples = sys.stdin.buffer.read(length)
        if fresh:
            if open_utterance:
                decoder.end_utt()
            if (whole := not goes_on) not in decoders:
                # The library warps for all decoders at once. One made without a warp would switch off the next one, where that is the same as the last.
                decoders[whole] = Decoder(samprate=16_000, loglevel="FATAL", maxhmmpf=MOST_STATES, fwdflat=whole, **_warped(1.0))
            decoder = decoders[whole]
            _begin(decoder, warp)
        for start in range(0, len(samples), PIECE_BYTES):
            decoder.process_raw(samples[start : start + PIECE_BYTES], no_search=False, full_utt=False)
        open_utterance = goes_on or (COPIES and not fresh)
        if goes_on:
            _say(decoder)
        elif not open_utterance:
            decoder.end_utt()
            _say(decoder)
        elif copy := os.fork():
            if os.waitpid(copy, 0)[1]:
                sys.exit("the copy that gave the final text broke off")
        else:
            decoder.end_utt()
            _say(decoder)
            os._exit(0)


def _begin(decoder: Any, warp: float) -> None:
    """An utterance. Nothing of the recording before stays: its noise and its mean would change what is heard."""
    for name, value in _warped(warp).items():
        decoder.config[name] = value
    decoder.reinit_feat()
    decoder.set_cmn(CMN)
    decoder.start_utt()


def _warped(warp: float) -> dict[str, str]:
    return {"warp_type": "inverse_linear", "warp_params": f"{warp:.2f}"}


def _say(decoder: Any) -> None:
    found = decoder.hyp()
    sys.stdout.write(json.dumps(found.hypstr if found else "") + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
