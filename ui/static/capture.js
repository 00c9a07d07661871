// The microphone as frames of 20 ms: 320 samples of 16 bits at 16 kHz. The context runs at that rate, so the browser resamples, with a proper filter.
class Capture extends AudioWorkletProcessor {
  constructor() { super(); this.frame = new Int16Array(320); this.filled = 0; }
  process([[channel]]) {
    for (const x of channel ?? []) {
      this.frame[this.filled++] = Math.max(-1, Math.min(1, x)) * 32767;
      if (this.filled === this.frame.length) { this.port.postMessage(this.frame.slice().buffer); this.filled = 0; }
    }
    return true;
  }
}
registerProcessor("capture", Capture);
