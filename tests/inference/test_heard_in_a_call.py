"""What PocketSphinx understands of real speech in a call, where it makes one pass and is asked again and again."""

import asyncio
import importlib.util

import numpy as np
import pytest
from echo_house import Served, echo_settings
from speech import SENTENCES, word_errors, words

from core.app import LocalInference, open_app
from core.voice.call import FRAME_MS, RULES
from core.voice.calls import Wishes
from core.voice.talk import FRAME_SAMPLES, Talk
from inference.server import application

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(importlib.util.find_spec("pocketsphinx") is None, reason="pocketsphinx is not installed")]
VOICES, SAID = ("rms", "slt"), SENTENCES[:6]


class Page:
    """The other end of the line: it plays nothing, and keeps what was heard of each turn."""

    def __init__(self):
        self.texts, self.answered, self.talk = [], 0, None

    def tell(self, kind, turn, **data):
        if kind == "input_audio_transcription.completed":
            self.texts.append(data["text"])
        if kind == "response.audio.done":
            self.talk.played(turn, float("inf"), over=True)
        if kind == "response.done":
            self.answered += 1

    def play(self, turn, sequence, pcm):
        if not sequence:
            asyncio.get_running_loop().call_soon(self.talk.started, turn, 0.0)


def loudness(samples):
    return 0.9 if np.abs(samples.astype(int)).max() > 600 else 0.02


async def say(talk, samples):
    """Speaks as a microphone hears it, but twice as fast; then silence until the turn has ended."""
    loop, frame_bytes = asyncio.get_running_loop(), FRAME_SAMPLES * 2
    silence = bytes(RULES.endpoint_ms // FRAME_MS * frame_bytes)
    data, at = samples.tobytes() + silence, loop.time()
    for start in range(0, len(data), frame_bytes):
        at += FRAME_MS / 1000 / 2
        await asyncio.sleep(at - loop.time())
        talk.hear(data[start : start + frame_bytes])


@pytest.mark.parametrize("leg", ["pocketsphinx"], ids=lambda leg: f"leg={leg}")
async def test_in_a_call_at_most_one_word_in_eight_is_wrong(tmp_path, flite, leg):
    """Measured: 10 of 88, with both passes 3. Of whole recordings in one pass, 30 sentences with these among them, 26 of 430."""
    settings = echo_settings(tmp_path, stt_model="pocketsphinx")
    served, page, sounds = Served(application(settings, "")), Page(), [flite(text, voice) for voice in VOICES for text in SAID]
    async with open_app(settings, local=LocalInference(f"{served.url}/v1", ""), serving=True) as app:
        ada = await app.users.by_key((await app.users.make_key(await app.users.add("ada", None)))[1])
        choices = await app.calls.choices(ada, Wishes())
        await app.voice.prepare(ada.user)
        async with Talk(ada, app.chat, loudness, page, choices, app.calls) as talk, asyncio.timeout(120):
            page.talk = talk
            for n, sound in enumerate(sounds):
                await say(talk, sound)
                while page.answered <= n:
                    await asyncio.sleep(0.02)
    served.stop()
    asked = SAID * len(VOICES)
    wrong = sum(word_errors(words(text), words(heard)) for text, heard in zip(asked, page.texts, strict=True))
    assert wrong / sum(len(words(text)) for text in asked) <= 1 / 8
