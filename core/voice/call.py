"""Whose turn it is in a call: from "does this frame sound like speech" to when somebody began, has ended, or speaks into an answer. Pure.

Two clocks: how long somebody speaks or is silent is counted in frames of sound, so that frames that arrive late or in bursts change nothing; how long the
answer has been sounding, and how long to wait for a word, is read off the given clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FRAME_MS = 32.0
"""512 samples at 16 kHz, what the detector of speech takes at once."""


@dataclass(frozen=True, slots=True)
class CallRules:
    """When a turn begins, ends and is interrupted. Everything is in milliseconds but the two probabilities.

    The longest pause measured inside a sentence was 224 ms: an endpoint under 250 cuts sentences.
    """

    start_probability: float = 0.5
    stop_probability: float = 0.35
    """Lower than to start, so that a voice that fades is not cut off."""
    start_ms: float = 64.0
    """Speech must last so long to be one: a click doesn't."""
    endpoint_ms: float = 320.0
    pre_roll_ms: float = 320.0
    """How much before the start is kept: a soft first consonant is no speech yet."""
    utterance_ms: float = 60_000.0
    duck_ms: float = 150.0
    """So much speech into an answer makes the answer quieter."""
    cancel_ms: float = 400.0
    """So much ends it, and a recognised word at once."""
    deaf_ms: float = 1_000.0
    """At the beginning of an answer a microphone hears it through the loudspeaker; only a recognised word ends it then."""
    resume_ms: float = 2_000.0
    """An answer that was made quieter goes on as before when no word came for so long."""
    stalled_ms: float = 1_500.0
    """When no frame came for so long while somebody spoke, the turn ends with what there is."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began. from_ms: of the call's sound, the pre-roll included: what is transcribed begins here."""

    from_ms: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The turn is over: what lies between is what was said. reason: silence, or a limit, or the key that was let go, or a microphone that fell silent."""

    from_ms: float
    until_ms: float
    reason: Literal["silence", "too long", "key", "stalled"]


@dataclass(frozen=True, slots=True)
class Duck:
    """The answer becomes quieter, or as loud as before."""

    on: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """The answer ends now: the model, the voice and the playback."""

    reason: Literal["word", "speech", "asked"]


Signal = SpeechStarted | SpeechEnded | Duck | Cancel


class Call:
    """The turns of one call. Feed it every frame; do what it says."""

    def __init__(self, clock: Callable[[], float], rules: CallRules | None = None) -> None:
        """clock: seconds, never going back."""
        self._clock, self.rules = clock, rules or CallRules()
        self.heard_ms = 0.0
        """How much sound there has been."""
        self._speaking_since: float | None = None
        """Where the present speech began, by the call's sound; None while nobody speaks."""
        self._told = False
        self._loud_ms = 0.0
        self._quiet_ms = 0.0
        self._ended_ms = 0.0
        self._playing_since: float | None = None
        self._spoken_into = False
        """Whether the caller has spoken since the present answer began to sound."""
        self._into_ms = 0.0
        """How long the present speech has interrupted it, its first second left out."""
        self._ducked_since: float | None = None
        self._last_frame_at = clock()

    @property
    def speaking(self) -> bool:
        """Whether a turn of the caller's is open."""
        return self._told

    @property
    def playing(self) -> bool:
        """Whether an answer is sounding."""
        return self._playing_since is not None

    def hear(self, probability: float) -> list[Signal]:
        """One frame of sound: how likely it is speech, 0 to 1."""
        self._last_frame_at = self._clock()
        self.heard_ms += FRAME_MS
        signals = self._waited()
        if self._speaking_since is None:
            return signals + (self._begun() if probability > self.rules.start_probability else [])
        if probability > (self.rules.stop_probability if self._told else self.rules.start_probability):
            self._loud_ms += FRAME_MS
            self._into_ms += FRAME_MS if self._interruptible() else 0.0
            self._quiet_ms = 0.0
        else:
            self._quiet_ms += FRAME_MS
        return signals + self._judged()

    def word(self) -> list[Signal]:
        """A word was recognised in what the caller said, or is saying, since the answer began to sound: it ends, in its first second too."""
        return self._cancelled("word") if self.playing and self._spoken_into else []

    def play(self, on: bool) -> list[Signal]:
        """The answer begins to sound, or has ended by itself."""
        if on == self.playing:
            return []
        self._playing_since = self._clock() if on else None
        self._spoken_into, self._into_ms = False, 0.0
        return self._unducked()

    def commit(self) -> list[Signal]:
        """The key of push-to-talk was let go: the turn ends without waiting for silence. Nothing happens if nobody has spoken."""
        return self._ended("key") if self._told else self._forgotten()

    def cancel(self) -> list[Signal]:
        """Somebody asks for silence."""
        return self._cancelled("asked") if self.playing else []

    def tick(self) -> list[Signal]:
        """Call it a few times a second: a microphone that stops sending must not leave a turn open, nor a quiet answer quiet."""
        signals = self._waited()
        if self._told and (self._clock() - self._last_frame_at) * 1000 >= self.rules.stalled_ms:
            signals += self._ended("stalled")
        return signals

    def _begun(self) -> list[Signal]:
        # No earlier than the end of the turn before: no sound is in two turns.
        self._speaking_since = max(self._ended_ms, self.heard_ms - FRAME_MS - self.rules.pre_roll_ms)
        self._loud_ms, self._quiet_ms = FRAME_MS, 0.0
        self._into_ms = FRAME_MS if self._interruptible() else 0.0
        return self._judged()

    def _judged(self) -> list[Signal]:
        signals: list[Signal] = []
        if not self._told and self._quiet_ms >= self.rules.start_ms:
            return self._forgotten()
        assert self._speaking_since is not None
        if not self._told and self._loud_ms >= self.rules.start_ms:
            self._told = True
            signals.append(SpeechStarted(self._speaking_since))
        if self.playing and self._told:
            signals += self._interrupts()
        if self._told and self._quiet_ms >= self.rules.endpoint_ms:
            signals += self._ended("silence")
        elif self._told and self.heard_ms - self._speaking_since >= self.rules.utterance_ms:
            signals += self._ended("too long")
        return signals

    def _interruptible(self) -> bool:
        """Whether speech alone counts: not in the first second of an answer."""
        return self._playing_since is not None and (self._clock() - self._playing_since) * 1000 >= self.rules.deaf_ms

    def _interrupts(self) -> list[Signal]:
        """What speech alone does to an answer that is sounding."""
        self._spoken_into = True
        if self._into_ms >= self.rules.cancel_ms:
            return self._cancelled("speech")
        if self._into_ms >= self.rules.duck_ms and self._ducked_since is None:
            self._ducked_since = self._clock()
            return [Duck(True)]
        return []

    def _waited(self) -> list[Signal]:
        """A quieter answer that nobody went on to interrupt."""
        if self._ducked_since is not None and (self._clock() - self._ducked_since) * 1000 >= self.rules.resume_ms:
            return self._unducked()
        return []

    def _ended(self, reason: Literal["silence", "too long", "key", "stalled"]) -> list[Signal]:
        assert self._speaking_since is not None
        ended = SpeechEnded(self._speaking_since, self.heard_ms, reason)
        self._ended_ms = self.heard_ms
        self._forgotten()
        return [ended]

    def _forgotten(self) -> list[Signal]:
        self._speaking_since, self._told = None, False
        self._loud_ms = self._quiet_ms = self._into_ms = 0.0
        return []

    def _cancelled(self, reason: Literal["word", "speech", "asked"]) -> list[Signal]:
        self._playing_since, self._ducked_since, self._spoken_into = None, None, False
        return [Cancel(reason)]

    def _unducked(self) -> list[Signal]:
        ducked, self._ducked_since = self._ducked_since is not None, None
        return [Duck(False)] if ducked else []
