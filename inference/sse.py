"""Server-sent events out of bytes that arrive cut anywhere.

Lines end at CR, LF or CRLF and nowhere else: `str.splitlines` also breaks at characters that JSON strings may hold raw (U+2028, U+0085).
Source: WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6.
"""


class EventReader:
    """Feeds on bytes and gives the data of each event that is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that these bytes complete, in order; comments and other fields are skipped."""
        buffer = self._rest + received
        if b"\r" in buffer:
            # A CR at the very end may be the first half of a CRLF: it waits for the next bytes.
            held = b"\r" if buffer.endswith(b"\r") else b""
            buffer = buffer[: len(buffer) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *lines, rest = buffer.split(b"\n")
            self._rest = rest + held
        else:
            *lines, self._rest = buffer.split(b"\n")
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
        return events
