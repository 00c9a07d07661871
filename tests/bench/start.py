"""From `hearth up` on a new home to the first answer of the models on this machine, and what the web process holds while nobody asks anything."""

import time
from urllib.parse import parse_qs, urlsplit

import httpx
from bench.house import fresh_home, linked_models
from bench.processes import maps_torch, rss_mb
from running_house import PASSWORD, RunningHouse

REAL = {"HEARTH_LLM_MODEL": "smollm2-135m", "HEARTH_EMBEDDINGS_MODEL": "minilm-l6", "HEARTH_RERANKER_MODEL": "maxsim", "HEARTH_CHAT_PAGE": "true"}
IDLE_S = 5.0
NOTE = b"Backups\n\nBackups run every night at 02:30 and are kept for 35 days. Restores are asked for by mail.\n"


def measure():
    """One line: a first run with the fetched models, and a second start on the same home."""
    with fresh_home() as home:
        linked_models(home)
        house = RunningHouse(home, **REAL)
        begun_s = time.monotonic()
        with house:
            line = {"figure": "start"} | _until_pages(house, begun_s) | _first_answers(house, begun_s)
            line |= {"rss_after_answers_mb": round(rss_mb(house.process.pid), 1), "inference_rss_mb": round(rss_mb(house.inference_pid()), 1)}
            assert house.stop() == 0
            begun_s = time.monotonic()
            house.start()
            line |= {f"again_{name}": value for name, value in _until_pages(house, begun_s).items()}
            _sign_in(house).get("/chat/").raise_for_status()
            time.sleep(IDLE_S)
            return line | {"rss_idle_mb": round(rss_mb(house.process.pid), 1), "torch_in_web_process": maps_torch(house.process.pid)}


def _until_pages(house, begun_s):
    assert house.get("/healthz", anonymous=True)[0] == 200
    healthy_s = time.monotonic() - begun_s
    house.wait_for_pages()
    return {"healthz_s": round(healthy_s, 2), "pages_s": round(time.monotonic() - begun_s, 2)}


def _browser(house):
    return httpx.Client(base_url=house.url, timeout=60, trust_env=False)


def _set_up(house):
    """Opens the one-time link and makes the first account, as a newcomer does."""
    browser, link = _browser(house), urlsplit(house.setup_link)
    form = {"token": parse_qs(link.query)["token"][0], "username": "ada", "password": PASSWORD, "again": PASSWORD}
    assert browser.post("/setup", data=form).status_code == 303
    return browser


def _sign_in(house):
    browser = _browser(house)
    assert browser.post("/login", data={"username": "ada", "password": PASSWORD}).status_code == 303
    return browser


def _first_answers(house, begun_s):
    """A plain question as soon as the page is there; then a document, and a question about it."""
    browser = _set_up(house)
    assert "gradio" in browser.get("/chat/").text, "the page at /chat is not the chat page"
    first_token_s = _ask(browser, "Say hello.", max_tokens=24)[0]
    line = {"first_token_s": round(first_token_s - begun_s, 2), "first_answer_s": round(time.monotonic() - begun_s, 2)}
    job = browser.post("/v1/collections/lab/documents", files={"file": ("backups.txt", NOTE)}).raise_for_status().json()
    while browser.get(f"/v1/jobs/{job['id']}").json()["stage"] not in ("ready", "failed"):
        time.sleep(0.05)
    _, text = _ask(browser, "How long are backups kept?", collection="lab")
    assert "35 days" in text, text
    return line | {"first_cited_answer_s": round(time.monotonic() - begun_s, 2)}


def _ask(browser, question, **given):
    """(when the first piece of text came, the body of the whole stream)."""
    body, first_s = "", 0.0
    asked = {"stream": True, "messages": [{"role": "user", "content": question}]} | given
    with browser.stream("POST", "/v1/chat/completions", json=asked) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            body += line
            if not first_s and '"delta":{"content":' in line:
                first_s = time.monotonic()
    assert first_s, f"no answer: {body[-300:]}"
    return first_s, body
