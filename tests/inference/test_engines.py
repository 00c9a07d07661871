"""The engines that need torch: on tiny models made here, and on the embedded ones as they are fetched."""

import asyncio
import json

import numpy as np
import pytest

from core.errors import ModelError, TooLong
from core.inference import Done, Message, TextDelta
from inference.catalog import entry
from inference.engine import ChatRequest, EngineSettings
from inference.residency import Resident

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")]
WORDS = "hello there world how are you today the cat sat on a mat and then it slept . ? !".split()
TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


@pytest.fixture(scope="module")
def tokenizer_files():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    vocabulary = {w: n for n, w in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer, len(vocabulary)


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory, tokenizer_files):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer, size = tokenizer_files
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(vocab_size=size, max_position_embeddings=512, bos_token_id=2, eos_token_id=3, pad_token_id=0, initializer_range=0.5, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", chat_template=TEMPLATE)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory, tokenizer_files):
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer, size = tokenizer_files
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=size, max_position_embeddings=64, **sizes)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    return folder


@pytest.fixture
async def chat(tiny_llama):
    from inference.engines.llm_transformers import TransformersChat

    engine = TransformersChat(EngineSettings(tiny_llama, 1, 256), blocks=4, page_tokens=64, batch_tokens=64)
    yield engine
    await engine.close()


async def said(engine, text, max_tokens=12, temperature=0.0):
    pieces = [p async for p in engine.stream(ChatRequest([Message("user", text)], max_tokens, temperature))]
    assert isinstance(pieces[-1], Done)
    assert all(isinstance(p, TextDelta) and p.text for p in pieces[:-1])
    return "".join(p.text for p in pieces[:-1]), pieces[-1]


async def test_answers_at_once_are_the_same_as_answers_alone(chat):
    questions = ["hello there", "how are you today ?", "the cat sat on a mat"]
    alone = [(await said(chat, q))[0] for q in questions]
    together = await asyncio.gather(*(said(chat, q) for q in questions))
    assert [text for text, _ in together] == alone


async def test_an_answer_counts_its_tokens_and_says_why_it_ended(chat):
    _, done = await said(chat, "hello there", max_tokens=5)
    assert done.usage.completion_tokens <= 5
    assert done.finish_reason in ("stop", "length")


async def test_texts_and_prompts_are_counted_by_the_models_own_tokenizer(chat):
    assert await chat.count(["hello there", "", "the cat sat on a mat"]) == [2, 0, 6]
    _, done = await said(chat, "hello there", max_tokens=2)
    assert await chat.count_prompt([Message("user", "hello there")]) == done.usage.prompt_tokens


async def test_a_prompt_longer_than_the_model_takes_is_refused_and_the_others_go_on(chat):
    with pytest.raises(TooLong, match="this model takes 256"):
        await said(chat, "cat " * 300)
    assert (await said(chat, "hello"))[1].usage.completion_tokens > 0


async def test_leaving_an_answer_frees_it_and_leaks_no_handler(chat):
    stream = chat.stream(ChatRequest([Message("user", "hello")], 200, 1.0))
    await anext(stream)
    await stream.aclose()
    assert chat._manager.output_router.result_handlers == {}


async def test_vectors_do_not_depend_on_what_else_is_in_the_batch(tiny_bert):
    from inference.engines.embeddings_transformers import TransformersEmbeddings

    engine = TransformersEmbeddings(EngineSettings(tiny_bert, 1, 64))
    texts = ["hello", "the cat sat on a mat and then it slept", "how are you", "cat " * 200]
    together = await engine.embed(texts, "document")
    alone = np.concatenate([await engine.embed([t], "document") for t in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    await engine.close()


async def test_maxsim_gives_the_same_text_the_best_score_and_remembers_passages(tiny_bert):
    from inference.engines.reranker_maxsim import MaxSimReranker

    engine = MaxSimReranker(EngineSettings(tiny_bert, 1, 64))
    scores = await engine.rerank("the cat sat", ["hello there world", "the cat sat", ""])
    assert scores[1] == max(scores)
    assert scores[1] <= 1.0001
    assert await engine.rerank("the cat sat", ["hello there world", "the cat sat", ""]) == pytest.approx(scores)
    await engine.close()


async def test_a_model_is_loaded_once_kept_while_used_and_unloaded_when_idle(tiny_bert):
    from core.inference import Service

    now = [0.0]
    resident = Resident(entry(f"file://{tiny_bert}", Service.EMBEDDINGS), tiny_bert, threads=1, idle_s=10, clock=lambda: now[0])
    async with resident.used() as first, resident.used() as second:
        assert first is second
        now[0] = 100
        assert not await resident.unload_if_idle()
    assert not await resident.unload_if_idle()
    now[0] = 111
    assert await resident.unload_if_idle()
    assert not resident.loaded


async def test_a_folder_that_holds_no_model_is_said_to_be_broken(tmp_path):
    from core.inference import Service

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="can't be loaded"):
        async with Resident(entry(f"file://{tmp_path}", Service.EMBEDDINGS), tmp_path, threads=1, idle_s=-1).used():
            pass


@pytest.mark.models
class TestEmbeddedModels:
    """The ones `hearth models fetch` brings."""

    async def test_the_chat_model_answers(self, models_folder):
        async with Resident(entry("smollm2-135m"), models_folder, threads=1, idle_s=0).used() as engine:
            text, _ = await said(engine, "What is the capital of France?", 20)
            assert "Paris" in text

    async def test_near_meanings_are_near_and_the_reranker_agrees(self, models_folder):
        texts = ["The dog is asleep on the sofa.", "Quarterly revenue rose by four percent."]
        async with Resident(entry("minilm-l6"), models_folder, threads=1, idle_s=0).used() as engine:
            query = (await engine.embed(["A puppy sleeps on the couch."], "query"))[0]
            dog, money = await engine.embed(texts, "document")
            assert query @ dog > 0.6 > 0.2 > query @ money
        async with Resident(entry("maxsim"), models_folder, threads=1, idle_s=0).used() as engine:
            dog, money = await engine.rerank("Where does the dog sleep?", texts)
            assert dog > money
