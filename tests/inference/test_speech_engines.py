"""One contract for everything that listens and everything that speaks: stand-ins, programs, tiny models made here, and the real ones where they are."""

import asyncio
import importlib.util
import json
import shutil
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from speech import SENTENCES, word_errors, words

from core.errors import BadInput, ModelMissing
from inference.audio import HEARD_RATE_HZ, resampled, trimmed
from inference.catalog import entry
from inference.echo import EchoSpeech, EchoTranscriber, tones, understood
from inference.engine import EngineSettings
from inference.engines.stt_pocketsphinx import PocketSphinxTranscriber
from inference.residency import Resident

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")]
ROOT = Path(__file__).parent.parent.parent


def needs(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed: it is an extra of its own")


# Tiny models: their output is noise; shapes, flow and errors are what counts.


@pytest.fixture(scope="module")
def tiny_whisper(tmp_path_factory):
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperProcessor, WhisperTokenizer

    named = ["endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "startoflm", "startofprev", "nocaptions", "notimestamps"]
    special = [*(f"<|{name}|>" for name in named), *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]
    known = {token: n for n, token in enumerate([*sorted(ByteLevel.alphabet()), *special])}
    end, start = known["<|endoftext|>"], known["<|startoftranscript|>"]
    tokenizer = WhisperTokenizer(vocab=known, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:10]})
    torch.manual_seed(0)
    sizes = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 128))}
    ends = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    config = WhisperConfig(
        vocab_size=len(known), d_model=64, max_target_positions=64, num_mel_bins=80, suppress_tokens=None, begin_suppress_tokens=None, **sizes, **ends
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        lang_to_id={f"<|{name}|>": known[f"<|{name}|>"] for name in ("en", "de")},
        task_to_id={name: known[f"<|{name}|>"] for name in ("transcribe", "translate")},
        is_multilingual=True,
        no_timestamps_token_id=known["<|notimestamps|>"],
        max_initial_timestamp_index=50,
        alignment_heads=[[1, 0]],
        max_length=64,
        prev_sot_token_id=known["<|startofprev|>"],
        **ends,
    )
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer).save_pretrained(folder)
    return folder


def an_onnx(path, inputs, output_samples):
    """A network that takes these inputs and gives so many samples of a constant tone."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
    given = [helper.make_tensor_value_info(name, kinds[kind], shape) for name, kind, shape in inputs]
    t = np.arange(output_samples) / 24_000
    sound = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    value = helper.make_node("Constant", [], ["sound"], value=numpy_helper.from_array(sound.reshape(1, 1, -1), "value"))
    graph = helper.make_graph([value], "tone", given, [helper.make_tensor_value_info("sound", TensorProto.FLOAT, [1, 1, output_samples])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


@pytest.fixture(scope="module")
def tiny_kokoro(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kokoro")
    an_onnx(folder / "kokoro.onnx", [("tokens", "int64", [1, None]), ("style", "float32", [1, 256]), ("speed", "float32", [1])], 12_000)
    with (folder / "voices.bin").open("wb") as out:
        np.savez(out, af_heart=np.zeros((510, 1, 256), np.float32), bm_daniel=np.zeros((510, 1, 256), np.float32))
    return folder


@pytest.fixture(scope="module")
def tiny_piper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("piper")
    shapes = [("input", "int64", [1, None]), ("input_lengths", "int64", [1]), ("scales", "float32", [3])]
    an_onnx(folder / "voice.onnx", shapes, 8_000)
    symbols = ["_", "^", "$", " ", *"abcdefghijklmnopqrstuvwxyzæçðøŋœɐɑɒɔəɚɛɜɡɪɹʃʊʌʒˈˌː.,!?"]
    config = {
        "audio": {"sample_rate": 22_050},
        "espeak": {"voice": "en-us"},
        "num_symbols": len(symbols),
        "num_speakers": 1,
        "phoneme_id_map": {symbol: [n] for n, symbol in enumerate(symbols)},
    }
    (folder / "voice.onnx.json").write_text(json.dumps(config))
    return folder


# What listens

LISTENERS = {
    "echo-stt": [],
    "pocketsphinx": [needs("pocketsphinx")],
    "transformers-whisper": [],
    "faster-whisper": [needs("faster_whisper"), pytest.mark.models],
}


@pytest.fixture(params=[pytest.param(name, id=f"leg={name}", marks=marks) for name, marks in LISTENERS.items()])
async def listener(request, tmp_path):
    if request.param == "echo-stt":
        made = EchoTranscriber(EngineSettings(tmp_path, 1, 0))
    elif request.param == "pocketsphinx":
        made = PocketSphinxTranscriber(EngineSettings(tmp_path, 1, 0))
    elif request.param == "transformers-whisper":
        from inference.engines.stt_transformers import TransformersTranscriber

        made = TransformersTranscriber(EngineSettings(request.getfixturevalue("tiny_whisper"), 1, 0))
    else:
        folder = ROOT / ".test-home/models/whisper-tiny-en"
        if not folder.is_dir():
            pytest.skip("whisper-tiny-en is not fetched: `hearth models fetch whisper-tiny-en --home .test-home`")
        from inference.engines.stt_faster_whisper import FasterWhisperTranscriber

        made = FasterWhisperTranscriber(EngineSettings(folder, 1, 0))
    yield made
    await made.close()


async def test_a_listener_gives_text_also_for_silence_and_for_two_at_once(listener):
    sounds = [np.zeros(16_000, np.int16), tones("hello there"), np.zeros(200, np.int16)]
    heard = await asyncio.gather(*(listener.transcribe(sound, "en") for sound in sounds))
    assert all(isinstance(h.text, str) and isinstance(h.language, str) for h in heard)
    assert (await listener.transcribe(sounds[1], "")).text == heard[1].text, "the same sound is heard the same again"


async def test_a_listener_says_so_when_it_does_not_know_a_language(listener):
    if isinstance(listener, EchoTranscriber):
        pytest.skip("it hears tones in every language")
    with pytest.raises(BadInput) as refused:
        await listener.transcribe(tones("x"), "tlh")
    assert "tlh" in refused.value.message
    assert refused.value.hint


async def test_a_cancelled_listener_is_free_within_two_seconds(listener):
    long = np.tile(tones("a few words that are said again and again"), 12)
    listening = asyncio.create_task(listener.transcribe(long, "en"))
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert time.monotonic() - begun < 2
    assert isinstance((await listener.transcribe(tones("hello"), "en")).text, str)


@pytest.fixture
def listeners():
    """PocketSphinx' processes of this test that are alive: neither what another one may have left nor their short-lived copies, which give final texts."""
    before = set(psutil.Process().children())

    def hears(child):
        try:
            return "inference.engines.stt_pocketsphinx" in child.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it ended meanwhile
            return False

    return lambda: [child for child in set(psutil.Process().children()) - before if hears(child)]


