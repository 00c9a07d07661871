"""Opening a PDF, with a sentence for one that can't be opened. Only for child processes: nothing here may be imported by the web process."""

from pathlib import Path

import pypdfium2 as pdfium

from core.errors import Unreadable

PASSWORD_ERROR = 4
"""FPDF_ERR_PASSWORD of pdfium's public header fpdfview.h."""


def opened(source: bytes | Path, name: str) -> pdfium.PdfDocument:
    """The document, to be closed by the caller. Raises: Unreadable for an encrypted or damaged file."""
    try:
        return pdfium.PdfDocument(source)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == PASSWORD_ERROR or "password" in str(error).lower():
            raise Unreadable(f"{name} is encrypted.", hint="Remove the password and upload it again.") from error
        raise Unreadable(f"{name} is damaged and can't be opened as a PDF.", hint="Save or download it again.") from error
