"""Text in pictures, by RapidOCR with the models that its package carries: nothing is fetched. An extra, because it brings onnxruntime and OpenCV."""

from importlib.util import find_spec
from typing import Any

from core.errors import Unreadable

MIN_SCORE = 0.5
"""A line recognised with less certainty is noise more often than text."""
MAX_SIDE_PX = 2000
"""Larger pictures are made smaller first: letters of a page stay legible and the memory stays in bounds."""
FRUGAL = {
    "Global.log_level": "critical",
    "Global.use_cls": False,  # lines that stand on their head are rare, and looking for them costs every page
    "Det.limit_type": "max",
    "Det.limit_side_len": 1280,
    "Rec.rec_batch_num": 1,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}
"""A page in less than 900 MB of address space and about 4 s of one core."""


class Ocr:
    """Recognises printed text, line by line. Made once per document, because loading its models takes a second."""

    def __init__(self, name: str, what: str) -> None:
        """name, what: of the file, for the sentence. Raises: Unreadable if the extra isn't installed."""
        if find_spec("rapidocr") is None:
            raise Unreadable(
                f"{name} is {what}, and reading text in pictures is not installed.",
                hint="Install it with `pip install 'hearth[ocr]'` and retry, or run OCR over the file first.",
            )
        from rapidocr import RapidOCR

        self._engine = RapidOCR(params=FRUGAL)

    def text(self, picture: Any) -> str:
        """The text of a PIL image in reading order, a line per line; "" where there is none. Raises: MemoryError."""
        import numpy as np
        from PIL import Image
        from rapidocr.inference_engine.onnxruntime.main import ONNXRuntimeError

        picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
        picture = picture.convert("RGBA")
        paper = Image.new("RGB", picture.size, "white")  # black letters on nothing would become black on black
        paper.paste(picture, mask=picture)
        try:
            found = self._engine(np.asarray(paper)[:, :, ::-1])  # OpenCV's order of colours
        except ONNXRuntimeError as error:  # it has no other reason than std::bad_alloc: the models are its own
            raise MemoryError from error
        lines = zip(found.txts or (), found.scores or (), strict=True)
        return "\n".join(text for text, score in lines if score >= MIN_SCORE)
