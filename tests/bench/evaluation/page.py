"""docs/retrieval.md out of the lines of the final measurement; the method's text stands here, beside what it describes."""

from pathlib import Path

from bench.evaluation.rankings import SHIPPED

PAGE = Path(__file__).parents[3] / "docs" / "retrieval.md"
METHOD = Path(__file__).parent / "method.md"
CUT = "structure"
"""The way of cutting that ships."""


def page(lines):
    """The whole page: the method, and a table for each `{placeholder}` in it."""
    text = METHOD.read_text("utf-8")
    tables = {
        "corpora": corpora(lines),
        "rankings": rankings(lines),
        "sizes": sizes(lines),
        "answers": answers(lines),
        "refusals": refusals(lines),
        "trade_off": trade_off(lines),
    }
    for name, table in tables.items():
        text = text.replace(f"{{{name}}}", table)
    return text


def table(head, rows):
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows))


def estimate(value, scale=1.0, digits=3):
    """`mean [low, high]`."""
    mean, low, high = (f"{v * scale:.{digits}f}" for v in value)
    return f"{mean} [{low}, {high}]"


def percent(value):
    """The same in percent."""
    return estimate(value, 100, 0)


def _ranked(lines):
    shipped_size = next(line["chunk_chars"] for line in lines if line.get("ranking") not in (None, SHIPPED))
    return [line for line in lines if "ranking" in line], shipped_size


def corpora(lines):
    """How much text and how many questions the tables below rest on."""
    ranked, size = _ranked(lines)
    rows = [line for line in ranked if line["ranking"] == SHIPPED and (line["chunk_chars"], line["cut"]) == (size, CUT)]
    return table(
        ("corpus", "documents", f"passages of {size} characters", "questions with a wanted passage"),
        [(r["corpus"], r["documents"], r["passages"], r["questions"]) for r in rows],
    )


def rankings(lines):
    """One row per ranking and corpus."""
    ranked, size = _ranked(lines)
    rows = []
    for r in (line for line in ranked if (line["chunk_chars"], line["cut"]) == (size, CUT)):
        shipped = r["ranking"] == SHIPPED
        measures = [estimate(r[m]) for m in ("ndcg@10", "recall@5", "mrr")]
        rows.append((r["corpus"], bold(r["ranking"], shipped), *measures, "" if shipped else estimate(r["less"])))
    return table(("corpus", "ranking", "nDCG@10", "recall@5", "MRR", "nDCG@10 less the shipped one's"), rows)


def sizes(lines):
    """The shipped ranking at every chunk size, and with the rival way of cutting."""
    ranked, size = _ranked(lines)
    rows = []
    for r in sorted((line for line in ranked if line["ranking"] == SHIPPED), key=lambda r: (r["corpus"], r["cut"], r["chunk_chars"])):
        cut = bold(f"{r['cut']}, {r['chunk_chars']}", (r["chunk_chars"], r["cut"]) == (size, CUT))
        rows.append((r["corpus"], cut, r["passages"], estimate(r["ndcg@10"]), estimate(r["recall@5"])))
    return table(("corpus", "cut by, characters", "passages", "nDCG@10", "recall@5"), rows)


def bold(cell, shipped):
    """What ships stands out."""
    return f"**{cell}**" if shipped else cell


def answers(lines):
    """How often the answer stands in what was quoted."""
    head = ("corpus", "questions", "right, %", "by the first quote alone", "without a threshold", "wanted passage among the three", "characters quoted")
    rows = []
    for r in (line for line in lines if "answers" in line):
        shares = [percent(r[name]) for name in ("right", "right_first", "right_anyway", "reachable")]
        rows.append((r["answers"], r["questions"], *shares, r["mean_chars"]))
    return table(head, rows)


def refusals(lines):
    """How often a question without an answer got none."""
    return table(("kind", "questions", "refused, %"), [(r["unanswerable"], r["questions"], percent(r["refused"])) for r in lines if "unanswerable" in r])


def trade_off(lines):
    """What other thresholds would give on the same questions."""
    return table(
        ("threshold", "right, %", "refused, %"),
        [(f"{r['trade_off']:.2f}", f"{r['right'] * 100:.0f}", f"{r['refused'] * 100:.0f}") for r in lines if "trade_off" in r],
    )
