// The chat page's behaviour in the browser: what needs no server. Loaded once; Gradio may redraw everything below it at any time, so all listening is delegated.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const root = document.documentElement;
  const COLLECTION = "documents";
  const READ_MS = 9000;  // how long a message stands that has to be read
  const AT_ONCE = 3;  // uploads; a browser opens six connections to a house
  // What is said here in the reader's language; English is the key. {name} is filled in.
  const _ = (text, values = {}) => (window.hearthWords?.[text] ?? text).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
  const remembered = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private windows may refuse */ } };

  const dark = () => document.body.classList.contains("dark");
  const setTheme = (mode) => { document.body.classList.toggle("dark", mode === "dark"); root.style.colorScheme = mode; };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const applyTheme = () => setTheme(remembered("hearth-theme") || (system.matches ? "dark" : "light"));
  system.addEventListener("change", applyTheme);

  // Near the end the page stays at the end; whoever scrolls up to read is left alone.
  let pinned = true;
  const scroller = () => $("#scroll");
  const toEnd = () => { const box = scroller(); if (box && pinned && $(".message")) box.scrollTop = box.scrollHeight; };
  document.addEventListener("scroll", (event) => {
    const box = scroller();
    if (event.target === box) pinned = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  }, true);
  // A new conversation gets its address with its first words, so that a reload in mid-answer finds it.
  function address(id) {
    const url = new URL(location.href);
    if (id) url.searchParams.set("c", id); else url.searchParams.delete("c");
    if (url.href !== location.href) history.replaceState(null, "", url);
  }
  // Another conversation, or a new one: its address, its end, and what was typed for it.
  let left = "";  // may still be drawn for a moment
  function lookAt(id) {
    left = opened() === id ? "" : opened();
    address(id);
    pinned = true;
    const box = $("#text textarea");
    if (box) typed(box, remembered(draftKey()) || "");
  }
  let begun = false, taken = "";  // the last message that the house took from here
  const changed = () => {
    if (!begun && $("#text textarea")) { begun = true; setTimeout(restore, 0); }
    const mark = $("#transcript [data-sent]")?.dataset;
    if (mark && mark.sent !== taken) {
      taken = mark.sent;
      if (mark.conversation !== left) { draft(""); address(mark.conversation); draft(""); }
    }
    follow($("#transcript [data-growing]"));
    for (const said of document.querySelectorAll("[data-notice]")) { notify(said.dataset.notice, said.textContent); said.remove(); }
    drawAll();
    toEnd();
  };

  // An answer that is being written is followed where it stands, over a stream of its own. The browser takes a lost one up again by itself, and its first
  // event has all that is there; only what the house refuses is asked for once more here.
  let following = null;
  function follow(place) {
    if (following?.place === place) return;
    following?.stop();
    following = null;
    document.body.classList.toggle("writing", Boolean(place));
    if (!place) return;
    const asked = new URLSearchParams(place.dataset.growing.split(" ").map((id) => ["answer", id]));
    let stream, again, html = "";
    const stop = () => { stream.close(); clearTimeout(again); };
    const ended = () => { stop(); tell("#transcript", { event: "end", id: place.dataset.growing.split(" ").pop() }); };
    const listen = () => {
      let first = true;
      stream = new EventSource("/growing?" + asked);
      stream.onopen = () => { first = true; };
      stream.onmessage = (event) => {
        const [kept, added] = JSON.parse(event.data);
        html = (first ? "" : html.slice(0, kept)) + added;
        first = false;
        place.innerHTML = html;
      };
      stream.addEventListener("finished", ended);
      stream.onerror = () => {
        if (stream.readyState !== EventSource.CLOSED) return;
        again = setTimeout(listen, 2000);
        fetch("/growing?" + asked).then((answer) => { answer.body.cancel(); if (answer.status === 404) ended(); }, () => { /* not reachable: asked again soon */ });
      };
    };
    listen();
    following = { place, stop };
  }
  new MutationObserver(changed).observe(document, { childList: true, subtree: true, characterData: true });

  // Something is said once, in a corner; what went wrong stays longer.
  function notify(title, text, bad = false) {
    const list = $("#notices") || document.body.appendChild(Object.assign(document.createElement("div"), { id: "notices" }));
    const said = Object.assign(document.createElement("div"), { className: bad ? "bad" : "" });
    said.setAttribute("role", bad ? "alert" : "status");
    const close = Object.assign(document.createElement("button"), { type: "button", textContent: "×", onclick: () => said.remove() });
    close.setAttribute("aria-label", _("Close"));
    said.append(Object.assign(document.createElement("b"), { textContent: title }), close, Object.assign(document.createElement("p"), { textContent: text }));
    list.append(said);
    while (list.children.length > 3) list.firstChild.remove();
    setTimeout(() => said.remove(), bad ? 15000 : 6000);
  }
  const failed = (error) => notify(_("That did not work"), error.message, true);

  function showSource(id) {
    const found = document.getElementById("source-" + id);
    const place = $("#source");
    if (!found || !place) return;
    place.replaceChildren(found.content.cloneNode(true));
    document.body.classList.add("panel-open");
    place.querySelector("mark")?.scrollIntoView({ block: "center" });
  }

  async function copy(button) {
    const from = button.dataset.copy === "code" ? button.closest(".codeblock").querySelector("code") : button.closest(".message").querySelector(".text");
    await navigator.clipboard.writeText(from.innerText);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1200);
  }

  // Diagrams are drawn once their answer is whole, and shown as pictures: nothing in a picture can run or load anything.
  const MERMAID = "/static/vendor/mermaid-11.17.2.min.js";
  let drawing = null;
  function drawer() {
    drawing ||= new Promise((done, failed) => document.head.append(Object.assign(document.createElement("script"), { src: MERMAID, onload: () => done(window.mermaid), onerror: failed })));
    return drawing;
  }
  async function draw(block) {
    block.dataset.drawn = "";
    const mermaid = await drawer();
    mermaid.initialize({ startOnLoad: false, securityLevel: "strict", htmlLabels: false, flowchart: { htmlLabels: false }, theme: dark() ? "dark" : "neutral", fontFamily: "system-ui, sans-serif" });
    const text = block.querySelector("code").innerText;
    const { svg } = await mermaid.render("drawing-" + Math.random().toString(36).slice(2), text);
    const picture = Object.assign(document.createElement("img"), { alt: _("Diagram: {text}", { text: text.slice(0, 200) }), src: "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg) });
    block.querySelector("pre").before(picture);
    block.classList.add("drawn-diagram");
  }
  function drawAll() {
    for (const block of document.querySelectorAll("#transcript .diagram:not([data-drawn])")) draw(block).catch(() => { document.querySelectorAll("[id^=ddrawing-]").forEach((left) => left.remove()); });
  }

  // The house's own API, with the page's cookie. What it says against a request is shown where the request was made.
  async function api(method, path, body) {
    const answer = await fetch("/v1" + path, { method, headers: body ? { "Content-Type": "application/json" } : {}, body: body && JSON.stringify(body) });
    if (answer.status === 204) return null;
    const said = await answer.json().catch(() => null);
    if (!answer.ok) throw new Error([said?.error?.message, said?.error?.hint].filter(Boolean).join(" ") || _("That did not work."));
    return said;
  }
  const opened = () => new URL(location.href).searchParams.get("c") || "";
  const lastMessage = () => [...document.querySelectorAll("#transcript [data-message]")].pop()?.dataset.message || "";

  async function judge(button) {
    const { judge: verdict, id } = button.dataset;
    const given = button.getAttribute("aria-pressed") === "true";
    const reason = given || verdict === "good" ? "" : prompt(_("What was wrong? (You may leave this empty.)"));
    if (reason === null) return;
    await (given ? api("DELETE", `/messages/${id}/feedback`) : api("PUT", `/messages/${id}/feedback`, { verdict, reason }));
    for (const other of button.parentElement.querySelectorAll("[data-judge]")) other.setAttribute("aria-pressed", String(other === button && !given));
  }

  // A question of one's own is changed where it stands; sending it makes a branch, and the first wording stays.
  function edit(button) {
    const said = button.closest(".message").querySelector(".said");
    if (said.querySelector("textarea")) return;
    const before = said.textContent;
    const box = Object.assign(document.createElement("textarea"), { value: before, rows: Math.min(12, before.split("\n").length + 1) });
    const send = Object.assign(document.createElement("button"), { type: "button", className: "primary", textContent: _("Send") });
    const leave = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: _("Cancel") });
    const row = Object.assign(document.createElement("div"), { className: "line" });
    row.append(send, leave);
    said.replaceChildren(box, row);
    said.classList.add("editing");
    box.focus();
    leave.onclick = () => { said.classList.remove("editing"); said.textContent = before; };
    send.onclick = () => { if (box.value.trim()) { pinned = true; tell("#transcript", { act: "edit", id: button.dataset.edit, text: box.value }); } };
    box.onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send.onclick(); }
      if (event.key === "Escape") { event.stopPropagation(); leave.onclick(); }
    };
  }

  // What is in a box of Gradio's is known to it only when the box says that it was typed into.
  function typed(box, value) {
    box.value = value;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  const dialog = (name) => $("#dialog-" + name);
  const line = (tag, text, ...inside) => { const made = Object.assign(document.createElement(tag), { textContent: text }); made.append(...inside); return made; };
  function button(text, act) {
    const made = line("button", text);
    made.type = "button";
    made.className = "quiet";
    made.onclick = () => act().catch(failed);
    return made;
  }

  const showing = {
    async settings(box) {
      const form = box.querySelector("form");
      const id = opened();
      const [models, tags, saved, found] = await Promise.all([api("GET", "/models"), api("GET", "/tags"), api("GET", "/prompts"), id ? api("GET", `/conversations/${id}?limit=1`) : null]);
      const kept = found?.settings || JSON.parse($("#pending textarea, #pending input")?.value || "{}");
      for (const name of ["model", "beside"]) {
        const choice = form.elements[name];
        choice.replaceChildren(choice.options[0], ...models.data.filter((m) => m.id !== "default").map((m) => new Option(m.id, m.id)));
        choice.value = kept[name] || "";
      }
      form.temperature.value = kept.temperature ?? -0.1;
      form.max_tokens.value = kept.max_tokens ?? "";
      form.system_prompt.value = kept.system_prompt || "";
      form.tags.value = (found?.tags || []).join(", ");
      form.tags.disabled = !id;
      box.querySelector("datalist").replaceChildren(...tags.items.map((tag) => new Option(tag)));
      warmth(form);
      box.querySelector(".prompts").replaceChildren(...saved.items.map((p) => line("li", "", button(p.name, async () => { typed($("#text textarea"), p.text); box.close(); $("#text textarea").focus(); }),
        button(_("Delete"), async () => { await api("DELETE", "/prompts/" + p.id); await showing.settings(box); }))));
    },
    async share(box) {
      const id = opened();
      box.querySelector("[data-share=make]").disabled = !id;
      for (const link of box.querySelectorAll("[data-export]")) {
        link.toggleAttribute("hidden", !id);
        link.href = `/v1/conversations/${id}/export?format=${link.dataset.export}&at=${lastMessage()}`;
      }
      const found = id ? await api("GET", `/conversations/${id}/shares`) : { items: [] };
      box.querySelector(".shares").replaceChildren(...found.items.map((s) => line("li", _("Link of {time}", { time: new Date(s.created_at).toLocaleString(root.lang) }) + " ",
        button(_("Revoke"), async () => { await api("DELETE", "/shares/" + s.id); await showing.share(box); }))));
      say(box, id ? "" : _("Nothing to share yet: ask something first."));
    },
    async add(box) {
      box.querySelector("[name=collection]").value ||= collection();
      const found = await api("GET", "/collections?limit=200");
      box.querySelector("datalist").replaceChildren(...found.items.map((c) => new Option(c.name)));
    },
    async again(box, from) {
      const form = box.querySelector("form");
      const found = await api("GET", "/collections?limit=200");
      const searched = JSON.parse(from.dataset.collections);
      form.elements.id.value = from.dataset.id;
      form.querySelector(".checks").replaceChildren(...found.items.map((c) => {
        const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "collections", value: c.name, checked: searched.includes(c.name) });
        const label = line("label", "", box, " " + c.name);
        label.className = "check";
        return label;
      }));
    },
    async help() { /* it says everything already */ },
  };
  const say = (box, text) => { const place = box.querySelector(".said-of"); if (place) place.textContent = text; };
  const warmth = (form) => { form.warmth.textContent = form.temperature.value < 0 ? _("as the house has it") : form.temperature.value; };
  function show(name, from) {
    const box = dialog(name);
    if (!box || box.open) return;
    say(box, "");
    box.showModal();
    showing[name](box, from).catch((error) => say(box, error.message));
  }
  async function makeLink(box) {
    const made = await api("POST", `/conversations/${opened()}/shares`, { message_id: lastMessage() });
    const address = location.origin + made.path;
    await showing.share(box);
    say(box, address);
    await navigator.clipboard.writeText(address).then(() => say(box, _("Copied: {address}", { address })), () => { /* it can be copied by hand */ });
  }
  async function saved(form) {
    const box = form.closest("dialog");
    if (form.dataset.form === "prompt") {
      await api("PUT", "/prompts", { name: form.elements.name.value, text: $("#text textarea").value });
      form.reset();
      return showing.settings(box);
    }
    if (form.dataset.form === "text" || form.dataset.form === "address") {
      const into = chosenCollection(box);
      const [path, body] = form.dataset.form === "text" ? ["texts", { title: form.elements.title.value, text: form.elements.text.value }] : ["urls", { url: form.elements.url.value }];
      say(box, _("One moment…"));
      await api("POST", `/collections/${encodeURIComponent(into)}/${path}`, body);
      form.reset();
      box.close();
      return tell("#jobs", { act: "uploaded", collections: [into] });
    }
    if (form.dataset.form === "again") {
      const { top_k: topK, rerank, rerank_top_k: rerankTopK } = form.elements;
      const collections = [...form.querySelectorAll("[name=collections]:checked")].map((box) => box.value);
      const otherwise = { collections, top_k: Number(topK.value), rerank: rerank.checked, rerank_top_k: Number(rerankTopK.value) };
      box.close();
      document.body.classList.remove("panel-open");
      pinned = true;
      return tell("#transcript", { act: "again", id: form.elements.id.value, otherwise });
    }
    const warm = Number(form.temperature.value);
    const settings = { model: form.model.value, beside: form.elements.beside.value, temperature: warm < 0 ? null : warm, max_tokens: Number(form.max_tokens.value) || null, system_prompt: form.system_prompt.value };
    if (opened()) await api("PATCH", "/conversations/" + opened(), { settings, tags: form.tags.value.split(",").map((t) => t.trim()).filter(Boolean) });
    else typed($("#pending textarea, #pending input"), JSON.stringify(settings));
    box.close();
    return null;
  }
  document.addEventListener("submit", (event) => {
    if (!event.target.dataset.form) return;
    event.preventDefault();
    saved(event.target).catch((error) => say(event.target.closest("dialog"), error.message));
  });
  document.addEventListener("input", (event) => {
    if (event.target.name === "temperature") warmth(event.target.form);
    if (event.target.closest("#text")) draft(event.target.value);
  });

  // What is typed stays in this browser until it is sent, also through a lost connection or an expired sign-in.
  const draftKey = () => "hearth-draft-" + (opened() || "new");
  const draft = (text) => { try { if (text) localStorage.setItem(draftKey(), text); else localStorage.removeItem(draftKey()); } catch { /* private windows may refuse */ } };
  function restore() {
    const box = $("#text textarea");
    const kept = remembered(draftKey());
    if (box && kept && !box.value) typed(box, kept);
  }

  // Where documents go: the collection that was chosen last.
  const collection = () => remembered("hearth-collection") || COLLECTION;
  function chosenCollection(box) {
    const name = box.querySelector("[name=collection]").value.trim() || COLLECTION;
    remember("hearth-collection", name);
    return name;
  }

  function uploading(name, percent, error, said = _("uploading") + " · " + Math.round(percent) + " %", shown_ms = error ? READ_MS : 400) {
    const list = $("#jobs-sending") || document.body.appendChild(Object.assign(document.createElement("div"), { id: "jobs-sending" }));
    let row = [...list.children].find((child) => child.dataset.name === name);
    if (!row) {
      row = list.appendChild(document.createElement("div"));
      row.className = "job";
      row.dataset.name = name;
      row.append(document.createElement("b"), document.createElement("span"), document.createElement("progress"));
      row.querySelector("b").textContent = name;
      row.querySelector("progress").max = 100;
    }
    row.querySelector("progress").value = percent;
    row.querySelector("span").textContent = error || said;
    row.classList.toggle("failed", Boolean(error));
    row.classList.toggle("told", !error && percent >= 100 && shown_ms === READ_MS);
    if (error || percent >= 100) setTimeout(() => row.remove(), shown_ms);
    while (list.querySelectorAll(".failed").length > 4) list.querySelector(".failed").remove();
  }

  // Uploads one file and says how it goes: "new", "known" where the house had it, "" where it was refused. Progress may be told by somebody else, who has many.
  function upload(file, into, progress) {
    const most = Number($("#files")?.dataset.maxMb || Infinity);
    if (file.size > most * 1e6) {
      uploading(file.name, 0, _("It has {size} MB; at most {most} MB are taken. Split it.", { size: Math.round(file.size / 1e6), most }));
      return Promise.resolve("");
    }
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      const body = new FormData();
      body.append("file", file, file.name);
      request.open("POST", "/v1/collections/" + encodeURIComponent(into) + "/documents");
      request.upload.onprogress = (event) => progress(file.name, (event.loaded / event.total) * 99);
      request.onload = () => {
        if (request.status === 202) {
          const { skipped = [], stage, collection, name } = JSON.parse(request.responseText);
          if (skipped.length) uploading(file.name, 100, _("Left out: {count} of its files, {names}", { count: skipped.length, names: skipped.slice(0, 3).map((s) => s.name + " (" + s.reason + ")").join(", ") }));
          else if (stage === "ready") progress(file.name, 100, "", _("Already in {collection}, as {name}", { collection, name }), READ_MS);  // there is no job to watch
          else progress(file.name, 100);
          return done(stage === "ready" ? "known" : "new");
        }
        let text = _("The upload was refused.");
        try { const error = JSON.parse(request.responseText).error; text = [error.message, error.hint].filter(Boolean).join(" "); } catch { /* keep the sentence */ }
        uploading(file.name, 0, text);
        done("");
      };
      request.onerror = () => { uploading(file.name, 0, _("The connection was lost. Try again.")); done(""); };
      request.send(body);
    });
  }

  // A few files have a row each; of many only their number is shown, and those that were refused.
  async function uploadAll(files, into = collection()) {
    const many = files.length > AT_ONCE, waiting = [...files];
    const together = _("{count} files", { count: files.length });
    let sent = 0, known = 0, told = 0;
    const one = async () => {
      while (waiting.length) {
        const accepted = await upload(waiting.shift(), into, many ? () => {} : uploading);
        sent += 1;
        if (accepted === "known") known += 1;
        const unchanged = known ? " · " + _("{count} already here", { count: known }) : "";
        if (many) uploading(together, (sent / files.length) * 100, "", _("uploading") + " · " + sent + " / " + files.length + unchanged, known ? READ_MS : undefined);
        if (accepted && (Date.now() - told > 1000 || sent === files.length)) { told = Date.now(); tell("#jobs", { act: "uploaded", collections: [into] }); }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    tell("#jobs", { act: "uploaded", collections: [into] });
  }

  // A sign-in that has expired is said where it is noticed; what was typed stays where it is.
  const plainFetch = window.fetch;
  window.fetch = async (...given) => {
    const answer = await plainFetch(...given);
    const { origin, pathname } = new URL(answer.url || location.href);
    if (origin !== location.origin) return answer;
    if (answer.status === 401) signInAgain();
    // Gradio says nothing of an event that was refused.
    else if (!answer.ok && pathname.endsWith("/run/predict")) answer.clone().json().catch(() => ({})).then(refused);
    return answer;
  };
  function refused({ error, title }) {
    const text = error?.message ? [error.message, error.hint].filter(Boolean).join(" ") : error;
    notify(title || _("That did not work"), text || _("Something went wrong inside Hearth. Nothing you had stored is lost; its log names the cause."), true);
  }
  function signInAgain() {
    if ($("#notice")) return;
    const notice = document.body.appendChild(Object.assign(document.createElement("div"), { id: "notice", role: "alert" }));
    const link = Object.assign(document.createElement("a"), { href: "/login?next=%2F", target: "_blank", textContent: _("Sign in again") });
    notice.append(_("Your sign-in has expired. What you typed is kept: sign in in a new tab, then send once more."), " ", link);
    addEventListener("focus", () => notice.remove(), { once: true });
  }

  // An event of a Gradio component that no click in it caused.
  function tell(selector, detail) {
    const part = $(selector);
    const inside = part?.querySelector(".prose, .html-container") || part;
    for (const element of part ? [inside, ...part.querySelectorAll("*"), part] : []) element.dispatchEvent(new CustomEvent("hearth", { detail, bubbles: false }));
  }

  window.hearth = {
    here: () => JSON.stringify({ conversation: opened(), leaf: lastMessage(), listed: document.querySelectorAll("#listing li").length, tag: $("#listing [data-chosen]")?.dataset.chosen || "" }),
    act(target, trigger) {
      const { act, id, text, title } = target.dataset;
      if (act === "rename") {
        const wanted = prompt(_("A new name for this conversation"), title);
        if (wanted === null || !wanted.trim()) return;
        return trigger("click", { act, id, title: wanted });
      }
      if (act === "delete" && !confirm(_("Delete “{title}” with all its messages? This can't be undone.", { title }))) return;
      if (act === "open") { document.body.classList.remove("side-open", "panel-open"); lookAt(id); }
      if (act === "delete" && id === opened()) lookAt("");
      if (act === "example" || act === "continue") pinned = true;
      trigger("click", { act, id, text, model: target.dataset.model });
    },
  };

  document.addEventListener("click", (event) => {
    const voice = event.target.closest("[data-voice]");
    if (voice) voice.href = "/voice" + (opened() ? "?c=" + opened() : "");  // the conversation goes on aloud
    const target = event.target.closest("[data-cite],[data-copy],[data-toggle],[data-close],[data-theme],[data-judge],[data-edit],[data-dialog],[data-dialog-close],[data-share],[data-job],[data-add],#new,#send,#stop");
    if (!target) {
      if (document.body.classList.contains("side-open") && !event.target.closest("#side")) document.body.classList.remove("side-open");
      return;
    }
    if (target.dataset.cite) showSource(target.dataset.cite);
    else if (target.dataset.copy) copy(target);
    else if (target.dataset.judge) judge(target).catch(failed);
    else if (target.dataset.edit) edit(target);
    else if (target.dataset.job) api("POST", ["/jobs", target.dataset.id, target.dataset.job].filter(Boolean).join("/")).catch(failed).then(() => tell("#jobs", { act: "uploaded" }));
    else if (target.dataset.dialog) show(target.dataset.dialog, target);
    else if ("dialogClose" in target.dataset) target.closest("dialog").close();
    else if (target.dataset.share) makeLink(target.closest("dialog")).catch((error) => say(target.closest("dialog"), error.message));
    else if (target.dataset.toggle) { document.body.classList.toggle("side-open"); event.stopPropagation(); }
    else if (target.dataset.close) document.body.classList.remove("panel-open");
    else if ("theme" in target.dataset) { const mode = dark() ? "light" : "dark"; remember("hearth-theme", mode); setTheme(mode); }
    else if (target.dataset.add) { adding = chosenCollection(target.closest("dialog")); target.closest("dialog").close(); $("#files").click(); }
    else if (target.id === "stop") Promise.all(($("[data-growing]")?.dataset.growing || "").split(" ").filter(Boolean).map((id) => api("POST", `/messages/${id}/stop`))).catch(failed);
    else if (target.id === "new") { document.body.classList.remove("side-open", "panel-open"); lookAt(""); $("#text textarea")?.focus(); }
    else pinned = true;
  });
  let adding = "";  // the collection that files are being chosen for
  document.addEventListener("change", (event) => {
    if (event.target.matches("#account [name=language]")) {
      event.target.form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "next", value: location.pathname + location.search }));
      event.target.form.submit();
    }
    if (event.target.id !== "files") return;
    uploadAll([...event.target.files], adding || collection());
    adding = "";
    event.target.value = "";
  });
  document.addEventListener("keydown", (event) => {
    const writing = event.target.matches("input, textarea, select");
    if (event.key === "Escape" && !$("dialog[open]")) {
      if (document.body.matches(".panel-open, .side-open")) document.body.classList.remove("panel-open", "side-open");
      else if (following) $("#stop")?.click();
    }
    if (event.ctrlKey || event.metaKey) {
      if (event.shiftKey && event.key.toLowerCase() === "o") { event.preventDefault(); $("#new")?.click(); }
      if (!event.shiftKey && event.key.toLowerCase() === "k") { event.preventDefault(); document.body.classList.add("side-open"); $("#search input, #search textarea")?.focus(); }
    } else if (!writing && event.key === "/") { event.preventDefault(); $("#text textarea")?.focus(); }
    else if (!writing && event.key === "?") show("help");
    // Enter sends; Shift+Enter makes a line. A box of one line that grows would do the opposite.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.closest("#text")) {
      event.preventDefault();
      event.stopImmediatePropagation();
      pinned = true;
      if (event.target.value.trim() && !following) $("#send")?.click();
    }
  }, true);

  let depth = 0;
  const carriesFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  addEventListener("dragenter", (event) => { if (carriesFiles(event)) { depth += 1; document.body.classList.add("dropping"); } });
  addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) document.body.classList.remove("dropping"); });
  addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dropping");
    uploadAll([...event.dataTransfer.files]);
  });

  if (document.body) applyTheme(); else addEventListener("DOMContentLoaded", applyTheme);
  addEventListener("load", () => setTimeout(applyTheme, 0));
})();
