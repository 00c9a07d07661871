"""A browser that calls: what its microphone hears is a file, and what it plays is taken down where sound leaves the page. For tests and benchmarks."""

import numpy as np
from browser.conftest import ARGUMENTS, Visitor, chromium
from speech import microphone, resampled

from inference.echo import TONES_RATE_HZ, understood

FAKE = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required"]
# Listens where sound leaves the page and where the microphone enters it: (ms, loudness) of both, on one clock.
TAP = """(() => {
  window.tap = { out: [], mic: [], pcm: [], rate: 0 };
  const watch = async (context, node, kept, samples) => {
    await context.audioWorklet.addModule('/static/capture.js');
    const listener = new AudioWorkletNode(context, 'capture');
    listener.port.onmessage = ({ data }) => {
      const frame = Array.from(new Int16Array(data));
      kept.push([performance.now(), Math.max(...frame.map(Math.abs)) / 32768]);
      if (samples) { window.tap.rate = context.sampleRate; samples.push(...frame); }
    };
    node.connect(listener);
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode && this instanceof GainNode && !this.tapped) {
      this.tapped = true;
      watch(this.context, this, window.tap.out, window.tap.pcm);
    }
    return connect.call(this, to, ...rest);
  };
  const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
  if (ask) navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted), context = new AudioContext();
    watch(context, context.createMediaStreamSource(stream), window.tap.mic, null);
    return stream;
  };
})();"""


class Caller(Visitor):
    """A visitor with a microphone."""

    def __init__(self, browser, url, **given):
        super().__init__(browser, url, **given)
        self.context.add_init_script(TAP)
        self.sign_in(url)
        self.page.goto(f"{url}/voice")
        self.page.wait_for_selector("#voice-documents")
        self.problems.clear()  # the chat page was left while it was still opening

    def state(self, name, timeout_s=20):
        self.page.wait_for_function(f"document.body.dataset.call === '{name}'", timeout=timeout_s * 1000)

    def loud(self, which="out", above=0.02):
        """Milliseconds at which it was loud."""
        return np.array([at for at, level in self.page.evaluate(f"window.tap.{which}") if level > above])

    def quiet_again(self, for_ms=1500):
        """Waits until something was heard and has ended."""
        self.page.wait_for_function(f"performance.now() - (window.tap.out.findLast(([, level]) => level > 0.02)?.[0] ?? Infinity) > {for_ms}")

    def spoken(self):
        """The words of what was played."""
        pieces, rate = self.page.evaluate("[window.tap.pcm, window.tap.rate]")
        return understood(resampled(np.array(pieces), round(rate), TONES_RATE_HZ))

    def done(self, turns=1, timeout_s=30):
        self.page.wait_for_function(f"document.querySelectorAll('.waterfall').length >= {turns}", timeout=timeout_s * 1000)


def called(playwright, url, folder, *parts, **given):
    """(browser, visitor) on the voice page. parts: what the microphone hears, see `speech.microphone`; none: the browser's own beeps."""
    arguments = [*ARGUMENTS, *FAKE]
    if parts:
        arguments += [f"--use-file-for-fake-audio-capture={microphone(folder / 'microphone.wav', *parts)}%noloop"]
    browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
    return browser, Caller(browser, url, **({"permissions": ["microphone"]} | given))