@needs("pocketsphinx")
@pytest.mark.parametrize("leg", ["pocketsphinx"], ids=lambda leg: f"leg={leg}")
async def test_pocketsphinx_holds_up_nothing_else_and_leaves_no_process(tmp_path, listeners, leg):
    engine = PocketSphinxTranscriber(EngineSettings(tmp_path, 1, 0))
    listening = asyncio.create_task(engine.transcribe(np.tile(tones("some words"), 20), "en"))
    gaps, last = [], time.monotonic()
    while not listening.done():
        await asyncio.sleep(0.01)
        gaps.append(time.monotonic() - last)
        last = time.monotonic()
    workers = listeners()
    assert len(workers) == 1, "it is kept for the next recording"
    assert max(gaps) < 1, "answers would stand still as long"
    await engine.close()
    assert not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers)


@needs("pocketsphinx")
@pytest.mark.parametrize("leg", ["pocketsphinx"], ids=lambda leg: f"leg={leg}")
async def test_of_an_utterance_that_goes_on_only_the_rest_is_decoded(tmp_path, flite, listeners, leg):
    sound = np.concatenate([np.zeros(5_000, np.int16), *[flite(s, "rms") for s in SENTENCES[1:3]], np.zeros(2_400, np.int16)])
    lengths = [*range(len(sound) // 8, len(sound), len(sound) // 8), len(sound)]
    engine = PocketSphinxTranscriber(EngineSettings(tmp_path, 1, 0))

    async def heard(*pieces):
        """(texts, CPU seconds) of beginnings of the sound, one after the other, the last one as the end."""
        (worker,) = listeners()
        begun = sum(worker.cpu_times()[:2])
        texts = [(await engine.transcribe(sound[:length], "en", goes_on=length < len(sound))).text for length in pieces]
        return texts, sum(worker.cpu_times()[:2]) - begun

    await engine.transcribe(sound, "en")
    (whole,), once_s = await heard(len(sound))
    texts, growing_s = await heard(*lengths)
    assert len(lengths) > 6
    assert all(text.split() for text in texts[3:]), "there are words long before the end"
    assert word_errors(words(whole), words(texts[-1])) <= 1
    assert growing_s < 2 * once_s, "each beginning decoded anew takes four times as long"
    await engine.close()


@needs("pocketsphinx")
@pytest.mark.parametrize("leg", ["pocketsphinx"], ids=lambda leg: f"leg={leg}")
async def test_an_unwanted_beginning_does_not_cost_the_rest_its_process(tmp_path, flite, listeners, leg):
    sound = flite(SENTENCES[0], "rms")
    engine = PocketSphinxTranscriber(EngineSettings(tmp_path, 1, 0))
    await engine.transcribe(sound[: len(sound) // 2], "en", goes_on=True)
    whole = (await engine.transcribe(sound, "en")).text
    partial = asyncio.create_task(engine.transcribe(sound[: len(sound) // 2], "en", goes_on=True))
    await asyncio.sleep(0.02)
    partial.cancel()
    assert (await engine.transcribe(sound, "en")).text == whole
    assert len(listeners()) == 1
    await engine.close()


@needs("pocketsphinx")
@pytest.mark.parametrize("leg", ["pocketsphinx"], ids=lambda leg: f"leg={leg}")
async def test_of_an_utterance_whose_end_was_none_only_the_rest_is_decoded(tmp_path, flite, listeners, leg):
    sound = np.concatenate([flite(s, "rms") for s in SENTENCES[:3]])
    half, nearly = sound[: len(sound) // 2], sound[: len(sound) * 7 // 8]
    engine = PocketSphinxTranscriber(EngineSettings(tmp_path, 1, 0))
    await engine.transcribe(half, "en", goes_on=True)
    undisturbed = (await engine.transcribe(sound, "en")).text
    (worker,) = listeners()

    async def cpu_s(samples, goes_on=True):
        begun = sum(worker.cpu_times()[:2])
        text = (await engine.transcribe(samples, "en", goes_on=goes_on)).text
        return sum(worker.cpu_times()[:2]) - begun, text

    await engine.transcribe(half[1:], "en", goes_on=True)  # another utterance
    most_s, _ = await cpu_s(nearly)
    _, too_early = await cpu_s(nearly, goes_on=False)
    rest_s, _ = await cpu_s(sound)
    assert rest_s < most_s / 2
    assert 0 < len(words(too_early)) < len(words(undisturbed))
    assert (await engine.transcribe(sound, "en")).text == undisturbed
    async with asyncio.timeout(5):
        while worker.children():  # the copy has answered, and goes
            await asyncio.sleep(0.01)
    await engine.close()


async def test_a_long_recording_is_cut_where_it_is_quiet():
    from inference.engines.stt_transformers import WINDOW_S, windows

    loud = np.full(HEARD_RATE_HZ, 8_000, np.int16)
    sound = np.concatenate([*[loud] * 28, np.zeros(HEARD_RATE_HZ // 2, np.int16), *[loud] * 40])
    pieces = windows(sound)
    assert max(map(len, pieces)) <= WINDOW_S * HEARD_RATE_HZ
    assert np.array_equal(np.concatenate(pieces), sound)
    assert 28 * HEARD_RATE_HZ < len(pieces[0]) < 28.5 * HEARD_RATE_HZ


@needs("pocketsphinx")
@pytest.mark.parametrize("leg", ["pocketsphinx"], ids=lambda leg: f"leg={leg}")
@pytest.mark.parametrize(("voice", "loudness"), [("rms", 1.0), ("slt", 1.0), ("slt", 0.1)], ids=["rms", "slt", "slt, quiet"])
async def test_of_a_clear_voice_at_most_seven_words_in_a_hundred_are_wrong(tmp_path, flite, voice, loudness, leg):
    """Ten ordinary sentences that the calibration did not hear. Measured: 1, 2 and 4 of 75 words."""
    engine = PocketSphinxTranscriber(EngineSettings(tmp_path, 1, 0))
    sounds = {s: (flite(s, voice) * loudness).astype(np.int16) for s in SENTENCES}
    wrong = sum([word_errors(words(s), words((await engine.transcribe(sound, "en")).text)) for s, sound in sounds.items()])
    await engine.close()
    assert wrong / sum(len(words(s)) for s in SENTENCES) <= 0.07


# What speaks

SPEAKERS = {
    "echo-tts": [],
    "flite": [pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed: scripts/setup installs it where it may")],
    "espeak": [pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: scripts/setup installs it where it may")],
    "kokoro": [needs("kokoro_onnx"), needs("onnx")],
    "piper": [needs("piper"), needs("onnx")],
}


@pytest.fixture(params=[pytest.param(name, id=f"leg={name}", marks=marks) for name, marks in SPEAKERS.items()])
async def speaker(request, tmp_path):
    tiny = request.getfixturevalue(f"tiny_{request.param}") if request.param in ("kokoro", "piper") else tmp_path
    settings = EngineSettings(tiny, 1, 0)
    if request.param == "echo-tts":
        made = EchoSpeech(settings)
    elif request.param == "flite":
        from inference.engines.tts_flite import FliteSpeech

        made = FliteSpeech(settings)
    elif request.param == "espeak":
        from inference.engines.tts_espeak import EspeakSpeech

        made = EspeakSpeech(settings)
    elif request.param == "kokoro":
        from inference.engines.tts_kokoro import KokoroSpeech

        made = KokoroSpeech(settings)
    else:
        from inference.engines.tts_piper import PiperSpeech

        made = PiperSpeech(settings)
    yield made
    await made.close()


async def spoken(speaker, text, voice="", speed=1.0):
    pieces = [piece async for piece in speaker.speak(text, voice, speed)]
    rates = {rate for _, rate in pieces}
    assert len(rates) <= 1
    return (np.concatenate([samples for samples, _ in pieces]), rates.pop()) if pieces else (np.zeros(0, np.int16), 0)


async def test_a_speaker_has_voices_and_makes_sound_with_each_of_the_first(speaker):
    assert len({v.id for v in speaker.voices}) == len(speaker.voices) > 0
    for voice in speaker.voices[:3]:
        sound, rate_hz = await spoken(speaker, "Hello there.", voice.id)
        assert sound.dtype == np.int16
        assert 8_000 <= rate_hz <= 48_000
        assert np.abs(sound.astype(np.int32)).max() > 1_000
        assert 0.1 < len(trimmed(sound, rate_hz)) / rate_hz < 5


async def test_an_unknown_voice_is_refused_with_those_there_are(speaker):
    with pytest.raises(BadInput, match="no voice 'nobody'") as refused:
        await spoken(speaker, "Hello.", "nobody")
    assert speaker.voices[0].id in refused.value.hint


@pytest.mark.parametrize("text", ["-h --voices", "$(id) `id` ; rm -rf /", "Grüße, 你好!", "<speak>x</speak>", "x" * 300], ids=str)
async def test_no_text_is_taken_for_anything_but_a_text(speaker, text):
    sound, _ = await spoken(speaker, f"Say {text} now.")
    assert len(sound) > 0


async def test_leaving_a_speaker_ends_its_work(speaker):
    before = set(psutil.Process().children())
    pieces = speaker.speak("A sentence that goes on. " * 20, "", 1.0)
    asking = asyncio.create_task(anext(pieces))
    await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await pieces.aclose()
    ours = [c for c in set(psutil.Process().children()) - before if c.name() in ("flite", "espeak-ng") and c.status() != psutil.STATUS_ZOMBIE]
    assert ours == []


@pytest.mark.parametrize("name", ["flite", "espeak"], ids=lambda name: f"leg={name}")
async def test_twice_the_speed_takes_about_half_the_time(name, request, tmp_path):
    if shutil.which({"espeak": "espeak-ng"}.get(name, name)) is None:
        pytest.skip(f"{name} is not installed")
    async with Resident(entry(name), tmp_path, threads=1, idle_s=0).used() as engine:
        usual, fast = [len((await spoken(engine, "Backups are kept for thirty five days.", speed=s))[0]) for s in (1.0, 2.0)]
    assert 0.35 < fast / usual < 0.75


async def test_echo_is_understood_by_echo_also_after_another_rate():
    sound = tones("How long are backups kept? äöü")
    assert understood(resampled(resampled(sound, 16_000, 24_000), 24_000, 16_000)) == "How long are backups kept? äöü"
    assert understood(np.full(16_000, 9_000, np.int16)) == ""


# What is missing is said


async def test_a_program_that_is_not_installed_names_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("flite", "espeak"):
        with pytest.raises(ModelMissing, match=r"apt install (flite|espeak-ng)"):
            async with Resident(entry(name), tmp_path, threads=1, idle_s=-1).used():
                pass


@pytest.mark.parametrize(("name", "extra"), [("pocketsphinx", "voice"), ("whisper-tiny-en", "whisper"), ("piper-joe", "piper")])
async def test_software_that_is_not_installed_names_its_extra(name, extra, tmp_path, monkeypatch):
    import builtins

    from inference import residency

    real = builtins.__import__
    monkeypatch.setattr(residency, "demand", lambda wanted, folder: folder)

    def without(module):
        raise ImportError(f"No module named {name}", name=name)

    monkeypatch.setattr(residency, "import_module", without)
    assert builtins.__import__ is real
    with pytest.raises(ModelMissing, match=rf"hearth\[{extra}\]"):
        async with Resident(entry(name), tmp_path, threads=1, idle_s=-1).used():
            pass


async def test_weights_that_are_not_fetched_name_the_command(tmp_path):
    for name in ("whisper-tiny-en", "piper-joe", "silero-vad"):
        with pytest.raises(ModelMissing, match=f"hearth models fetch {name}"):
            async with Resident(entry(name), tmp_path, threads=1, idle_s=-1).used():
                pass
