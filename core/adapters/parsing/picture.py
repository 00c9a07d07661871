"""Pictures of text: photos, screenshots and scans, also of several pages (TIFF)."""

import io

from core.adapters.parsing import Read
from core.adapters.parsing.kinds import PICTURES
from core.adapters.parsing.ocr import Ocr
from core.adapters.parsing.plain import clean
from core.errors import TooLong, Unreadable
from core.rag.model import Section

MAX_PIXELS = 60_000_000
MAX_PAGES = 500


def read(data: bytes, name: str) -> Read:
    """One section per page with text. Raises: Unreadable without text or without the extra `ocr`, TooLong for a picture that would fill the memory."""
    what = next((w for magic, (_, w) in PICTURES.items() if data.startswith(magic)), "a picture")
    ocr = Ocr(name, what)
    from PIL import Image, ImageSequence, UnidentifiedImageError

    sections: list[Section] = []
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise TooLong(f"{name} has {picture.width:,} x {picture.height:,} pixels; at most {MAX_PIXELS:,} are read.", hint="Make it smaller.")
            pages = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
            if pages > MAX_PAGES:
                raise TooLong(f"{name} has {pages:,} pages; at most {MAX_PAGES} are read from pictures.", hint="Split it.")
            for number, page in enumerate(ImageSequence.Iterator(picture), 1):
                if page.width * page.height > MAX_PIXELS:
                    raise TooLong(f"Page {number} of {name} has too many pixels.", hint="Make it smaller.")
                if text := clean(ocr.text(page)).strip():
                    sections.append(Section(text, "", number if pages > 1 else None))
                if number == pages:
                    break
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise Unreadable(f"{name} is {what} that can't be opened.", hint="It may be damaged; save it again.") from error
    if not sections:
        raise Unreadable(f"{name} is {what} in which no text was found.", hint="Only printed text is read; a sharper scan may help.")
    return Read("", tuple(sections))
