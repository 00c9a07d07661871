"""docs/benchmarks.md: the measured lines as tables."""

from bench.verdicts import cell, spread, values, verdicts

PATHS = {"direct": "the stub itself", "floor": "floor", "api": "Hearth `/v1`, stored", "page": "Hearth's chat page"}
HEAD = """# Benchmarks

Written by `make bench`; do not edit. Every raw figure is in [benchmarks.jsonl](benchmarks.jsonl).

{machine}

| What | Target | Measured | Met | Open WebUI |
|---|---|---|---|---|
{rows}

"Measured" is the median of the blocks, with the lowest and the highest block in brackets. The last column: Open WebUI 0.12.4 (SQLite, one worker) with the
same stub and the same load, measured on another day on a machine with 2 cores; `*`: plain Gradio 6.31 with one update per token, same day. Absolute
milliseconds move with the machine, so that column says how far apart things are and is no race. `†`: third parties' figures with models in the cloud.
"""
STREAMS = """
## Streams

A stub model answers each chat with 100 tokens at 50 a second, the first after 50 ms; the ideal time of a whole answer is 2.03 s. Stub, floor, Hearth and the
client that measures are processes of this one machine and share its {cores} cores, so milliseconds are upper bounds. Each block runs every row
once: direct, floor, API and page take turns. Every token carries the moment it left the stub; "late" is how old it was when the client had it, without the
first token of each answer. A chat counts as failed unless every token came once and in order and the answer read back from the API is the same text.

The **floor** is a Starlette relay that passes bytes through and neither knows users nor stores anything. **Hearth `/v1`** is the whole house as `hearth up`
starts it, chat page included, with a user, a key and a new conversation for every chat. **The chat page** is opened and driven by its own events and streams
as a browser does it, without a browser's drawing. CPU is that of the one process that serves, from the first chat to 0.7 s after the last.

| Path | Chats | Turns | Failed | First token p50 / p95 ms | Late p50 / p95 / p99 ms | Whole p50 ms | CPU µs/token | Bytes/token | RSS MB | Load average |
|---|---|---|---|---|---|---|---|---|---|---|
{rows}

Writes per answer, storage on:

| Path | Chats | Statements that write | Transactions that write |
|---|---|---|---|
{writes}

A statement is one INSERT, UPDATE or DELETE sent to SQLite, whichever table it is for: conversation, question and placeholder, events, checkpoints, the final
text, events again (`hearth_sql_writes` in `/metrics`). A transaction is one commit and one wait for the disk (`hearth_sql_commits`). With one chat open each
transaction writes the answer's row exactly once (placeholder, checkpoints, final text): that is the figure in the table above. With many chats open one
transaction and one statement carry the checkpoints of all.

{stop}

{kill}
"""
START = """
## Start

`hearth up` on an empty home with the embedded models fetched; seconds since the process was started.

| | First run | Started again |
|---|---|---|
| `/healthz` | {healthz_s} s | {again_healthz_s} s |
| `/readyz`, pages there | {pages_s} s | {again_pages_s} s |
| first word of the local model (set-up link opened, plain question) | {first_token_s} s | |
| its whole answer | {first_answer_s} s | |
| a document taken in and an answer that cites it | {first_cited_answer_s} s | |

Resident memory of the web process: {rss_idle_mb} MB idle with the chat page loaded, {rss_after_answers_mb} MB after the answers above. The models live in a
process of their own ({inference_rss_mb} MB). MB are 10^6 bytes.
"""
RETRIEVAL = """
## Retrieval

`core.rag.retrieval.Retrieval` on the embedded store: vectors by numpy, words by FTS5, side by side, then fusion; exact, not approximate. Passages
of 100 words with Zipf's distribution over 30,000 words; a question is six words of one passage. The echo embedder runs in the same process; a real one
adds its own time. One question at a time; the first one reads the vectors into memory.

| Chunks | Questions | All p50 / p95 ms | Embed | Meaning | Words | Fuse | Load | First question ms |
|---|---|---|---|---|---|---|---|---|
{rows}

Stages are p50 in ms; meaning and words overlap.
"""
INGEST = """
## Taking documents in

{text_bytes:,} bytes of plain English with the real `minilm-l6` on the CPU, {chunks} chunks: {wall_s} s, of which {embedder_s} s were spent waiting for
vectors ({embedder_share_percent} %). Everything else (reading in a child process, cutting, storing, indexing) takes {other_ms_per_chunk} ms per chunk.
"""
MEMORY = """
## Memory

{files} Markdown files of ten sections are uploaded over the API to `hearth up` with its chat page and the echo embedder; {chunks:,} chunks, {wall_s} s.
Resident memory of the web process: {idle_mb} MB before (after a first document, so that nothing is loaded for the first time), {peak_mb} MB at the highest of
ten looks a second, {after_mb} MB ten seconds after the last job.
"""
VOICE = """
## Calls

A real Chromium calls a house with PocketSphinx, Silero and flite ({date}, commit {commit}, {processor}, {cores} cores).
Its microphone is a file of flite's speech; the wait is from the last loud sample that the microphone heard to the first loud one where sound leaves the page,
on one clock. Stages are p50 in ms and begin where the one before ends; what was done before the turn ended took nothing.

| Model | Asks | Turns | Without a sound | p50 / p95 ms | Words wrong | Endpoint | Text | First word | First sound | Playback | Load |
|---|---|---|---|---|---|---|---|---|---|---|---|
{rows}

{interruption}
"""
CONSOLE = """
## The console

A real Chromium opens each page of a house with {chunks:,} chunks, {conversations:,} conversations and {events:,} events ({date}, commit {commit}, {processor},
{cores} cores), from the navigation until the page's script has run to its end: the first time, and the median of three more.

| Page | First s | Warm s |
|---|---|---|
{rows}
"""
BESIDE = """
{chats} chats at once, in the chat page and over `/v1`, each alone and while five admins click from one page to the next ({pages_opened} in all), in turns.
The admins' browsers have one core to themselves; house, model and chats share the other, also while nobody is in the console.

| Chats | Console | Turns | Failed | Token latency p50 ms | p95 ms | First token p50 ms | p95 ms | Whole p50 ms |
|---|---|---|---|---|---|---|---|---|
{rows}
"""
PIPELINES = """
## Pipelines

Runs on this machine, over the API of a running house ({date}, commit {commit}, {processor}, {cores} cores), in Argo's language with steps that do
nothing: from asking for a run until it is told to be over, so with the process, its logs in the store, and the polling of whoever asks.

| | |
|---|---|
| a run of one step, median of ten (longest) | {one_step_s} s ({one_step_max_s} s) |
| each further step, one after the other | {further_step_s} s |
| {fan_out} steps side by side, the whole run | {fan_out_s} s |
| a run that sleeps, terminated: until it is over, median of ten (longest) | {terminate_p50_s} s ({terminate_max_s} s) |
"""
EVALUATION = """
`evaluate-rag`, the pipeline that ships, over the handbook of [retrieval.md](retrieval.md) ({questions} questions of its tuning half that stand for
themselves; one run for each setting, compared as one experiment):

| top_k | Reranked | Characters of a passage | {names} | Run s |
|---|---|---|{lines}---|
{rows}
"""
SERVERS = """
## On servers

The same house embedded and over servers from packages, on one machine in one run ({date}, commit {commit}, {processor}, {cores} cores). PostgreSQL 18 keeps to
`fsync`; a turn is a stored question with its answer of one token, and what the model alone takes is taken off.

| What | Target | Embedded | On servers |
|---|---|---|---|
{rows}

Milvus 2.3.5 has no full text: its words are found in the rows. The copy of {chunks:,} chunks into it took {copied_per_s:,} chunks a second, and it found
{recall_at_10:.0%} of the ten nearest.
"""
TAIL = """
## Repeat it

    make bench          # everything above, about ten minutes; writes this file
    make bench-voice WRITE=1    # calls, about half an hour; writes their part of this file
    make bench-console WRITE=1  # the console over a large house, about a quarter of an hour; writes its part of this file
    make bench-pipelines WRITE=1    # pipelines, about three minutes; writes their part of this file
    make bench-servers WRITE=1      # the house on servers, about five minutes; writes their part of this file
    make bench-short    # under a minute, JSON lines; fails on counts and ratios, never on milliseconds

Both need nothing but the clone: the stub, the floor and the load are in `tests/bench/`, and everything stays on loopback. Close what else is running:
load averages are in the tables because CPU per token and tails move with them. Compare rows of one run only.
"""


