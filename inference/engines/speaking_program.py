"""Speaking by a program of the system, run once per text: nothing of it is in this process, whatever its licence."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from core.errors import BadInput, ModelError, ModelMissing
from core.inference import Samples
from core.voice.containers import WAV_HEADER_BYTES
from core.voice.model import Voice

TIMEOUT_S = 60.0


class SpeakingProgram:
    """What flite and espeak-ng share: they are found, started, given time, and killed when nobody listens any more."""

    name = ""
    """Of the program."""
    package = ""
    """Of the system that has it."""
    voices: Sequence[Voice] = ()

    def __init__(self) -> None:
        """Raises: ModelMissing where the program isn't installed."""
        path = shutil.which(self.name)
        if path is None:
            raise ModelMissing(
                f"The program {self.name}, which speaks, is not on this machine.",
                model=self.name,
                hint=f"Install it (Debian: `apt install {self.package}`; macOS: `brew install {self.package}`), or name another HEARTH_TTS_MODEL.",
            )
        self.path = path

    def command(self, voice: str, speed: float, text: Path, sound: Path) -> list[str]:
        """What is started. text: a file with what to say.   sound: the WAV file to write."""
        raise NotImplementedError

    async def speak(self, text: str, voice: str, speed: float) -> AsyncIterator[tuple[Samples, int]]:
        """As the protocol says; one piece, because the program gives none earlier."""
        chosen = voice or self.voices[0].id
        if chosen not in {known.id for known in self.voices}:
            raise BadInput(
                f"There is no voice {chosen[:40]!r}.", hint=f"There are {', '.join(v.id for v in self.voices[:8])}; /v1/audio/voices lists them all."
            )
        with tempfile.TemporaryDirectory(prefix="hearth-speech-") as folder:
            written, sound = Path(folder) / "text", Path(folder) / "sound.wav"
            written.write_text(text, "utf-8", "replace")
            await self._run(self.command(chosen, speed, written, sound))
            data = sound.read_bytes() if sound.is_file() else b""
        if len(data) <= WAV_HEADER_BYTES:
            return
        rate_hz = int.from_bytes(data[24:28], "little")
        yield np.frombuffer(data[WAV_HEADER_BYTES : len(data) - len(data) % 2], "<i2").astype(np.int16), rate_hz

    async def _run(self, command: list[str]) -> None:
        pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdin=none, stdout=none, stderr=pipe)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, said = await process.communicate()
        except TimeoutError as error:
            raise ModelError(f"{self.name} did not come to an end.", model=self.name, hint="Try a shorter text.") from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            last = (said.decode("utf-8", "replace").strip().splitlines() or ["no reason given"])[-1][:200]
            raise ModelError(f"{self.name} could not speak: {last}", model=self.name, hint="Try another voice or text.")

    async def close(self) -> None:
        """Nothing is kept."""
