"""A call in a real browser with real speech both ways: flite speaks into the microphone and answers, PocketSphinx listens, also to what the page has played."""

import shutil
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from bench.voice import bursts, house_of
from speech import flite, word_errors, words
from talking import called

from core.voice.containers import wav
from inference.audio import HEARD_RATE_HZ, resampled

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.models,
    pytest.mark.skipif(shutil.which("flite") is None or find_spec("pocketsphinx") is None, reason="flite or pocketsphinx is not installed"),
]

QUESTION = "what is the weather like today"
STORY = "the children are playing in the garden and my sister bought three books yesterday and the meeting starts at nine in the morning"
"""Its answer repeats it, so that it is still being spoken when the interruption comes."""
INTERRUPTION = "wait a moment please stop"
WORD_ERROR_RATE = 0.12


@pytest.fixture(scope="module", params=["real-speech"], ids=["leg=real-speech"])
def house(models_folder, tmp_path_factory):
    """The embedded engines that listen and speak, and the echo model."""
    with house_of(tmp_path_factory.mktemp("real-speech")) as running:
        yield running


def answers(caller):
    """What the page played after each utterance, until the end of the next, as WAV files."""
    played, pieces, rate_hz = caller.page.evaluate("[window.tap.out.map(([at]) => at), window.tap.pcm, window.tap.rate]")
    frames = np.array(pieces, np.int16).reshape(len(played), -1)
    ends = [*(last for _, last in bursts(caller.loud("mic"))), np.inf]
    for end, until in pairwise(ends):
        samples = frames[(np.array(played) > end) & (np.array(played) <= until)].ravel()
        yield wav(resampled(samples, round(rate_hz), HEARD_RATE_HZ).tobytes(), HEARD_RATE_HZ)


def understood(house, recording):
    """What the house understands in a recording."""
    boundary = "------hearth"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="played.wav"\r\n\r\n'.encode()
    form = head + recording + f"\r\n--{boundary}--\r\n".encode()
    status, answer = house.request("POST", "/v1/audio/transcriptions", form, content_type=f"multipart/form-data; boundary={boundary}")
    assert status == 200, answer
    return answer["text"]


def error_rate(said, heard):
    return word_errors(words(said), words(heard)) / len(words(said))


def test_real_speech_is_heard_answered_aloud_and_can_interrupt(house, playwright, tmp_path):
    texts = (QUESTION, STORY, INTERRUPTION)
    said = [flite(text, tmp_path) for text in texts]
    browser, ada = called(playwright, house.url, tmp_path, 2.0, said[0], 6.0, said[1], 3.5, said[2], 8.0)
    try:
        ada.page.click("#voice-call")
        ada.page.wait_for_selector(".theirs.cut", timeout=60_000)
        ada.shoot("voice-real-interrupted")
        ada.done(2)
        ada.quiet_again()
        ada.shoot("voice-real")
        conversation = ada.page.url.partition("c=")[2]
        messages = house.get(f"/v1/conversations/{conversation}")[1]["messages"]
        played = [understood(house, recording) for recording in answers(ada)]
    finally:
        browser.close()
    heard, answered = messages[::2], messages[1::2]
    assert [a["status"] for a in answered] == ["complete", "interrupted", "complete"]
    assert error_rate(" ".join(texts), " ".join(m["content"] for m in heard)) <= WORD_ERROR_RATE, [m["content"] for m in heard]
    for question, answer in zip(heard, answered, strict=True):
        assert f"You said: {question['content']}".startswith(answer["content"])
    assert 3 < len(words(answered[1]["content"])) < len(words(STORY)), "it was cut off in its middle"
    whole = [answered[n]["content"] for n in (0, 2)]
    assert error_rate(" ".join(whole), f"{played[0]} {played[2]}") <= WORD_ERROR_RATE, (whole, played)
    # The word at which it was cut off may have been heard in part.
    assert word_errors(words(answered[1]["content"]), words(played[1])) <= 2, (answered[1]["content"], played[1])
    assert ada.problems == []
    assert ada.foreign == []