def document(machine, lines):
    """The whole page."""
    rows = "\n".join(f"| {v.measure} | {v.target} | {v.measured} | {_met(v.met)} | {v.elsewhere} |" for v in verdicts(lines))
    parts = [HEAD.format(machine=_about(machine), rows=rows), _streams(machine, lines)]
    parts += [START.format(**line) for line in lines if line["figure"] == "start"]
    parts += [_retrieval(lines)]
    parts += [INGEST.format(**line) for line in lines if line["figure"] == "ingest"]
    parts += [MEMORY.format(**line) for line in lines if line["figure"] == "memory"]
    parts += [_voice(lines)] if any(line["figure"] == "voice" for line in lines) else []
    pages = [line for line in lines if line["figure"] == "console page"]
    rows = "\n".join(f"| {line['page']} | {line['first_s']} | {line['warm_p50_s']} |" for line in pages)
    parts += [CONSOLE.format(**pages[0], rows=rows)] if pages else []
    parts += _beside(lines)
    parts += [PIPELINES.format(**line) for line in lines if line["figure"] == "pipeline run"]
    parts += _evaluation(lines)
    parts += _servers(lines)
    parts += ["\n## Not measured\n\n" + "\n".join(f"- {m['what']}: {m['reason']}" for m in lines if m["figure"] == "missing") + "\n"] if _missing(lines) else []
    return "".join([*parts, TAIL])


