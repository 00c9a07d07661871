"""Golden sets: questions with the passages that answer them, by which retrieval is judged."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.errors import BadInput

Origin = Literal["lab", "good", "bad"]
NAME = re.compile(r"[\w. -]{1,60}")
MAX_QUESTION_CHARS = 2000


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """A question to a collection. chunk_ids: of the passages that answer it; () where it should be refused, or nobody has judged it yet.

    origin: chosen in the lab, or an answer that somebody found good or bad.   message_id: of the answer that the question comes from, or ""; it goes when the
    conversation of that answer is deleted.
    """

    id: str
    golden_set: str
    question: str
    owner_id: str
    collections: tuple[str, ...]
    chunk_ids: tuple[str, ...]
    refuse: bool
    origin: Origin
    message_id: str
    made_at: datetime

    def __post_init__(self) -> None:
        """Raises: BadInput."""
        if not NAME.fullmatch(self.golden_set):
            raise BadInput("A golden set has a name of 1 to 60 letters, digits, spaces or . _ -.", hint="It is also the name of the file when it is exported.")
        if not self.question.strip() or len(self.question) > MAX_QUESTION_CHARS:
            raise BadInput(f"A question of a golden set has 1 to {MAX_QUESTION_CHARS} characters.")
        if self.refuse and self.chunk_ids:
            raise BadInput("A question that should be refused has no right passage.", hint="Leave the passages out, or don't ask for a refusal.")
