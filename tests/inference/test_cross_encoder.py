"""The cross-encoder: on a tiny network made here, whose score can be counted by hand, and on the fetched one where it is here."""

import struct

import pytest

from core.errors import ModelError, ModelMissing
from core.inference import Service
from inference.catalog import entry
from inference.engine import EngineSettings
from inference.engines.reranker_cross_encoder import QUESTION_TOKENS, CrossEncoder
from inference.residency import Resident

pytestmark = pytest.mark.anyio
WORTH = {"[PAD]": 0, "[UNK]": 0, "[CLS]": 0, "[SEP]": 0, "cat": 1, "mat": 10, "sat": 100}
"""The tiny network's score is the worth of the passage's words together; the question's count nothing."""


# An ONNX file is a message of protobuf: numbered fields, each a number or bytes with their length. The package onnx is not needed for one of five nodes.
# Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def message(*fields):
    """fields: (number, value); a value is an int, text or bytes."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


FLOAT, INT64 = 1, 7


def value(name, kind, *dims):
    shape = message(*((1, message((2, d) if isinstance(d, str) else (1, d))) for d in dims))
    return message((1, name), (2, message((1, message((1, kind), (2, shape))))))


def constant(name, kind, numbers):
    return message((1, len(numbers)), (2, kind), (8, name), (9, struct.pack(f"<{len(numbers)}{'f' if kind == FLOAT else 'q'}", *numbers)))


def node(kind, inputs, output, **attributes):
    """attributes: whole numbers."""
    named = [(5, message((1, name), (3, number), (20, 2))) for name, number in attributes.items()]
    return message(*((1, name) for name in inputs), (2, output), (4, kind), *named)


def network(inputs):
    """(n, T) of ids and of types, and what else a tokenizer gives → (n, 1), the sum of the worth of those whose type is 1."""
    nodes = [
        node("Gather", ["worth", "input_ids"], "each"),
        node("Cast", ["token_type_ids"], "of_passage", to=FLOAT),
        node("Mul", ["each", "of_passage"], "counted"),
        node("ReduceSum", ["counted", "axes"], "logits", keepdims=1),
    ]
    constants = [constant("worth", FLOAT, list(WORTH.values())), constant("axes", INT64, [1])]
    given = [value(name, INT64, "n", "T") for name in inputs]
    graph = message(*((1, n) for n in nodes), (2, "tiny"), *((5, c) for c in constants), *((11, v) for v in given), (12, value("logits", FLOAT, "n", 1)))
    return message((1, 8), (7, graph), (8, message((2, 17))))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import BertProcessing

    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORTH)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.post_processor = Whitespace(), BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=512)  # as the fetched one is saved, which would cost each sentence a whole window
    folder = tmp_path_factory.mktemp("cross-encoder")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.onnx").write_bytes(network(["input_ids", "attention_mask", "token_type_ids"]))
    return folder


@pytest.fixture
async def engine(tiny):
    made = CrossEncoder(EngineSettings(tiny, 1, 64))
    yield made
    await made.close()


async def test_a_score_is_the_networks_logit_of_question_and_passage(engine):
    assert await engine.rerank("mat", ["cat", "the cat sat", "mat mat", ""]) == [1, 101, 20, 0]
    assert engine.device == "cpu"


async def test_a_score_depends_neither_on_the_order_nor_on_what_else_is_asked(engine):
    passages = ["cat " * n + "mat" for n in (40, 1, 12, 3)]
    scores = await engine.rerank("sat", passages)
    assert (await engine.rerank("sat", passages[::-1]))[::-1] == scores
    assert [(await engine.rerank("sat", [p]))[0] for p in passages] == scores


async def test_no_passages_have_no_scores(engine):
    assert await engine.rerank("cat", []) == []


async def test_a_passage_that_is_too_long_is_read_as_far_as_the_window_goes(engine):
    assert await engine.rerank("mat", ["cat " * 5000]) == [64 - 4]


async def test_a_question_that_is_too_long_is_cut_before_the_passage(tiny, engine):
    assert await engine.rerank("mat " * 5000, ["cat " * 5000]) == [64 - 16 - 3]
    whole = CrossEncoder(EngineSettings(tiny, 1, 4096))
    assert await whole.rerank("mat " * 5000, ["cat " * 5000]) == [512 - QUESTION_TOKENS - 3], "no more than there are places for"
    await whole.close()


async def test_a_network_is_given_only_what_it_takes(tiny, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    (tmp_path / "model.onnx").write_bytes(network(["input_ids", "token_type_ids"]))
    engine = CrossEncoder(EngineSettings(tmp_path, 1, 64))
    assert await engine.rerank("mat", ["cat"]) == [1]
    await engine.close()


async def test_a_folder_with_such_a_network_needs_no_entry_in_the_catalogue(tiny, tmp_path):
    async with Resident(entry(f"file://{tiny}", Service.RERANKER), tmp_path, threads=1, idle_s=0).used() as engine:
        assert await engine.rerank("mat", ["sat"]) == [100]


async def test_what_is_missing_or_broken_is_said_with_the_command_that_helps(tiny, tmp_path):
    with pytest.raises(ModelMissing, match="hearth models fetch ms-marco-minilm-l12"):
        async with Resident(entry("ms-marco-minilm-l12"), tmp_path, threads=1, idle_s=-1).used():
            pass
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    folder = entry(f"file://{tmp_path}", Service.RERANKER)
    with pytest.raises(ModelError, match=r"can't be loaded: tokenizer.json is missing.*hearth models fetch"):
        async with Resident(folder, tmp_path, threads=1, idle_s=-1).used():
            pass
    (tmp_path / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    with pytest.raises(ModelError, match=r"model\.onnx or tokenizer\.json can't be read"):
        async with Resident(folder, tmp_path, threads=1, idle_s=-1).used():
            pass


@pytest.mark.models
class TestFetchedModel:
    """`hearth models fetch ms-marco-minilm-l12` brings it."""

    async def test_an_answer_scores_above_a_mention_of_the_topic_and_that_above_anything_else(self, models_folder):
        wanted = entry("ms-marco-minilm-l12")
        if not (models_folder / wanted.name / "complete.json").is_file():
            pytest.skip(f"{wanted.name} is not fetched: `hearth models fetch {wanted.name} --home .test-home`")
        async with Resident(wanted, models_folder, threads=1, idle_s=0).used() as engine:
            answer, topic, other = await engine.rerank(
                "When does the library open?",
                ["The library opens at nine in the morning.", "The library has a room for children.", "Quarterly revenue rose by four percent."],
            )
        assert answer > 0 > topic > other
