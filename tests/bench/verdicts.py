"""The targets, and whether the measured lines meet them."""

from dataclasses import dataclass
from statistics import median

ADDED_TTFT_MS = {1: 15, 10: 60, 50: 250}
OPEN_WEBUI_ADDED_TTFT_MS = {1: 57, 10: 574, 50: 3934}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the table. `met` is None where it was not measured."""

    measure: str
    target: str
    measured: str
    met: bool | None
    elsewhere: str = ""


def verdicts(lines):
    """Every target in the order of the document."""
    return [*_start(lines), *_api(lines), *_page(lines), *_documents(lines), *_voice(lines), *_console(lines), *_pipelines(lines)]


def cell(lines, path, chats):
    """A path's lines at so many chats, by block."""
    return {line["block"]: line for line in lines if line.get("figure") == "streams" and (line["path"], line["chats"]) == (path, chats)}


def against(lines, path, other, chats, name, combine):
    """`combine(path's figure, other's)` for every block that has both."""
    mine, theirs = cell(lines, path, chats), cell(lines, other, chats)
    return [combine(mine[b][name], theirs[b][name]) for b in mine if b in theirs]


def values(lines, path, chats, name):
    """A figure of every block."""
    return [line[name] for line in cell(lines, path, chats).values() if line.get(name) is not None]


def spread(found, unit="", digits=0):
    """The median of the blocks, and from where to where they go."""
    if not found:
        return "not measured"
    shown = f"{median(found):.{digits}f}"
    around = f" ({min(found):.{digits}f}–{max(found):.{digits}f})" if len(found) > 1 else ""
    return f"{shown}{around}{unit}"


def _at_most(measure, limit, unit, found, elsewhere="", digits=0):
    return Verdict(measure, f"≤ {limit}{unit}", spread(found, unit, digits), median(found) <= limit if found else None, elsewhere)


def _one(lines, figure, name, **wanted):
    return [line[name] for line in lines if line.get("figure") == figure and all(line.get(k) == v for k, v in wanted.items()) and line.get(name) is not None]


def _start(lines):
    torch = _one(lines, "start", "torch_in_web_process")
    return [
        _at_most("`/healthz` answers, first run", 3, " s", _one(lines, "start", "healthz_s"), "32–123 s", 1),
        _at_most("the pages are ready, first run", 8, " s", _one(lines, "start", "pages_s"), digits=1),
        _at_most("first whole answer of the local model, from the first run's start", 25, " s", _one(lines, "start", "first_answer_s"), digits=1),
        _at_most("web process, idle, chat page loaded: resident memory", 300, " MB", _one(lines, "start", "rss_idle_mb"), "812–1135 MB"),
        Verdict("torch in the web process", "no", "not measured" if not torch else "yes" if torch[0] else "no", not torch[0] if torch else None, "yes"),
    ]


def _api(lines):
    added = [
        _at_most(
            f"`/v1`, stored, {chats} {'chat' if chats == 1 else 'chats'}: added time to the first token, p50",
            limit,
            " ms",
            against(lines, "api", "direct", chats, "ttft_p50_ms", lambda a, b: a - b),
            f"{OPEN_WEBUI_ADDED_TTFT_MS[chats]} ms",
        )
        for chats, limit in ADDED_TTFT_MS.items()
    ]
    ratio = against(lines, "api", "floor", 50, "cpu_us_per_token", lambda a, b: a / b)
    behind = _one(lines, "kill_9", "text_behind_max_s")
    return [
        *added,
        _at_most("`/v1`, stored, 50 chats: token latency, p95", 50, " ms", values(lines, "api", 50, "token_latency_p95_ms"), "152 ms", 1),
        _at_most("`/v1`, stored, 50 chats: CPU per token", 150, " µs", values(lines, "api", 50, "cpu_us_per_token"), "1376 µs"),
        _at_most("the same, against the floor of the same block", 2, "x", ratio, "14x", 2),
        _failed(lines),
        _at_most("writes of an answer's row, 100 tokens", 4, "", values(lines, "api", 1, "sql_commits_per_answer"), digits=1),
        Verdict(
            "text behind after kill -9, worst answer",
            "≤ 1 s",
            f"{max(behind):.2f} s" if behind else "not measured",
            max(behind) <= 1 if behind else None,
            "all of it lost",
        ),
    ]


def _failed(lines):
    api = [line for line in lines if line.get("figure") == "streams" and line["path"] == "api"]
    failed, turns = sum(line["failed"] for line in api if line["chats"] == 50), sum(line["turns"] for line in api if line["chats"] == 50)
    return Verdict(
        "`/v1`, stored, 50 chats: failed, or stored otherwise than streamed",
        "0 of 1,500",
        f"{failed} of {turns:,}",
        not failed if turns else None,
        "up to 43 of 150",
    )


