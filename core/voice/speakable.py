"""What of a written answer is read aloud: its words, without the marks of Markdown, and without what nobody can listen to. Pure."""

import re

_FENCE = re.compile(r"^\s{0,3}(`{3,}|~{3,})")
_TABLE_RULE = re.compile(r"^\s*\|?[\s:|-]*-{2,}[\s:|-]*$")
_RULES = (
    (re.compile(r"!\[[^\]]*\]\((?:[^()]|\([^)]*\))*\)"), ""),  # pictures
    (re.compile(r"\[([^\]]+)\]\((?:[^()]|\([^)]*\))*\)"), r"\1"),  # links: their words
    (re.compile(r"\s*\[\d+\]"), ""),  # citations: the text carries them
    (re.compile(r"<?\b(?:https?|ftp)://[^\s>)]+>?|\bwww\.[^\s)]+"), "a link"),
    (re.compile(r"\$\$?[^$\n]+\$\$?"), "a formula"),
    (re.compile(r"</?[A-Za-z][^>]*>"), ""),
    (re.compile(r"^\s{0,3}(?:#{1,6}|>+|[-*+]|\d+[.)])\s+"), ""),  # headings, quotes, list marks
    (re.compile(r"`([^`]*)`"), r"\1"),
    (re.compile(r"\*{1,3}|~~|(?<!\w)_{1,3}|_{1,3}(?!\w)"), ""),
    (re.compile(r"\s*\|\s*"), ", "),
    (re.compile(r"\s+"), " "),
)


class Speakable:
    """Reads a text in the order it was written, in pieces that end with a line or inside one. Code is announced once per block and not read."""

    def __init__(self) -> None:
        self._fence = ""
        self._line = ""

    def feed(self, piece: str) -> str:
        """What of the next piece is spoken; "" where it is nothing."""
        spoken = []
        for line in piece.splitlines(keepends=True):
            begins = not self._line
            self._line = "" if line.endswith(("\n", "\r")) else self._line + line
            if begins and (mark := _FENCE.match(line)):
                if self._fence:
                    self._fence = "" if mark[1].startswith(self._fence) else self._fence
                else:
                    self._fence = mark[1]
                    spoken.append("The code is in the text.")
                continue
            if not self._fence and not _TABLE_RULE.match(line):
                spoken.append(_plain(line))
        return " ".join(filter(None, spoken))


def _plain(line: str) -> str:
    for pattern, instead in _RULES:
        line = pattern.sub(instead, line)
    line = line.strip(" ,") if line.strip().startswith(",") else line.strip()
    return line if re.search(r"\w", line) else ""