def _beside(lines):
    found = [line for line in lines if line["figure"] == "console chats"]
    named = ("turns", "failed", "token_latency_p50_ms", "token_latency_p95_ms", "ttft_p50_ms", "ttft_p95_ms", "total_p50_ms")
    rows = "\n".join(f"| {line['path']} | {'busy' if line['busy'] else 'not open'} | {' | '.join(str(line[name]) for name in named)} |" for line in found)
    return [BESIDE.format(chats=found[0]["chats"], pages_opened=sum(line["pages_opened"] for line in found), rows=rows)] if found else []


def _servers(lines):
    found = {(line["figure"], line.get("house") or line.get("records") or line.get("index") or line.get("to")): line for line in lines}
    about = next((line for line in lines if line["figure"] == "turn overhead"), None)
    if about is None:
        return []
    chats = [found["many chats", where] for where in ("embedded", "servers")]
    events = [found["recorder", where] for where in ("sqlite", "postgres_18")]
    moved = [found["migrate", where] for where in ("home", "servers")]
    asked = [found["vectors", where] for where in ("embedded", "milvus-2.3")]
    added = [f"{about[where]['p50_ms']} ({about[where]['p95_ms']}) ms" for where in ("embedded", "servers")]
    rows = [
        ("a turn over `/v1` with PostgreSQL, NATS and Valkey: added, p50 (p95)", "≤ 2x", added[0], f"{added[1]}, {about['ratio_p50']}x"),
        ("50 chats at once: failed, of all", "0 of 1,500", *(f"{line['failed']} of {line['turns']:,}" for line in chats)),
        ("the same: time to the first token, p50 (p95)", "", *(f"{line['ttft_p50_ms']:.0f} ({line['ttft_p95_ms']:.0f}) ms" for line in chats)),
        (
            f"hybrid search in {asked[0]['chunks']:,} chunks, p50 (p95); Milvus 2.3.5",
            "",
            *(f"{line['total_p50_ms']:.1f} ({line['total_p95_ms']:.1f}) ms" for line in asked),
        ),
        (
            f"{events[0]['events']:,} events, each delivered 1 to 5 times and shuffled, recorded by SQLite; by PostgreSQL",
            "≤ 10 s",
            *(f"{line['seconds']} s, {line['lost']} lost, {line['doubled']} doubled" for line in events),
        ),
        (
            f"`hearth migrate` of {moved[0]['chunks']:,} chunks: to the home folder; to PostgreSQL",
            "≥ 5,000 chunks/s",
            *(f"{line['chunks_per_s']:,} chunks/s" for line in moved),
        ),
    ]
    return [SERVERS.format(rows="\n".join(f"| {' | '.join(row)} |" for row in rows), **asked[1] | about)]


def _evaluation(lines):
    found = [line for line in lines if line["figure"] == "pipeline evaluation"]
    if not found:
        return []
    names = [name for name in found[0]["metrics"] if name != "questions"]
    rows = [
        f"| {line['top_k']} | {'yes' if line['rerank'] else 'no'} | {line['chunk_chars']} | {' | '.join(str(line['metrics'][n]) for n in names)}"
        f" | {line['run_s']} |"
        for line in found
    ]
    return [EVALUATION.format(questions=found[0]["questions"], names=" | ".join(names), lines="---|" * len(names), rows="\n".join(rows))]


