"""Measures calls in a real browser with the embedded engines and the echo model: from the last loud sample heard to the first loud one played.

Prints JSON lines. `--turns N` (30 unless told otherwise), `--anyway` measures on a busy machine too.
What is said is flite's voice `rms`, one sentence after the other with seconds between, so one microphone serves many turns. Every turn that failed is counted.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.house import MODELS
from playwright.sync_api import sync_playwright
from running_house import RunningHouse
from speech import flite
from talking import called

SENTENCES = (
    "what is the weather like today",
    "how long are the backups kept",
    "please tell me the name of the network",
    "when does the front door open",
    "who has the key of the cellar",
    "what did we say about the garden",
)
GAP_S = 6.0
"""Of silence after each sentence: the answer repeats it and must be over by then."""
BUSY = 1.0
ENGINES = {"HEARTH_STT_MODEL": "pocketsphinx", "HEARTH_TTS_MODEL": "flite", "HEARTH_VAD_MODEL": "silero-vad", "HEARTH_CHAT_PAGE": "true"}


def words(text):
    return re.findall(r"[a-z']+", text.lower())


def errors(said, heard):
    """Word errors between two texts: the fewest words to change, leave out or put in. Source: Levenshtein distance over words."""
    row = list(range(len(heard) + 1))
    for n, word in enumerate(said, 1):
        before, row[0] = row[0], n
        for m, other in enumerate(heard, 1):
            before, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, before + (word != other))
    return row[-1]


def bursts(loud_ms, gap_ms=1500):
    """(first, last) of every stretch of sound."""
    if not len(loud_ms):
        return []
    cuts = np.flatnonzero(np.diff(loud_ms) > gap_ms)
    return list(zip(loud_ms[np.r_[0, cuts + 1]], loud_ms[np.r_[cuts, len(loud_ms) - 1]], strict=True))


def measured(playwright, url, folder, sentences):
    """One call: for each sentence (milliseconds until the answer was heard or None, word errors, words), and the stages as the page shows them."""
    parts = [2.0]
    for text in sentences:
        parts += [flite(text, folder), GAP_S]
    browser, caller = called(playwright, url, folder, *parts)
    try:
        caller.page.click("#voice-call")
        caller.page.wait_for_timeout(1000 * sum(p if isinstance(p, float) else len(p) / 48_000 for p in parts) + 1500)
        spoken = bursts(caller.loud("mic"))
        played = caller.loud()
        texts = caller.page.locator("#voice-turns .said").all_inner_texts()
        stages = caller.page.evaluate("[...window.hearthVoice.turns()].map((turn) => turn.stages)")
    finally:
        browser.close()
    results = []
    for n, text in enumerate(sentences):
        end = spoken[n][1] if n < len(spoken) else np.inf
        until = spoken[n + 1][0] if n + 1 < len(spoken) else np.inf
        answers = played[(played > end) & (played < until)]
        heard = words(texts[n]) if n < len(texts) else []
        results.append((float(answers[0] - end) if len(answers) else None, errors(words(text), heard), len(words(text))))
    return results, stages


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--turns", type=int, default=30)
    asked.add_argument("--anyway", action="store_true")
    given = asked.parse_args()
    load = os.getloadavg()[0]
    if load > BUSY and not given.anyway:
        sys.exit(f"the machine is busy (load {load:.1f}): what would be measured is its other work; --anyway does it nevertheless")
    results, stages = [], []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        home = folder / "home"
        home.mkdir()
        (home / "models").symlink_to(MODELS)
        with RunningHouse(home, **ENGINES) as house:
            house.make_user()
            house.wait_for_pages()
            while len(results) < given.turns:
                some, shown = measured(playwright, house.url, folder, SENTENCES[: given.turns - len(results)])
                results += some
                stages += shown
    heard = [ms for ms, _, _ in results if ms is not None]
    each = {stage: [s[stage] for s in stages if stage in s] for stage in ("endpoint", "stt", "llm_ttft", "tts_ttfb", "playback")}
    line = {
        "measure": "voice",
        "turns": len(results),
        "without_sound": len(results) - len(heard),
        "p50_ms": round(float(np.percentile(heard, 50))) if heard else None,
        "p95_ms": round(float(np.percentile(heard, 95))) if heard else None,
        "word_error_rate": round(sum(e for _, e, _ in results) / sum(n for _, _, n in results), 3),
        "stages_p50_ms": {stage: round(float(np.percentile(values, 50))) for stage, values in each.items() if values},
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
