"""What kind of file some sound is in, by its first bytes alone. Pure; decodes nothing.

The kind decides which one demuxer may look at the bytes: a playlist, a script or a film never reaches a decoder that would follow it somewhere.
"""

import struct

WAV_HEADER_BYTES = 44
_MP3_LAYER_3 = 0b01
_MP3_SYNC_BITS = 0xE0
FREE_OR_BAD_BITRATES = (0x00, 0xF0)
_MP4_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"dash", b"qt  ")


def container_of(data: bytes) -> str:
    """wav, webm, mp3, ogg, flac or mp4; "" for anything else, also for what only might be one."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        # Matroska's doctype stands in its first element, which is short.
        return "webm" if b"webm" in data[:64] else ""
    if data[:4] == b"OggS":
        return "ogg"
    if data[:4] == b"fLaC":
        return "flac"
    if data[4:8] == b"ftyp" and data[8:12] in _MP4_AUDIO_BRANDS:
        return "mp4"
    return "mp3" if data[:3] == b"ID3" or _begins_like_mp3(data) else ""


def _begins_like_mp3(data: bytes) -> bool:
    """A frame header of layer III: eleven bits of sync, a known version, a real bitrate and rate. Source: ISO/IEC 11172-3 §2.4.1.3."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & _MP3_SYNC_BITS != _MP3_SYNC_BITS:
        return False
    version, layer, bitrate, rate = data[1] >> 3 & 3, data[1] >> 1 & 3, data[2] & 0xF0, data[2] >> 2 & 3
    return version != 1 and layer == _MP3_LAYER_3 and bitrate not in FREE_OR_BAD_BITRATES and rate != 3


def wav(samples: bytes, rate_hz: int) -> bytes:
    """A WAV file of signed 16-bit little-endian samples, one channel."""
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16, b"data", len(samples))
    return head + samples
