"""Measures calls in a real browser with the embedded engines: from the last loud sample that the microphone heard to the first loud one that the page played.

Prints JSON lines. `--turns N` (30 unless told otherwise) of each kind, `--anyway` measures on a busy machine too, `--write` puts the figures into
docs/benchmarks.md. Three kinds (`--kind K` measures one alone and leaves the others as they were): a model that answers at once, with two of flite's voices
asking; one that streams at 30 words a second after 0.3 s; and somebody who talks into its answer. All take about half an hour. One microphone serves many
turns, with seconds of silence between. Every turn that failed is counted.
"""

import argparse
import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.house import linked_models
from bench.processes import serving
from bench.report import ROOT, keep, now_and_here, read
from playwright.sync_api import sync_playwright
from running_house import RunningHouse
from speech import SENTENCES as ORDINARY
from speech import flite, word_errors, words
from talking import called

ASKED = """what is the weather like today
how long are the backups kept
please tell me the name of the network
when does the front door open
who has the key of the cellar
what did we say about the garden
can you show me the last report
where did they put the blue book
tell me how much money we spent in march
is there anything new about the house
the meeting begins at nine in the morning
which of the documents is about insurance
how do i change the battery of the alarm
read me the first part of the letter
who wrote the plan for next year
what time does the train leave
please remind me to water the plants
how many people came to the party
what should i do when the machine is loud
do we have enough paper for the printer""".splitlines()
SENTENCES = [*dict.fromkeys([*ASKED, *ORDINARY])]
INTERRUPTION = "wait a moment please stop"
GAP_S, ANSWER_S = 6.0, 4.0
"""Of silence after a sentence: what answers at once repeats it and must be over by then.   Of an answer, before somebody talks into it."""
LONG_GAP_S = 14.0
"""The longer answer must be over by then."""
BUSY = 1.0
AT_ONCE, STREAMS, INTERRUPTED = KINDS = ("answers at once", "streams", "is interrupted")
FIGURES = ("voice", "interruption")
ENGINES = {"HEARTH_STT_MODEL": "pocketsphinx", "HEARTH_TTS_MODEL": "flite", "HEARTH_VAD_MODEL": "silero-vad", "HEARTH_CHAT_PAGE": "true"}
STAGES = ("endpoint", "stt", "llm_ttft", "tts_ttfb", "playback")


def bursts(loud_ms, gap_ms=1500):
    """(first, last) of every stretch of sound."""
    if not len(loud_ms):
        return []
    cuts = np.flatnonzero(np.diff(loud_ms) > gap_ms)
    return list(zip(loud_ms[np.r_[0, cuts + 1]], loud_ms[np.r_[cuts, len(loud_ms) - 1]], strict=True))


class Heard:
    """What one call left behind: when the microphone was loud and the page was, the texts and the stages it shows."""

    def __init__(self, playwright, url, folder, parts):
        browser, caller = called(playwright, url, folder, *parts)
        try:
            caller.page.click("#voice-call")
            caller.page.wait_for_timeout(1000 * sum(p if isinstance(p, float) else len(p) / 48_000 for p in parts) + 1500)
            self.spoken, self.played = bursts(caller.loud("mic")), caller.loud()
            self.texts = caller.page.locator("#voice-turns .said").all_inner_texts()
            self.stages = caller.page.evaluate("[...window.hearthVoice.turns()].map((turn) => turn.stages)")
        finally:
            browser.close()

    def waits(self, sentences):
        """For each sentence: milliseconds until the answer was heard or None, word errors, words."""
        for n, text in enumerate(sentences):
            end = self.spoken[n][1] if n < len(self.spoken) else np.inf
            until = self.spoken[n + 1][0] if n + 1 < len(self.spoken) else np.inf
            answers = self.played[(self.played > end) & (self.played < until)]
            heard = words(self.texts[n]) if n < len(self.texts) else []
            yield float(answers[0] - end) if len(answers) else None, word_errors(words(text), heard), len(words(text))


