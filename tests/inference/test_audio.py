"""Files of sound, good and bad: what comes in is what was said, and what is hostile costs its own request."""

import asyncio
import io
import struct
import time

import av
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import packed

from core.errors import BadInput, NoSpeech, TooLong, Unreadable
from core.voice.containers import container_of, wav
from inference.audio import HEARD_RATE_HZ, OUTPUTS, Encoder, decode, encode, resampled, trimmed
from inference.echo import TONES_RATE_HZ, tones, understood
from inference.engine import EngineSettings
from inference.voice_activity import Loudness, Silero, demand_speech

pytestmark = pytest.mark.anyio
TEXT = "How long are backups kept? äöü 你"


@pytest.mark.parametrize("container", ["wav", "webm", "mp3", "ogg", "flac", "mp4"])
async def test_every_kind_of_file_is_heard_as_it_was_said(container):
    data = packed(container, tones(TEXT))
    assert container_of(data) == container
    decoded = await decode(data, max_s=60)
    assert understood(decoded.samples) == TEXT
    assert decoded.duration_ms == pytest.approx(len(tones(TEXT)) / 16, abs=120)


@pytest.mark.parametrize("container", ["wav", "webm", "mp3"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_packed_here_is_understood_again(container, streamed):
    sound = resampled(tones(TEXT), TONES_RATE_HZ, 24_000)
    if streamed:
        encoder = Encoder(container)
        data = b"".join(encoder.feed(sound[n : n + 3_000]) for n in range(0, len(sound), 3_000)) + encoder.close()
    else:
        data = encode(sound, container)
    decoded = await decode(data, max_s=60)
    assert understood(decoded.samples) == TEXT
    if not streamed:
        assert decoded.declared_ms == pytest.approx(decoded.duration_ms, abs=80)


@pytest.mark.parametrize("container", OUTPUTS)
def test_the_first_bytes_of_a_streamed_file_come_before_its_end(container):
    encoder = Encoder(container)
    assert b"".join(encoder.feed(np.full(4_800, 500, np.int16)) for _ in range(50))


def test_another_kind_of_file_is_not_made():
    with pytest.raises(BadInput, match="wav, pcm, mp3, webm"):
        Encoder("flac")


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (44_100, 2), (48_000, 1), (192_000, 8), (16_000, 1)])
async def test_any_usual_rate_and_number_of_channels_is_mixed_down(rate_hz, channels):
    mono = resampled(tones(TEXT), TONES_RATE_HZ, rate_hz)
    data = bytearray(wav(np.repeat(mono, channels).tobytes(), rate_hz))
    struct.pack_into("<H", data, 22, channels)
    struct.pack_into("<H", data, 32, 2 * channels)
    assert understood((await decode(bytes(data), max_s=60)).samples) == TEXT


@pytest.mark.parametrize("codec", ["pcm_s24le", "pcm_f32le", "pcm_u8", "pcm_mulaw"])
async def test_a_wav_of_another_kind_is_decoded_too(codec):
    heard = understood((await decode(packed("wav", tones("plain words"), codec=codec), max_s=60)).samples)
    assert heard == "plain words"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40_000), st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]), st.sampled_from([8_000, 16_000, 24_000, 48_000]))
def test_resampling_keeps_the_duration(count, from_hz, to_hz):
    assert len(resampled(np.zeros(count, np.int16), from_hz, to_hz)) == pytest.approx(count * to_hz / from_hz, abs=2 + 0.004 * to_hz)


def test_silence_around_a_text_is_cut_and_the_pauses_inside_are_kept():
    quiet, loud = np.zeros(8_000, np.int16), np.full(4_000, 5_000, np.int16)
    cut = trimmed(np.concatenate([quiet, loud, quiet, loud, quiet]), 16_000)
    assert len(cut) == 160 + 16_000 + 1_920
    assert len(trimmed(quiet, 16_000)) == len(quiet)


# What is hostile or broken


