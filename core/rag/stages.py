"""Where a search's time went, out of its trace. Pure."""

from collections.abc import Mapping

from core.traces import Spent

OF_SEARCH = ("embed", "dense", "lexical", "fuse", "load", "rerank")


def search_stages(spent_ms: Mapping[str, float]) -> list[Spent]:
    """Its stages in order. Meaning (dense) and words (lexical) are searched side by side."""
    found: list[Spent] = []
    at, begun = 0.0, {"lexical": 0.0, "dense": float(spent_ms.get("embed", 0.0))}
    for stage in OF_SEARCH:
        if stage in spent_ms:
            start = begun.get(stage, at)
            found.append((stage, start, float(spent_ms[stage])))
            at = max(at, start + float(spent_ms[stage]))
    return found