def turns(playwright, url, folder, count, voice, gap_s):
    """How long speakers waited for their answers."""
    results, stages = [], []
    while len(results) < count:
        sentences = SENTENCES[: count - len(results)]
        heard = Heard(playwright, url, folder, [2.0, *(part for text in sentences for part in (flite(text, folder, voice), gap_s))])
        results += heard.waits(sentences)
        stages += heard.stages
    waited = [ms for ms, _, _ in results if ms is not None]
    each = {stage: [s[stage] for s in stages if stage in s] for stage in STAGES}
    return {
        "turns": len(results),
        "without_sound": len(results) - len(waited),
        "p50_ms": _percentile(waited, 50),
        "p95_ms": _percentile(waited, 95),
        "word_error_rate": round(sum(e for _, e, _ in results) / sum(n for _, _, n in results), 3),
        "stages_p50_ms": {stage: _percentile(values, 50) for stage, values in each.items() if values},
    }


def interruptions(playwright, url, folder, count):
    """How long an answer goes on after somebody has begun to talk into it."""
    stops, unheard = [], 0
    while len(stops) + unheard < count:
        pairs = min(3, count - len(stops) - unheard)
        pair = (flite(SENTENCES[0], folder), ANSWER_S, flite(INTERRUPTION, folder), LONG_GAP_S)
        heard = Heard(playwright, url, folder, [2.0, *(pair * pairs)])
        for n in range(pairs):
            begun = heard.spoken[2 * n + 1][0] if 2 * n + 1 < len(heard.spoken) else np.inf
            before, after = heard.played[(heard.played > begun - 1000) & (heard.played <= begun)], heard.played[heard.played > begun]
            if not len(before) or not len(after):
                unheard += 1  # the answer wasn't being played: nothing was interrupted
                continue
            silent = after[np.flatnonzero(np.diff(np.r_[after, np.inf]) > 300)[0]]  # pauses of the voice are shorter
            stops.append(float(silent - begun))
    return {"interruptions": len(stops) + unheard, "not_interrupted": unheard, "p50_ms": _percentile(stops, 50), "p95_ms": _percentile(stops, 95)}


def _percentile(values, percent):
    return round(float(np.percentile(values, percent))) if values else None


@contextmanager
def house_of(folder, **given):
    """A running house with the embedded engines."""
    home = folder / f"home-{len(given)}"
    home.mkdir()
    linked_models(home)
    with RunningHouse(home, **ENGINES, **given) as house:
        house.make_user()
        house.wait_for_pages()
        yield house


def measured(playwright, folder, count, kinds):
    """Every line of these kinds."""
    if AT_ONCE in kinds:
        with house_of(folder) as house:
            for voice in ("rms", "slt"):
                yield {"figure": "voice", "model": AT_ONCE, "asks": voice} | turns(playwright, house.url, folder, count, voice, GAP_S)
    if kinds == (AT_ONCE,):
        return
    with serving("stub.py") as stub, house_of(folder, HEARTH_LLM_URL=f"{stub.url}/v1#stub") as house:
        if STREAMS in kinds:
            yield {"figure": "voice", "model": STREAMS, "asks": "rms"} | turns(playwright, house.url, folder, count, "rms", LONG_GAP_S)
        if INTERRUPTED in kinds:
            yield {"figure": "interruption", "model": INTERRUPTED} | interruptions(playwright, house.url, folder, count)


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--turns", type=int, default=30)
    asked.add_argument("--anyway", action="store_true")
    asked.add_argument("--write", action="store_true")
    asked.add_argument("--kind", choices=KINDS, action="append")
    given = asked.parse_args()
    kinds = tuple(given.kind or KINDS)
    load = os.getloadavg()[0]
    if load > BUSY and not given.anyway:
        sys.exit(f"the machine is busy (load {load:.1f}): what would be measured is its other work; --anyway does it nevertheless")
    lines = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        for line in measured(playwright, Path(name), given.turns, kinds):
            lines.append(now_and_here() | line)
            print(json.dumps(lines[-1]), flush=True)
    if given.write:
        others = [line for line in read(ROOT / "docs")[1] if line["figure"] in FIGURES and line["model"] not in kinds]
        keep(ROOT / "docs", FIGURES, [*others, *lines])


if __name__ == "__main__":
    main()