def header(channels, rate_hz, seconds=1, bits=16):
    size = channels * rate_hz * seconds * bits // 8
    return b"RIFF" + struct.pack(
        "<I4s4sIHHIIHH4sI", 36 + size, b"WAVE", b"fmt ", 16, 1, channels, rate_hz, rate_hz * channels * 2, channels * 2, bits, b"data", size
    )


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", Unreadable, "empty"),
        (b"hello", Unreadable, "no sound file"),
        (b"#EXTM3U\nhttp://127.0.0.1:9/a.mp3\n", Unreadable, "no sound file"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", Unreadable, "no sound file"),
        (b"<?xml version='1.0'?><MPD/>", Unreadable, "no sound file"),
        (header(32, 192_000) + bytes(10_000), TooLong, "32 channels"),
        (header(0, 16_000) + bytes(100), Unreadable, "no channel|can't be read"),
        (header(1, 1) + bytes(100), Unreadable, "1 samples a second"),
        (header(1, 16_000)[:44], Unreadable, "no sound in it"),
        (header(1, 16_000)[:30], Unreadable, "no sound in it"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0", Unreadable, "no sound in it"),
        (b"\x1a\x45\xdf\xa3" + b"\0" * 30 + b"webm" + b"\0" * 262, Unreadable, "can't be read"),
        (b"OggS" + b"\0" * 400, Unreadable, "can't be read"),
        (b"fLaC" + b"\xff" * 400, Unreadable, "can't be read"),
        (b"ID3\x04\0\0\0\0\0\0" * 40, Unreadable, "can't be read"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 400, Unreadable, "read"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else None,
)
async def test_what_is_no_recording_is_refused_with_a_sentence(data, kind, words):
    with pytest.raises(kind, match=words) as refused:
        await decode(data, max_s=60)
    assert refused.value.hint


@pytest.mark.parametrize("container", ["webm", "mp3", "ogg", "flac"])
async def test_a_recording_that_was_cut_off_is_heard_as_far_as_it_goes(container):
    whole = packed(container, tones(TEXT * 4))
    decoded = await decode(whole[: len(whole) * 2 // 3], max_s=60)
    assert understood(decoded.samples).startswith(TEXT[:20])
    if container in ("webm", "flac"):
        assert decoded.declared_ms > decoded.duration_ms + 500, "the file says that there was more"


async def test_a_wav_that_was_cut_off_says_how_long_it_was():
    whole = wav(tones(TEXT).tobytes(), 16_000)
    decoded = await decode(whole[: len(whole) // 2], max_s=60)
    assert decoded.declared_ms == pytest.approx(2 * decoded.duration_ms, rel=0.01)


async def test_a_file_in_a_file_is_decoded_by_the_one_its_first_bytes_ask_for():
    inside = b"\x1a\x45\xdf\xa3" + b"\0" * 20 + b"webm#EXTM3U\nhttp://127.0.0.1:9/\n" + b"\0" * 200
    with pytest.raises(Unreadable):
        await decode(inside, max_s=60)


@pytest.fixture(scope="module")
def ten_hours():
    """Ten hours of silence in less than a megabyte: FLAC needs a dozen bytes for eight seconds of it."""
    out = io.BytesIO()
    with av.open(out, "w", format="flac") as file:
        stream = file.add_stream("flac", rate=8_000, layout="mono", options={"frame_size": "65535"})
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8_000 * 60), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8_000
        resampler = av.AudioResampler("s16", "mono", 8_000, frame_size=65_535)
        for minute in range(600):
            frame.pts = minute * 8_000 * 60
            for piece in resampler.resample(frame):
                file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    data = out.getvalue()
    assert len(data) < 1_100_000
    return data


@pytest.mark.parametrize("lies", [False, True])
async def test_ten_hours_in_a_megabyte_cost_little_time_and_no_memory(ten_hours, lies):
    data = ten_hours
    if lies:  # the file says that its length is unknown: it is counted while it comes
        data = data[:18] + bytes([data[18], data[19], data[20], data[21] & 0xF0, 0, 0, 0, 0]) + data[26:]
    process, begun = psutil.Process(), time.monotonic()
    before = process.memory_info().rss
    with pytest.raises(TooLong, match="longer than 600 s"):
        await decode(data, max_s=600)
    assert process.memory_info().rss - before < 30 << 20
    assert time.monotonic() - begun < 20


async def test_a_decoder_that_hangs_or_dies_costs_one_request(monkeypatch):
    from inference import audio

    monkeypatch.setattr(audio, "CHILD_TIMEOUT_S", 0.05)
    with pytest.raises(TooLong, match="took longer"):
        await decode(packed("webm", tones(TEXT)), max_s=60)
    monkeypatch.setattr(audio, "CHILD_TIMEOUT_S", 20)
    monkeypatch.setattr(audio, "DEMUXERS", audio.DEMUXERS)
    with pytest.raises(Unreadable, match="broke the decoder"):
        await _decoded_by_a_child_that_dies(monkeypatch)


async def _decoded_by_a_child_that_dies(monkeypatch):
    from inference import audio

    async def dies(*_args, **_given):
        raise audio.ChildBroke

    monkeypatch.setattr(audio, "answer_of", dies)
    return await decode(packed("webm", tones("x")), max_s=60)


async def test_a_caller_who_leaves_takes_the_decoder_along():
    before = set(psutil.Process().children())
    decoding = asyncio.create_task(decode(packed("mp3", tones(TEXT * 20)), max_s=60))
    while not (children := set(psutil.Process().children()) - before):
        await asyncio.sleep(0.01)
    decoding.cancel()
    await asyncio.gather(decoding, return_exceptions=True)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


# Is anybody speaking?


def speaks(detector, samples):
    try:
        demand_speech(detector.listen(), samples)
    except NoSpeech:
        return False
    return True


def noise(seconds, amplitude, seed=0):
    return (np.random.default_rng(seed).normal(0, amplitude, round(seconds * HEARD_RATE_HZ))).clip(-32_768, 32_767).astype(np.int16)


async def test_loudness_takes_a_loud_sound_for_speech_and_silence_for_none(tmp_path):
    detector = Loudness(EngineSettings(tmp_path, 1, 0))
    assert speaks(detector, tones("hello"))
    assert not speaks(detector, np.zeros(32_000, np.int16))
    assert not speaks(detector, noise(2, 40))


@pytest.mark.models
async def test_silero_hears_a_voice_and_neither_noise_nor_tones(models_folder, flite):
    detector = Silero(EngineSettings(models_folder / "silero-vad", 1, 0))
    assert speaks(detector, flite("How long are the backups kept?"))
    for sound in (np.zeros(48_000, np.int16), noise(3, 300), noise(3, 3_000), tones("no voice at all"), noise(3, 12_000)):
        assert not speaks(detector, sound)


def test_nothing_heard_is_an_error_for_a_reader():
    assert issubclass(NoSpeech, BadInput)
