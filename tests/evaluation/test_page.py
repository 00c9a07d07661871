from bench.evaluation.page import page
from bench.evaluation.rankings import RANKINGS, SHIPPED

SURE = [0.5, 0.4, 0.6]


def ranked(name, size):
    measures = {"ndcg@10": SURE, "recall@5": SURE, "mrr": SURE, "less": [-0.1, -0.2, 0.0]}
    return {
        "corpus": "handbook",
        "half": "test",
        "chunk_chars": size,
        "cut": "structure",
        "documents": 50,
        "passages": 53,
        "ranking": name,
        "questions": 87,
    } | measures


LINES = [
    *(ranked(name, 700) for name in RANKINGS),
    {"answers": "all", "questions": 137, "mean_chars": 160, "right": SURE, "right_first": SURE, "right_anyway": SURE, "right_lead": SURE, "reachable": SURE},
    {"unanswerable": "fact missing", "questions": 40, "refused": SURE},
    {"trade_off": 0.5, "right": 0.7, "refused": 0.6},
    ranked(SHIPPED, 400),
]


def test_the_page_has_every_table_and_what_ships_stands_out():
    text = page(LINES)
    assert "{" not in text
    assert f"| handbook | **{SHIPPED}** | 0.500 [0.400, 0.600] |" in text
    assert "| handbook | **structure, 700** | 53 |" in text
    assert text.index("| handbook | structure, 400 |") < text.index("| handbook | **structure, 700** |")
    assert "| all | 137 | 50 [40, 60] |" in text
    assert "| 0.50 | 70 | 60 |" in text
