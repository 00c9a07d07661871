"""Turns a GGUF file into a safetensors folder: `python -m inference.convert_gguf FILE FOLDER`. Done once, because loading GGUF takes fifteen seconds."""

import os
import sys
from pathlib import Path


def convert(gguf: Path, folder: Path) -> None:
    """Writes model, tokenizer and generation settings. Raises: OSError, ValueError for a file that can't be read."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # On a CPU the weights are whole numbers no more, but the model still calls itself quantised and refuses to be saved.
    model.hf_quantizer = None
    model.is_quantized = False
    model.config.__dict__.pop("quantization_config", None)
    folder.mkdir(parents=True)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
