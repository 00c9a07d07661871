"""Whose turn it is in a call: speech probabilities in, what to do out.

Pure: it hears numbers and knows no audio, no model and no socket. What is said is counted in frames of the microphone, so that a late network cuts nobody off;
what is played is timed by the clock that is handed in. The caller carries out the effects in their order and says what came of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FRAME_MS = 32
"""512 samples at 16 kHz, as the voice detector takes them."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When a call takes and gives the turn. Durations are rounded up to whole frames."""

    starts_at: float = 0.5
    """Probability from which a frame is speech; two in a row begin an utterance."""
    ends_below: float = 0.35
    """Probability below which a frame is silence; between the two it stays what it was."""
    pre_roll_ms: int = 320
    """How much of what came before the first speech belongs to the utterance: a soft consonant isn't loud enough to be noticed."""
    shortest_ms: int = 128
    """Speech that is shorter is a click, not an utterance."""
    final_ms: int = 32
    """Silence after which the final text is asked for, so that it is there when the turn ends, and its answer has begun. One frame is enough: Silero notices
    the end of speech some 50 ms late, and in 40 sentences of two flite voices it found no such pause."""
    endpoint_ms: int = 288
    """Silence that ends the turn: a pause of 250 ms inside a sentence ends none."""
    first_partial_ms: int = 300
    partial_every_ms: int = 320
    first_word_ms: int = 160
    word_every_ms: int = 96
    """The same for what is said into an answer: a word in it decides whether the answer goes on."""
    longest_ms: int = 60_000
    """An utterance is ended here, so that one open window can't fill the memory."""
    duck_ms: int = 64
    """Speech after which an answer that is being played is lowered: as little as begins an utterance. A click lowers it for a moment and cancels nothing."""
    cancel_ms: int = 400
    """Speech after which an answer is cancelled without waiting for a word."""
    grace_s: float = 1.0
    """How long after playback has begun sound alone never cancels: echo cancellation is still learning."""
    resume_s: float = 2.0
    """How long a lowered answer waits for a word before it goes on."""


RULES = Rules()


class State(StrEnum):
    """What is shown."""

    LISTENING = "listening"
    HEARING = "hearing"
    THINKING = "thinking"
    SPEAKING = "speaking"


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """An utterance has begun with frame `first`, pre-roll included; no frame before it is needed again."""

    first: int


@dataclass(frozen=True, slots=True)
class PartialWanted:
    """What has been said so far should be transcribed, frames `first` to `last` inclusive."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class FinalWanted:
    """Probably all of it: transcribe it for good. Where speech goes on, a later one takes its place."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The utterance is whole; its text is that of the last FinalWanted. `capped`: it was ended because it was too long."""

    first: int
    last: int
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """It was no utterance: too short, muted, or nothing was said. Its partials are void."""

    first: int


@dataclass(frozen=True, slots=True)
class Duck:
    """The answer that is being played becomes quiet, or loud again."""

    on: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """The answer ends here: model, voice and playback."""


Effect = SpeechStarted | PartialWanted | FinalWanted | TurnEnded | Dropped | Duck | Cancel


@dataclass(slots=True)
class _Utterance:
    """What is being said. Frames count from the beginning of the call."""

    first: int
    onset: int
    last_speech: int
    next_partial: int
    final: int | None = None
    """Up to which frame the final text was asked for."""
    ended: bool = False
    """Silence has ended it while an answer runs: it waits for its text to know whether it was an interruption."""


