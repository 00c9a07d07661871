"""Listening with PocketSphinx: offline, English, of basic accuracy; its models are in its package.

It runs in processes of its own (`python -m inference.engines.stt_pocketsphinx`): it holds Python's lock for seconds while it decodes, and every other answer
of this process would stand still meanwhile. Each recording begins with the same mean for its normalisation (cepstral mean normalisation, CMN): one taken from
the recording alone is wrong for short ones, and one carried over makes what is heard depend on who spoke before.
"""

import asyncio
import json
import struct
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np

from core.errors import BadInput, ModelError
from core.inference import Samples
from inference.engine import EngineSettings, Heard

SLOWEST = 5.0
"""It takes about a quarter of the sound's own time; past so many times of it, something is wrong."""
START_S = 20.0
LENGTH = struct.Struct("<I")
CMN = "57.4098,6.16976,14.836,13.6535,0.989787,2.06604,1.57192,-1.85535,1.9643,5.4774,0.365292,8.77336,7.83673"
"""What the decoder had settled on after 40 sentences of two flite voices. Of 20 others it then heard 8 of 348 words wrong; each by its own mean, 24."""
LOUD_PERCENTILE, LOUD, MOST_GAIN = 99.5, 14_000, 32.0
PIECE_BYTES = 1024
"""What is decoded at once: 32 ms. The mean follows the recording from piece to piece."""


class PocketSphinxTranscriber:
    """As many processes as recordings are listened to at once; each is kept for the next."""

    def __init__(self, settings: EngineSettings) -> None:
        """Starts nothing yet. Raises: ImportError without the package."""
        if find_spec("pocketsphinx") is None:
            raise ImportError("pocketsphinx is not installed", name="pocketsphinx")
        self._idle: list[asyncio.subprocess.Process] = []
        self._busy: set[asyncio.subprocess.Process] = set()

    async def transcribe(self, samples: Samples, language: str) -> Heard:
        """As the protocol says."""
        if language and language.partition("-")[0].lower() != "en":
            raise BadInput(
                f"PocketSphinx understands English only, not {language}.", hint="Choose another model with HEARTH_STT_MODEL, or a server with HEARTH_STT_URL."
            )
        worker = self._idle.pop() if self._idle else await self._start()
        self._busy.add(worker)
        done = False
        try:
            async with asyncio.timeout(START_S + SLOWEST * len(samples) / 16_000):
                heard = await self._ask(worker, samples)
            done = True
        except TimeoutError as error:
            raise ModelError("PocketSphinx did not come to an end.", model="pocketsphinx", hint="Try a shorter recording.") from error
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise ModelError("PocketSphinx broke off.", model="pocketsphinx", hint="Try again; the log of the inference process says more.") from error
        finally:
            self._busy.discard(worker)
            if done:
                self._idle.append(worker)
            else:
                await _end(worker)  # also when nobody wants the answer any more: it frees its processor at once
        return Heard(heard, "en")

    async def _start(self) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", "inference.engines.stt_pocketsphinx")
        return await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)

    async def _ask(self, worker: asyncio.subprocess.Process, samples: Samples) -> str:
        assert worker.stdin is not None
        assert worker.stdout is not None
        data = samples.astype("<i2").tobytes()
        worker.stdin.write(LENGTH.pack(len(data)) + data)
        await worker.stdin.drain()
        return str(json.loads(await worker.stdout.readuntil(b"\n")))

    async def close(self) -> None:
        """As the protocol says."""
        for worker in (*self._idle, *self._busy):
            await _end(worker)
        self._idle.clear()


async def _end(worker: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        worker.kill()
    await worker.wait()
    if worker.stdin is not None:
        worker.stdin.close()


def at_usual_level(samples: Samples) -> Samples:
    """As loud as the speech that CMN was taken from: its first number is loudness. Of one a tenth as loud 27 words in a hundred were wrong, instead of 3.

    The very loudest samples don't count, so that a click does not keep the rest quiet; they are clipped.
    """
    loud = float(np.percentile(np.abs(samples.astype(np.int32)), LOUD_PERCENTILE)) if len(samples) else 0.0
    gain = min(MOST_GAIN, LOUD / loud) if loud else 1.0
    return np.asarray(np.clip(samples * gain, -32768, 32767), np.int16)


def main() -> None:
    """Recordings on standard input, each with its length in front; a line of JSON for each on standard output. Ends with its input."""
    from pocketsphinx import Decoder

    decoder: Any = Decoder(samprate=16_000, loglevel="FATAL")
    while len(head := sys.stdin.buffer.read(LENGTH.size)) == LENGTH.size:
        samples = at_usual_level(np.frombuffer(sys.stdin.buffer.read(LENGTH.unpack(head)[0]), "<i2")).tobytes()
        decoder.reinit_feat()  # nothing of the recording before stays: its noise and its mean would change what is heard
        decoder.set_cmn(CMN)
        decoder.start_utt()
        for start in range(0, len(samples), PIECE_BYTES):
            decoder.process_raw(samples[start : start + PIECE_BYTES], no_search=False, full_utt=False)
        decoder.end_utt()
        found = decoder.hyp()
        sys.stdout.write(json.dumps(found.hypstr if found else "") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
