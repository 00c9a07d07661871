"""Files for download: what a browser may show by itself, and the headers that keep everything else from running."""

from pathlib import Path
from urllib.parse import quote

from starlette.responses import FileResponse

SHOWN = {"application/pdf", "text/plain"}
"""What a browser may show by itself; everything else is downloaded, because it could carry a script."""


def file_response(path: Path, name: str, media_type: str) -> FileResponse:
    """A file for its owner, under that name. Only what can't carry a script is shown in place, and even that in a sandbox."""
    shown = media_type if media_type in SHOWN else "application/octet-stream"
    if media_type.startswith("text/") and media_type != "text/html":
        shown = "text/plain; charset=utf-8"
    disposition = "attachment" if shown == "application/octet-stream" else "inline"
    headers = {
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    if shown != "application/pdf":
        headers["Content-Security-Policy"] = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    return FileResponse(path, media_type=shown, headers=headers)