class TurnMachine:
    """One call. Every method gives the effects to carry out, in their order."""

    def __init__(self, clock: Callable[[], float], rules: Rules = RULES) -> None:
        """clock: seconds, monotonic."""
        self._clock, self._rules = clock, rules
        self._frame = -1
        self._loud = 0
        """Speech frames in a row, up to the two that begin an utterance."""
        self._said: _Utterance | None = None
        self._answering = False
        self._playing_since: float | None = None
        self._ducked_at: float | None = None

    @property
    def state(self) -> State:
        """What the page shows. An interruption is shown as soon as it is heard."""
        if self._said is not None and not self._said.ended:
            return State.HEARING
        if self._playing_since is not None:
            return State.SPEAKING
        return State.THINKING if self._answering else State.LISTENING

    @property
    def needed_from(self) -> int:
        """The first frame that may still be asked for; earlier ones can be forgotten."""
        return self._said.first if self._said is not None else max(0, self._frame - _frames(self._rules.pre_roll_ms))  # this frame may be an onset

    def hear(self, probability: float) -> list[Effect]:
        """The next frame of the microphone, with the probability in [0, 1] that it is speech."""
        self._frame += 1
        if self._said is None or self._said.ended:
            self._loud = self._loud + 1 if probability > self._rules.starts_at else 0
            begun = self._begin() if self._loud == 2 else []
            return [*begun, *self.tick()]
        return [*self._go_on(self._said, probability), *self.tick()]

    def tick(self) -> list[Effect]:
        """Time has passed; needed where no frames come. A lowered answer gets its voice back when no word came in time."""
        said = self._said
        if self._ducked_at is None or self._clock() - self._ducked_at < self._rules.resume_s or (said is not None and not said.ended):
            return []
        return self._resume()

    def word(self) -> list[Effect]:
        """A word of the utterance has been recognised: an answer that runs is interrupted, even in its first second."""
        return self.cancel() if self._said is not None else []

    def nothing_said(self) -> list[Effect]:
        """The final text of an ended utterance is empty: it was a cough, and the answer goes on."""
        return self._resume() if self._said is not None and self._said.ended else []

    def commit(self) -> list[Effect]:
        """The speaker says that this was all (a key is released); an answer that runs is interrupted."""
        said = self._said
        if said is None:
            return []
        last = self._frame
        asked: list[Effect] = [] if said.ended else [FinalWanted(said.first, last)]
        said.final = last
        return [*self._cancel(), *asked, *self._end()]

    def mute(self) -> list[Effect]:
        """No more frames come for a while; what was begun is forgotten."""
        self._loud = 0
        return self._resume()

    def thinking(self) -> list[Effect]:
        """An answer is being made from now on."""
        self._answering, self._playing_since = True, None
        return []

    def playing(self) -> list[Effect]:
        """Its first sound is heard now."""
        if self._answering and self._playing_since is None:
            self._playing_since = self._clock()
        return []

    def answered(self) -> list[Effect]:
        """The answer is over, or failed: the microphone has the floor again. An interruption that waited for its text is an ordinary turn now."""
        loud: list[Effect] = [Duck(on=False)] if self._ducked_at is not None else []
        self._answering, self._playing_since, self._ducked_at = False, None, None
        return [*loud, *(self._end() if self._said is not None and self._said.ended else [])]

    def cancel(self) -> list[Effect]:
        """The listener wants no more of the answer."""
        return [*self._cancel(), *(self._end() if self._said is not None and self._said.ended else [])]

    def _begin(self) -> list[Effect]:
        """Two speech frames in a row: the first is the onset. What waits for its text and what is said now are one interruption."""
        onset = self._frame - 1
        waiting = self._said
        first = waiting.first if waiting is not None else max(0, onset - _frames(self._rules.pre_roll_ms))
        self._loud = 0
        wanted_ms = self._rules.first_word_ms if self._answering else self._rules.first_partial_ms
        self._said = _Utterance(first, onset, self._frame, onset + _frames(wanted_ms))
        started: list[Effect] = [SpeechStarted(first)] if waiting is None else []
        return [*started, *(self._interrupt(self._frame - onset + 1) if self._answering else [])]

    def _go_on(self, said: _Utterance, probability: float) -> list[Effect]:
        """One more frame of an utterance."""
        rules, effects = self._rules, list[Effect]()
        if probability >= rules.ends_below:
            said.last_speech, said.final = self._frame, None
        silence = self._frame - said.last_speech
        speech = said.last_speech - said.onset + 1
        if self._answering and not silence:
            effects += self._interrupt(speech)
        if self._frame - said.first + 1 >= _frames(rules.longest_ms):
            said.final = self._frame
            return [*effects, *self._cancel(), FinalWanted(said.first, self._frame), *self._end(capped=True)]
        if speech < _frames(rules.shortest_ms):
            return effects + (self._resume() if silence >= _frames(rules.endpoint_ms) else [])
        if silence >= _frames(rules.endpoint_ms):
            if not self._answering:
                return [*effects, *self._end()]
            said.ended = True
        elif silence >= _frames(rules.final_ms):
            if said.final is None:
                said.final = self._frame
                effects.append(FinalWanted(said.first, self._frame))
        elif self._frame >= said.next_partial:
            said.next_partial = self._frame + _frames(rules.word_every_ms if self._answering else rules.partial_every_ms)
            effects.append(PartialWanted(said.first, self._frame))
        return effects

    def _interrupt(self, speech: int) -> list[Effect]:
        """The speaker talks into an answer, for so many frames by now."""
        rules, now = self._rules, self._clock()
        early = self._playing_since is not None and now - self._playing_since < rules.grace_s
        if speech >= _frames(rules.cancel_ms) and not early:
            return self._cancel()
        if speech >= _frames(rules.duck_ms) and self._ducked_at is None and self._playing_since is not None:
            self._ducked_at = now
            return [Duck(on=True)]
        return []

    def _cancel(self) -> list[Effect]:
        was = self._answering
        self._answering, self._playing_since, self._ducked_at = False, None, None
        return [Cancel()] if was else []

    def _end(self, *, capped: bool = False) -> list[Effect]:
        said, self._said = self._said, None
        assert said is not None
        self._loud = 0
        return [TurnEnded(said.first, said.last_speech if said.final is None else said.final, capped)]

    def _resume(self) -> list[Effect]:
        """Forgets what was begun; a lowered answer goes on."""
        said, self._said = self._said, None
        ducked, self._ducked_at = self._ducked_at, None
        dropped: list[Effect] = [Dropped(said.first)] if said is not None else []
        return [*dropped, Duck(on=False)] if ducked is not None else dropped


def _frames(ms: int) -> int:
    """How many frames that is, rounded up."""
    return -(-ms // FRAME_MS)
