// The voice page's behaviour in the browser: the microphone, the call's socket, playback, and what is shown of a turn. What is said is the server's to judge: the state
// on the page is the one the server names.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const made = (tag, given = {}, ...inside) => { const node = Object.assign(document.createElement(tag), given); node.append(...inside); return node; };
  const _ = (text, values = {}) => (window.hearthWords?.[text] ?? text).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
  const remembered = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private windows may refuse */ } };

  const MICROPHONE = { audio: { channelCount: 1, echoCancellation: true, noiseSuppression: false, autoGainControl: false } };
  const CAPTURE_HZ = 16000;
  const DUCKED = 0.03;  // -30 dB: whoever talks into an answer doesn't hear it any more, and it comes back if it was a cough
  const REPORT_MS = 200;
  const RECONNECTS_MS = [100, 300, 600, 3000, 8000];
  const KEPT_MS = 1200;  // how long the server keeps a call whose line has broken
  const WAITING = 200;  // frames and messages that wait for a line
  const STATES = { off: _("Not in a call"), connecting: _("Connecting …"), listening: _("Listening"), hearing: _("Hearing you"), thinking: _("Thinking"), speaking: _("Speaking"), muted: _("Muted") };
  const STAGES = { endpoint: _("End of speech"), stt: _("Your words"), rag: _("Documents"), llm_ttft: _("First word"), tts_ttfb: _("First sound"), playback: _("Playback") };

  // What can go wrong with a microphone, each with what to do.
  const TROUBLES = {
    insecure: [_("Browsers give the microphone only to secure addresses."), _("Open Hearth at https:// or at 127.0.0.1 on its own machine. You can type below meanwhile.")],
    NotAllowedError: [_("The microphone is blocked for this page."), _("Allow it at the left of the address bar, then call again. You can type below meanwhile.")],
    NotFoundError: [_("There is no microphone."), _("Plug one in, then call again. You can type below meanwhile.")],
    NotReadableError: [_("Another program has the microphone."), _("Close it there, then call again.")],
    gone: [_("The microphone has gone."), _("Plug it in, then call again.")],
    lost: [_("The connection is lost."), _("What was said is kept. Call again when the network is back.")],
    signedOut: [_("Your sign-in has expired."), _("Sign in again; everything that was said is kept.")],
  };
  const trouble = (what, instead) => { const [said, doing] = TROUBLES[what] || instead || [_("The microphone can't be used."), String(what)]; tell(said, doing); };
  function tell(said, doing) {
    const place = $("#voice-trouble");
    if (!place) return;
    place.hidden = !said;
    place.replaceChildren(...(said ? [made("b", { textContent: said }), made("span", { textContent: doing || "" })] : []));
  }

  // Playback: pieces of a turn one after the other through one gain, so that they can be lowered and stopped at once.
  class Player {
    constructor() {
      this.context = new AudioContext();
      this.gain = this.context.createGain();
      this.gain.connect(this.context.destination);
      this.begin(0, 0);
    }
    begin(turn, rate) {
      this.stop();
      this.turn = turn; this.rate = rate; this.next = 0; this.done = false; this.pieces = []; this.started = 0;
      this.gain.gain.cancelScheduledValues(0);
      this.gain.gain.value = 1;
    }
    push(pcm) {
      const sound = this.context.createBuffer(1, pcm.length, this.rate);
      sound.getChannelData(0).set(Float32Array.from(pcm, (x) => x / 32768));
      const node = this.context.createBufferSource();
      node.buffer = sound;
      node.connect(this.gain);
      const at = Math.max(this.context.currentTime, this.next);
      node.start(at);
      if (!this.started) this.started = performance.now() + (at - this.context.currentTime + (this.context.outputLatency || 0)) * 1000;
      this.next = at + sound.duration;
      this.pieces.push({ node, at, seconds: sound.duration });
    }
    // How much of the turn has been heard, in milliseconds.
    heard() {
      const now = this.context.currentTime - (this.context.outputLatency || 0);
      return Math.round(1000 * (this.pieces || []).reduce((sum, { at, seconds }) => sum + Math.max(0, Math.min(seconds, now - at)), 0));
    }
    get over() { return this.done && this.context.currentTime >= this.next + (this.context.outputLatency || 0); }
    duck(on) { this.gain.gain.setTargetAtTime(on ? DUCKED : 1, this.context.currentTime, 0.015); }
    stop() { for (const { node } of this.pieces || []) { try { node.stop(); } catch { /* it has ended */ } } this.pieces = []; this.turn = 0; }
    pause() { this.context.suspend(); }
    resume() { return this.context.resume(); }
  }
  let player = null;
  const speaker = () => player ||= new Player();

  // What is shown of each turn.
  const turns = new Map();
  function shown(turn) {
    if (turns.has(turn)) return turns.get(turn);
    const said = made("div", { className: "said interim" });
    const mine = made("div", { className: "message mine" }, said);
    const text = made("div", { className: "text" });
    const below = made("div", { className: "below" });
    const theirs = made("div", { className: "message theirs", hidden: true }, text, below);
    const node = made("article", { className: "turn" }, mine, theirs);
    node.dataset.turn = turn;
    const known = { node, mine, said, theirs, text, below, written: "", sound: [], rate: 0, stages: {} };
    turns.set(turn, known);
    $("#voice-turns").append(node);
    follow();
    return known;
  }
  // Markdown's quotations, as answers from documents are, are drawn as such; everything else stands there as it was written.
  function draw(node, text) {
    const parts = text.split(/^((?:>.*(?:\n|$))+)/m);  // every other one is a quotation
    node.replaceChildren(...parts.map((part, n) => n % 2 ? made("blockquote", { textContent: part.replace(/^> ?/gm, "").trimEnd() }) : n < parts.length - 1 ? part.replace(/\n$/, "") : part).filter(Boolean));
  }
  const write = (known, text) => draw(known.text, known.written = text);
  const follow = () => { const box = $("#voice-scroll"); if (box) box.scrollTop = box.scrollHeight; };
  const forget = (turn) => { const known = turns.get(turn); if (known && known.theirs.hidden) { known.node.remove(); turns.delete(turn); } };

  function sources(known, found, of) {
    const chips = found.map((s) => made("a", { className: "chip", target: "_blank", href: `/documents/${s.document_id}?chunk=${encodeURIComponent(s.chunk_id)}#passage`, title: s.quote },
      made("b", { textContent: s.number }), made("span", { textContent: s.title + (s.page ? _(", page {page}", { page: s.page }) : "") })));
    known.below.querySelector(".chips")?.remove();
    if (chips.length) known.below.prepend(made("div", { className: "chips" }, ...chips));
    else if (of === "unavailable") known.below.prepend(made("div", { className: "chips none", textContent: _("Your documents can't be read just now.") }));
  }

  // The waterfall: where the time went between the last sound of the speaker and the first of the answer.
  function waterfall(known) {
    const stages = Object.keys(STAGES).filter((name) => Number.isFinite(known.stages[name]));
    if (!stages.length) return;
    const total = stages.reduce((sum, name) => sum + known.stages[name], 0) || 1;
    let before = 0;
    const rows = stages.map((name) => {
      const ms = known.stages[name];
      const bar = made("i", { className: `stage-${name}` });
      bar.style.marginLeft = `${(100 * before) / total}%`;
      bar.style.width = `${Math.max(0.5, (100 * ms) / total)}%`;
      before += ms;
      return made("tr", {}, made("th", { textContent: STAGES[name], scope: "row" }), made("td", { className: "bar" }, bar), made("td", { textContent: `${Math.round(ms)} ms` }));
    });
    const open = known.below.querySelector("details")?.open;
    known.below.querySelector("details")?.remove();
    const summary = made("summary", { textContent: _("Heard after {seconds} s", { seconds: (total / 1000).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 2 }) }) });
    known.below.append(made("details", { className: "waterfall", open: !!open }, summary, made("table", {}, made("tbody", {}, ...rows))));
  }
  function replay(known) {
    if (!known.sound.length || known.below.querySelector(".replay")) return;
    const button = made("button", { type: "button", className: "quiet replay", textContent: _("Play again") });
    button.onclick = async () => {
      if (call.state === "speaking") return;
      const out = speaker();
      await out.resume();
      out.begin(-1, known.rate);
      for (const piece of known.sound) out.push(piece);
    };
    known.below.append(button);
  }

  const call = {
    socket: null, mic: null, context: null, state: "off", muted: false, held: false, turn: 0, conversation: "", attempts: 0, wanted: false, silent: 0,
    ready: false, received: 0, waiting: [], pausing: 0,

    async start() {
      tell("");
      if (this.wanted) return;
      this.wanted = true;
      this.show("connecting");
      try {
        await speaker().resume();
        await this.listen();
      } catch (error) {
        trouble(!isSecureContext || !navigator.mediaDevices ? "insecure" : error.name, null);
        return this.end();
      }
      this.connect();
    },

    async listen() {
      if (!isSecureContext || !navigator.mediaDevices) throw new Error("insecure");
      this.mic = await navigator.mediaDevices.getUserMedia(MICROPHONE);
      this.mic.getAudioTracks()[0].onended = () => { if (this.wanted) { trouble("gone"); this.end(); } };
      this.context = new AudioContext({ sampleRate: CAPTURE_HZ });
      await this.context.audioWorklet.addModule("/static/capture.js");
      const node = new AudioWorkletNode(this.context, "capture");
      node.port.onmessage = ({ data }) => this.frame(data);
      this.context.createMediaStreamSource(this.mic).connect(node);
    },

    frame(data) {
      const samples = new Int16Array(data);
      let sum = 0;
      for (const x of samples) sum += x * x;
      const open = !this.muted || this.held;
      level(open ? Math.sqrt(sum / samples.length) / 32768 : 0);
      // A socket that is behind gets no more: what is late is worth nothing to a conversation.
      if (open && !(this.socket?.bufferedAmount >= 64000)) this.send(data);
    },
    // What is said while there is no line waits for it.
    send(data) {
      if (this.ready) this.socket.send(data);
      else if (this.state === "connecting" && this.waiting.length < WAITING) this.waiting.push(data);
    },

    connect() {
      const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/voice/ws`);
      socket.binaryType = "arraybuffer";
      this.socket = socket;
      socket.onopen = () => socket.send(JSON.stringify({ type: this.received ? "session.resume" : "session.update", received: this.received, ...this.wishes() }));
      socket.onmessage = ({ data }) => {
        if (this.socket !== socket) return;
        this.received++;
        typeof data === "string" ? this.told(JSON.parse(data)) : this.sound(data);
      };
      socket.onclose = ({ code }) => { if (this.socket === socket) this.lost(code); };
    },
    // The line has broken: what came over it is played on, and the call goes on where the next line is there soon enough.
    lost(code) {
      this.socket = null; this.ready = false;
      const idle = !this.wanted && ["off", "listening"].includes(this.state);  // nobody waits for anything
      if (idle || (code >= 4408 && code <= 4410)) return this.end();  // or it has been said why
      if (code === 4401) { trouble("signedOut"); return this.end(); }
      if (this.attempts >= RECONNECTS_MS.length) { trouble("lost"); return this.end(); }
      if (!this.attempts) { this.pausing = setTimeout(() => player?.pause(), KEPT_MS); tell(_("The connection is lost."), _("It is being taken up again …")); }
      this.show("connecting");
      setTimeout(() => this.again(), RECONNECTS_MS[this.attempts++]);
    },
    again() { if (this.state === "connecting" && !this.socket) this.connect(); },
    // There is a line. What was heard is said again: it may have been lost on the way.
    back() {
      this.ready = true;
      if (this.attempts) { tell(""); player?.resume(); }
      this.attempts = 0;
      clearTimeout(this.pausing);
      if (player?.turn > 0 && player.started) this.started();
      for (const data of this.waiting.splice(0)) this.send(data);
    },
    // Too late: turns that were not told to their end are shown as they are kept.
    async caughtUp() {
      const told = [...turns.values()].map(({ answer }) => answer).filter(Boolean);
      for (const { node, answer } of turns.values()) if (!answer) node.remove();
      turns.clear();
      const kept = await fetch(`/v1/conversations/${this.conversation}?limit=20`).catch(() => null);
      if (!kept?.ok) return;  // nothing was said yet
      const { messages } = await kept.json();
      const last = messages.findLastIndex(({ id }) => told.includes(id));
      for (const { id, role, content, status, reply_to } of messages.slice(last < 0 ? -2 : last + 1)) {
        const known = shown(role === "user" ? id : reply_to);
        if (role === "user") { known.said.textContent = content; known.said.classList.remove("interim"); continue; }
        known.theirs.hidden = false;
        write(known, content);
        known.answer = id;
        if (status === "complete") continue;
        known.theirs.classList.add("cut");
        known.below.append(made("a", { className: "quiet", href: `/chat?c=${this.conversation}`, textContent: _("Continue in the chat") }));
        tell(_("The connection was away for too long."), _("The answer ends where you stopped hearing it; ask on, or have it continued in the chat."));
      }
      follow();
    },

    say(type, more = {}) { this.send(JSON.stringify({ type, ...more })); },
    wishes() {
      const chosen = (name) => $(`#voice-${name}`)?.value || "";
      return { conversation_id: this.conversation, voice: chosen("voice"), speed: Number(chosen("speed")) || 1, language: chosen("language"), enable_rag: !!$("#voice-documents")?.checked };
    },
    update() { this.say("session.update", this.wishes()); },

    told(message) {
      const { type, turn } = message;
      if (type === "session.created") {
        const late = this.received > 1;  // it was another call that we asked for
        this.received = 1;
        this.conversation = message.conversation_id;
        address(this.conversation);
        if (late) player?.stop();
        this.back();
        if (late) this.caughtUp(); else turns.clear();
      } else if (type === "session.resumed") { this.back(); this.show(message.state); }
      else if (type === "session.state") this.show(message.state);
      else if (type === "error") { tell(message.what, message.do); if (turn) forget(turn); if (message.aloud) aloud(message.what); }
      else if (type === "input_audio_buffer.speech_started") { shown(turn); tell(""); if (player?.turn === -1) player.stop(); }
      else if (type === "input_audio_buffer.dropped") forget(turn);
      else if (type === "input_audio_transcription.delta" || type === "input_audio_transcription.completed") {
        const known = shown(turn);
        known.said.textContent = message.text;
        known.said.classList.toggle("interim", type.endsWith("delta"));
      } else if (type === "rag.completed") sources(shown(turn), message.sources, message.state);
      else if (type === "response.text.delta") { const known = shown(turn); known.theirs.hidden = false; write(known, known.written + message.text); }
      else if (type === "response.audio.start") {
        const known = shown(turn);
        known.rate = message.rate; known.sound = [];
        this.turn = turn;
        speaker().begin(turn, message.rate);
      } else if (type === "response.audio.done" && player?.turn === turn) player.done = true;
      else if (type === "response.duck") player?.duck(message.on);
      else if (type === "response.cancelled") {
        if (player?.turn === turn) { this.report(true); player.stop(); }
        const known = turns.get(turn);
        if (known) { known.answer = message.answer_id; write(known, message.spoken); known.theirs.classList.add("cut"); known.theirs.hidden = false; }
      } else if (type === "response.done") {
        const known = shown(turn);
        known.answer = message.answer_id;
        if (message.text !== undefined) write(known, message.text);
        Object.assign(known.stages, message.latency);
        waterfall(known);
        replay(known);
      }
      follow();
    },

    // 8 bytes before the samples: turn and sequence. Sound of a turn that is over is dropped.
    sound(data) {
      const [turn, sequence] = new Uint32Array(data, 0, 2);
      if (!player || player.turn !== turn) return;
      const pcm = new Int16Array(data, 8), known = shown(turn);
      player.push(pcm);
      known.sound.push(pcm);
      if (sequence === 0) { player.after = Math.max(0, Math.round(player.started - performance.now())); this.started(); }
    },
    started() { this.say("output_audio.started", { turn: player.turn, after_ms: player.after }); },
    report() {
      if (this.ready && player?.turn > 0 && player.started) this.say("output_audio.played", { turn: player.turn, ms: player.heard(), over: player.over });
    },

    show(state) {
      this.state = state;
      const body = document.body, known = state !== "listening" ? state : !this.wanted ? "off" : this.muted && !this.held ? "muted" : state;
      body.dataset.call = known;
      const place = $("#voice-state");
      if (place) place.textContent = STATES[known] || known;
      const button = $("#voice-call");
      if (button) { button.setAttribute("aria-pressed", String(this.wanted)); button.querySelector("span").textContent = this.wanted ? _("Hang up") : _("Call"); }
      const mute = $("#voice-mute");
      if (mute) { mute.disabled = !this.wanted; mute.setAttribute("aria-pressed", String(this.muted)); }
      const stop = $("#voice-stop");
      if (stop) stop.disabled = !["thinking", "speaking"].includes(state);
    },
    mute(on) {
      this.muted = on;
      this.say(on ? "input_audio_buffer.clear" : "input_audio_buffer.open");
      this.show(this.state);
    },
    hold(on) {
      if (this.held === on || !this.muted || !this.wanted) return;
      this.held = on;
      if (!on) this.say("input_audio_buffer.commit");
      this.show(this.state);
    },
    // The microphone always comes back: whatever happened, the tracks are stopped and the button calls again.
    end() {
      this.wanted = false; this.attempts = 0; this.held = false;
      this.ready = false; this.received = 0; this.waiting = [];
      clearTimeout(this.pausing);
      const socket = this.socket;
      this.socket = null;
      socket?.close(1000);
      this.mic?.getTracks().forEach((track) => track.stop());
      this.context?.close();
      this.mic = this.context = null;
      player?.stop();
      level(0);
      this.show("off");
    },
    async type(text) {
      if (!text.trim()) return;
      if (!this.socket && this.state !== "connecting") { await speaker().resume(); this.show("connecting"); this.connect(); }
      this.say("conversation.item.create", { text });
    },
  };
  setInterval(() => call.report(), REPORT_MS);

  let loudest = 0;
  const level = (rms) => { loudest = Math.max(loudest * 0.85, rms); document.body.style.setProperty("--level", Math.min(1, Math.sqrt(loudest) * 1.6).toFixed(3)); const meter = $("#voice-level"); if (meter) meter.value = Math.min(1, Math.sqrt(loudest) * 1.6); };
  function address(id) {
    const url = new URL(location.href);
    url.searchParams.set("c", id);
    if (url.href !== location.href) history.replaceState(null, "", url);
    marked();
  }

  // An answer of push-to-talk is read out from our own route, while it is being written.
  let read = "";
  async function readOut(place) {
    const out = speaker();
    await out.resume();
    const answer = await fetch(place.dataset.speech);
    if (answer.redirected) return recording(answer);  // all of it was spoken before it was asked for
    if (!answer.ok) return tell(_("The answer can't be spoken."), (await answer.json().catch(() => null))?.error?.message || "");
    out.begin(-1, Number(answer.headers.get("X-Sample-Rate")));
    let rest = new Uint8Array(0);
    for (const reader = answer.body.getReader(); ;) {
      const { value, done } = await reader.read();
      if (done || out.turn !== -1) break;
      const bytes = new Uint8Array(rest.length + value.length);
      bytes.set(rest); bytes.set(value, rest.length);
      const whole = bytes.length & ~1;
      if (whole) out.push(new Int16Array(bytes.buffer.slice(0, whole)));
      rest = bytes.slice(whole);
    }
    out.done = true;
  }

  async function recording(answer) {
    const out = speaker();
    if (!answer.ok) { const said = (await answer.json().catch(() => null))?.error; return tell(said?.message || _("The answer can't be spoken."), said?.hint || ""); }
    await out.resume();
    const sound = await out.context.decodeAudioData(await answer.arrayBuffer());
    out.begin(-1, sound.sampleRate);
    out.push(Int16Array.from(sound.getChannelData(0), (x) => x * 32767));
    out.done = true;
  }

  // Who is only listening hears an error too; where there is no voice it is there to be read.
  async function aloud(text) {
    const body = JSON.stringify({ input: text, voice: $("#voice-voice")?.value || "", response_format: "wav" });
    const answer = await fetch("/v1/audio/speech", { method: "POST", headers: { "Content-Type": "application/json" }, body }).catch(() => null);
    if (answer?.ok) await recording(answer);
  }

  const dark = () => document.body.classList.contains("dark");
  const setTheme = (mode) => { document.body.classList.toggle("dark", mode === "dark"); document.documentElement.style.colorScheme = mode; };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const applyTheme = () => setTheme(remembered("hearth-theme") || (system.matches ? "dark" : "light"));
  system.addEventListener("change", applyTheme);

  document.addEventListener("click", (event) => {
    const on = (selector) => event.target.closest(selector);
    if (on("#talk-audio")) speaker().resume();  // the answer comes later, when no browser that asks for a touch would let it be heard
    if (on("#voice-call")) call.wanted ? call.end() : call.start();
    else if (on("#voice-mute")) call.mute(!call.muted);
    else if (on("#voice-stop")) call.say("response.cancel");
    else if (on("[data-theme]")) { const mode = dark() ? "light" : "dark"; remember("hearth-theme", mode); setTheme(mode); }
    else if (on("button[data-mode]")) mode(on("button[data-mode]").dataset.mode);
    else if (on("[data-speak-again]")) fetch(on("[data-speak-again]").dataset.speakAgain).then(recording);
  });
  document.addEventListener("change", (event) => { if (!event.target.closest("#voice-choices")) return; call.update(); prefer(event.target); });
  // Voice, language and whether documents are read are the user's, for every page and program.
  const PREFERENCES = { "voice-voice": "voice_id", "voice-language": "speech_language", "voice-documents": "enable_rag" };
  async function prefer(control) {
    const name = PREFERENCES[control.id];
    if (!name) return;
    const body = JSON.stringify({ [name]: control.type === "checkbox" ? control.checked : control.value });
    const answer = await fetch("/v1/preferences", { method: "PATCH", headers: { "Content-Type": "application/json" }, body });
    if (!answer.ok) tell((await answer.json().catch(() => null))?.error?.message || _("That did not work."), "");
  }
  document.addEventListener("submit", (event) => {
    if (!event.target.closest("#voice-typing")) return;
    event.preventDefault();
    const box = event.target.querySelector("input");
    call.type(box.value);
    box.value = "";
  });
  const typing = (event) => event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") || event.ctrlKey || event.metaKey || event.altKey;
  document.addEventListener("keydown", (event) => {
    if (typing(event) || !call.wanted) return;
    if (event.key === "m") call.mute(!call.muted);
    else if (event.key === "Escape") call.say("response.cancel");
    else if (event.code === "Space" && call.muted && !event.target.closest("button")) { event.preventDefault(); call.hold(true); }
  });
  document.addEventListener("keyup", (event) => { if (event.code === "Space") call.hold(false); });
  addEventListener("blur", () => call.hold(false));
  addEventListener("pagehide", () => call.end());
  // A network that goes away says so sooner than its sockets.
  addEventListener("offline", () => { const socket = call.socket; if (socket) { call.lost(1006); socket.close(); } });
  addEventListener("online", () => call.again());

  function mode(name) {
    document.body.dataset.mode = name;
    if (name !== "call") call.end();
    marked();
  }
  // The top of the page comes after the rest, and may come again.
  function marked() {
    for (const tab of document.querySelectorAll("button[data-mode]")) tab.setAttribute("aria-selected", String(tab.dataset.mode === document.body.dataset.mode));
    const chat = $("#voice-to-chat");
    if (chat && call.conversation) chat.href = `/chat?c=${call.conversation}`;
  }
  const changed = () => {
    if (!document.body.dataset.mode && $("#voice-call")) {
      mode("call");
      call.conversation = new URL(location.href).searchParams.get("c") || "";
      if (call.conversation) address(call.conversation);
      if (!isSecureContext || !navigator.mediaDevices) trouble("insecure");
      call.show("off");
    }
    if ($("button[data-mode]:not([aria-selected])")) marked();
    // Gradio redraws the answer as it grows: an address that was read once is not read again.
    const place = $("#talk-turn [data-speech]");
    if (place?.dataset.speech && place.dataset.speech !== read) { read = place.dataset.speech; readOut(place).catch(() => tell(_("The answer can't be spoken."), _("You can read it here."))); }
    const plain = $("#talk-turn .text:not(:has(blockquote))");
    if (/^>/m.test(plain?.textContent)) draw(plain, plain.textContent);
    const trouble = $("#talk-turn [data-aloud]");
    if (trouble && trouble.dataset.aloud !== read) { read = trouble.dataset.aloud; aloud(trouble.textContent); }
  };
  new MutationObserver(changed).observe(document, { childList: true, subtree: true });
  const begin = () => { applyTheme(); changed(); };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin); else begin();
  const choices = () => new URLSearchParams({ voice: $("#voice-voice")?.value || "", speed: $("#voice-speed")?.value || "1", language: $("#voice-language")?.value || "", documents: $("#voice-documents")?.checked ? "1" : "" }).toString();
  window.hearthVoice = { call, speaker, turns: () => turns.values(), choices, conversation: () => call.conversation };
})();