def _voice(lines):
    rows = []
    for line in lines:
        if line["figure"] != "voice":
            continue
        stages = " | ".join(str(line["stages_p50_ms"].get(stage, "–")) for stage in ("endpoint", "stt", "llm_ttft", "tts_ttfb", "playback"))
        waits = f"{line['p50_ms']} / {line['p95_ms']}"
        rows.append(
            f"| {line['model']} | {line['asks']} | {line['turns']} | {line['without_sound']} | {waits} | {100 * line['word_error_rate']:.1f} % | {stages}"
            f" | {line['load_average_1min']} |"
        )
    about = next(line for line in lines if line["figure"] == "voice")
    said = [
        f"Of {line['interruptions']} sentences that were said into an answer, {line['not_interrupted']} met silence. From the first loud sample of the others"
        f" to the last of the answer {line['p50_ms']} ms (p50), {line['p95_ms']} ms (p95) passed: it is lowered until nothing is loud, then cancelled."
        for line in lines
        if line["figure"] == "interruption"
    ]
    return VOICE.format(rows="\n".join(rows), interruption="\n".join(said), **{name: about[name] for name in ("date", "commit", "processor", "cores")})


def _missing(lines):
    return any(line["figure"] == "missing" for line in lines)


def _met(met):
    return "–" if met is None else "yes" if met else "**no**"


def _about(machine):
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['date']}, commit {machine['commit']}. {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}. "
        f"{versions}.\n{machine['size']}"
    )


def _streams(machine, lines):
    cells = sorted({(line["chats"], list(PATHS).index(line["path"])) for line in lines if line["figure"] == "streams"})
    named = [(list(PATHS)[path], chats) for chats, path in cells]
    rows = "\n".join(_stream_row(lines, path, chats) for path, chats in named)
    writes = "\n".join(
        f"| {PATHS[path]} | {chats} | {spread(values(lines, path, chats, 'sql_writes_per_answer'), '', 2)} "
        f"| {spread(values(lines, path, chats, 'sql_commits_per_answer'), '', 2)} |"
        for path, chats in named
        if path in ("api", "page")
    )
    return STREAMS.format(cores=machine["cores"], rows=rows, writes=writes, stop=_stop(lines), kill=_kill(lines))


def _stream_row(lines, path, chats):
    def shown(*names, digits=0):
        return " / ".join(spread(values(lines, path, chats, n), "", digits) for n in names)

    blocks = cell(lines, path, chats).values()
    turns, failed = sum(b["turns"] for b in blocks), sum(b["failed"] for b in blocks)
    late = shown("token_latency_p50_ms", "token_latency_p95_ms", "token_latency_p99_ms", digits=1)
    return (
        f"| {PATHS[path]} | {chats} | {turns} | {failed} | {shown('ttft_p50_ms', 'ttft_p95_ms')} | {late} | {shown('total_p50_ms')} "
        f"| {shown('cpu_us_per_token')} | {shown('bytes_per_token')} | {shown('rss_mb')} | {shown('load_average_1min', digits=1)} |"
    )


def _stop(lines):
    stops = [line for line in lines if line["figure"] == "stop"]
    if not stops:
        return "Stop was not measured."
    return (
        f"**Stop** {stops[0]['stops']} times in the page while {stops[0]['chats']} answers grow: {stops[0]['freed_p50_ms']:.0f} ms (p50) and "
        f"{stops[0]['freed_p95_ms']:.0f} ms (p95) from the click until the model's server sees its client gone, which it notices up to a token (20 ms) late."
    )


def _kill(lines):
    kills = [line for line in lines if line["figure"] == "kill_9"]
    if not kills:
        return "kill -9 was not measured."
    kept, streams = sum(k["answers_kept"] for k in kills), sum(k["streams"] for k in kills)
    return (
        f"**kill -9** {len(kills)} times in the middle of {kills[0]['streams']} answers: after the next start {kept} of {streams} answers are there, marked as "
        f"interrupted, the worst {max(k['text_behind_max_s'] for k in kills):.2f} s of text behind what its client had read."
    )


def _retrieval(lines):
    rows = [
        f"| {line['chunks']:,} | {line['queries']} | {line['total_p50_ms']} / {line['total_p95_ms']} | "
        + " | ".join(str(line[f"{stage}_p50_ms"]) for stage in ("embed", "dense", "lexical", "fuse", "load"))
        + f" | {line['first_query_ms']} |"
        for line in lines
        if line["figure"] == "retrieval"
    ]
    return RETRIEVAL.format(rows="\n".join(rows)) if rows else ""