def _page(lines):
    page = [
        values(lines, "page", chats, name) for chats, name in ((10, "token_latency_p95_ms"), (10, "ttft_p95_ms"), (50, "ttft_p50_ms"), (50, "total_p50_ms"))
    ]
    return [
        _at_most("chat page, 10 chats: token latency, p95", 200, " ms", page[0], "337 ms *"),
        _at_most("chat page, 10 chats: time to the first token, p95", 400, " ms", page[1], "326 ms *"),
        _at_most("chat page, 50 chats: time to the first token, p50", 1500, " ms", page[2], "3529 ms *"),
        _at_most("chat page, 50 chats: whole answer, p50", 3000, " ms", page[3], "6940 ms *"),
        _at_most("chat page, 10 chats: from the click on Stop to a free model, p95", 200, " ms", _one(lines, "stop", "freed_p95_ms")),
    ]


def _documents(lines):
    share = _one(lines, "ingest", "embedder_share_percent")
    return [
        _at_most("hybrid search in 100,000 chunks, p50", 25, " ms", _one(lines, "retrieval", "total_p50_ms", chunks=100_000), digits=1),
        _at_most("conversation of 500 messages: the store opens it at its last 100, p50", 50, " ms", _one(lines, "thread", "open_p50_ms"), digits=1),
        _at_most("the same: a turn is stored and the history of its prompt read, p50", 50, " ms", _one(lines, "thread", "accept_p50_ms"), digits=1),
        Verdict(
            "taking text in: the embedder's share of the time",
            "≥ 90 %",
            f"{share[0]:.1f} %" if share else "not measured",
            share[0] >= 90 if share else None,
        ),
        _at_most("300 Markdown files, 3,000 chunks taken in: memory kept above idle, 10 s later", 50, " MB", _one(lines, "memory", "kept_mb"), digits=1),
    ]


def _voice(lines):
    at_once, streams = {"model": "answers at once", "asks": "rms"}, {"model": "streams"}
    return [
        _at_most("call: last word to first sound, without the model's time, p50", 500, " ms", _one(lines, "voice", "p50_ms", **at_once), "LiveKit 1200 ms †"),
        _at_most("call: the same, p95", 750, " ms", _one(lines, "voice", "p95_ms", **at_once), "LiveKit 3000 ms (p90) †"),
        _at_most("call: the same with a model that streams after 0.3 s, p50", 900, " ms", _one(lines, "voice", "p50_ms", **streams)),
        _at_most("call: the same, p95", 1400, " ms", _one(lines, "voice", "p95_ms", **streams)),
        _at_most("call: from talking into an answer to its silence, p95", 250, " ms", _one(lines, "interruption", "p95_ms")),
        _at_most("call: turns without a sound", 0, "", [sum(_one(lines, "voice", "without_sound"))] if _one(lines, "voice", "without_sound") else []),
        _at_most(
            "call: words heard wrong, of flite's rms and slt (the lower and the higher of the two)",
            7,
            " %",
            [100 * share for share in _one(lines, "voice", "word_error_rate", model="answers at once")],
            digits=1,
        ),
    ]


def _moved(lines, name):
    """By how many percent a busy console moves a figure of the chats in the chat page."""
    alone, beside = (_one(lines, "console chats", name, path="chat page", busy=busy) for busy in (False, True))
    return [100 * (b / a - 1) for a, b in zip(alone, beside, strict=True)]


def _console(lines):
    pages = [(line["page"], line["warm_p50_s"]) for line in lines if line.get("figure") == "console page" and not line["page"].startswith("map")]
    slowest = max(pages, key=lambda page: page[1], default=("", None))
    found = [slowest[1]] if slowest[1] is not None else []
    runs = [line["warm_p50_s"] for line in lines if line.get("figure") == "console page" and line["page"] == "runs"]
    maps = [line["first_s"] for line in lines if line.get("figure") == "console page" and line["page"].startswith("map")]
    return [
        _at_most(f"console, 200,000 chunks, 10,000 conversations, 1,000,000 events: the slowest page ({slowest[0]}), warm", 2, " s", found, digits=2),
        _at_most("console: the list of 10,000 runs, warm", 1, " s", runs, digits=2),
        _at_most("console: the map of 20,000 passages, first time", 3, " s", maps, digits=2),
        _at_most("console: five open overviews, of one core", 15, " %", _one(lines, "console watched", "core_percent"), digits=1),
        _at_most("chat page, 10 chats beside a busy console: token latency p95, more than alone", 10, " %", _moved(lines, "token_latency_p95_ms"), digits=1),
        _at_most("the same: time to the first token, p95, more than alone", 10, " %", _moved(lines, "ttft_p95_ms"), digits=1),
    ]


def _pipelines(lines):
    return [
        _at_most("pipeline run here: of one step, in all", 4, " s", _one(lines, "pipeline run", "one_step_s"), digits=2),
        _at_most("pipeline run here: each further step", 0.3, " s", _one(lines, "pipeline run", "further_step_s"), digits=3),
        _at_most("pipeline run here: terminated", 1, " s", _one(lines, "pipeline run", "terminate_p50_s"), digits=2),
    ]
