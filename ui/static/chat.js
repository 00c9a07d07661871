// The chat page's behaviour in the browser: what needs no server. Loaded once; Gradio may redraw everything below it at any time, so all listening is delegated.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const root = document.documentElement;
  const COLLECTION = "documents";
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
  const changed = () => {
    const growing = $("#tail [data-conversation]");
    if (growing) address(growing.dataset.conversation);
    toEnd();
  };
  new MutationObserver(changed).observe(document, { childList: true, subtree: true, characterData: true });

  function showSource(id) {
    const found = document.getElementById("source-" + id);
    const place = $("#source");
    if (!found || !place) return;
    place.innerHTML = found.innerHTML;
    document.body.classList.add("panel-open");
    place.querySelector("mark")?.scrollIntoView({ block: "center" });
  }

  async function copy(button) {
    const from = button.dataset.copy === "code" ? button.closest(".codeblock").querySelector("code") : button.closest(".message").querySelector(".text");
    await navigator.clipboard.writeText(from.innerText);
    const before = button.textContent;
    button.textContent = "✓";
    setTimeout(() => { button.textContent = before; }, 1200);
  }

  function uploading(name, percent, error) {
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
    row.querySelector("span").textContent = error || "uploading · " + Math.round(percent) + " %";
    row.classList.toggle("failed", Boolean(error));
    if (error || percent >= 100) setTimeout(() => row.remove(), error ? 9000 : 400);
  }

  function upload(file) {
    const most = Number($("#files")?.dataset.maxMb || Infinity);
    if (file.size > most * 1e6) {
      uploading(file.name, 0, "It has " + Math.round(file.size / 1e6) + " MB; at most " + most + " MB are taken. Split it.");
      return Promise.resolve(false);
    }
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      const body = new FormData();
      body.append("file", file, file.name);
      request.open("POST", "/v1/collections/" + encodeURIComponent(COLLECTION) + "/documents");
      request.upload.onprogress = (event) => uploading(file.name, (event.loaded / event.total) * 99);
      request.onload = () => {
        if (request.status === 202) { uploading(file.name, 100); return done(true); }
        let text = "The upload was refused.";
        try { const error = JSON.parse(request.responseText).error; text = [error.message, error.hint].filter(Boolean).join(" "); } catch { /* keep the sentence */ }
        uploading(file.name, 0, text);
        done(false);
      };
      request.onerror = () => { uploading(file.name, 0, "The connection was lost. Try again."); done(false); };
      request.send(body);
    });
  }

  async function uploadAll(files) {
    for (const file of files) if (await upload(file)) tell("#jobs", { act: "uploaded" });
  }

  // A sign-in that has expired is said where it is noticed; what was typed stays where it is.
  const plainFetch = window.fetch;
  window.fetch = async (...given) => {
    const answer = await plainFetch(...given);
    if (answer.status === 401 && new URL(answer.url).origin === location.origin) signInAgain();
    return answer;
  };
  function signInAgain() {
    if ($("#notice")) return;
    const notice = document.body.appendChild(Object.assign(document.createElement("div"), { id: "notice", role: "alert" }));
    const link = Object.assign(document.createElement("a"), { href: "/login?next=%2F", target: "_blank", textContent: "Sign in again" });
    notice.append("Your sign-in has expired. ", link, " in a new tab, then send once more; what you typed is kept.");
    addEventListener("focus", () => notice.remove(), { once: true });
  }

  // An event of a Gradio component that no click in it caused.
  function tell(selector, detail) {
    const part = $(selector);
    const inside = part?.querySelector(".prose, .html-container") || part;
    for (const element of part ? [inside, ...part.querySelectorAll("*"), part] : []) element.dispatchEvent(new CustomEvent("hearth", { detail, bubbles: false }));
  }

  window.hearth = {
    act(target, trigger) {
      const { act, id, text, title } = target.dataset;
      if (act === "rename") {
        const wanted = prompt("A new name for this conversation", title);
        if (wanted === null || !wanted.trim()) return;
        return trigger("click", { act, id, title: wanted });
      }
      if (act === "delete" && !confirm("Delete “" + title + "” with all its messages? This can't be undone.")) return;
      if (act === "open") document.body.classList.remove("side-open", "panel-open");
      if (act === "example" || act === "continue") pinned = true;
      trigger("click", { act, id, text });
    },
    opened(id) {
      address(id);
      pinned = true;
      toEnd();
    },
  };

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-cite],[data-copy],[data-toggle],[data-close],[data-theme],#pick,#new,#send");
    if (!target) {
      if (document.body.classList.contains("side-open") && !event.target.closest("#side")) document.body.classList.remove("side-open");
      return;
    }
    if (target.dataset.cite) showSource(target.dataset.cite);
    else if (target.dataset.copy) copy(target);
    else if (target.dataset.toggle) { document.body.classList.toggle("side-open"); event.stopPropagation(); }
    else if (target.dataset.close) document.body.classList.remove("panel-open");
    else if ("theme" in target.dataset) { const mode = dark() ? "light" : "dark"; remember("hearth-theme", mode); setTheme(mode); }
    else if (target.id === "pick") $("#files").click();
    else if (target.id === "new") { document.body.classList.remove("side-open", "panel-open"); $("#text textarea")?.focus(); }
    else pinned = true;
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "files") return;
    uploadAll([...event.target.files]);
    event.target.value = "";
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.body.classList.remove("panel-open", "side-open");
    // Enter sends; Shift+Enter makes a line. A box of one line that grows would do the opposite.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.closest("#text")) {
      event.preventDefault();
      event.stopImmediatePropagation();
      pinned = true;
      if (event.target.value.trim()) $("#send")?.click();
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
