"""Chat with transformers' continuous batching: many answers at once through one model, each streamed token by token.

What has to be held is written beside it: the cache must be bounded, a request longer than the cache would stop the engine for everybody, a cancelled
request gets no last event, and the generation thread keeps the process alive until it is stopped.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, ContinuousBatchingConfig, GenerationConfig

from core.errors import ModelError, TooLong
from core.ids import new_id
from core.inference import Done, Message, TextDelta, Usage
from inference.device import best_device
from inference.engine import ChatRequest, EngineSettings
from inference.repetition import CHECKED_EVERY, goes_in_circles

PAGE_TOKENS = 256
BLOCKS = 32
"""32 pages of 256 tokens of cache: 8,192 tokens for all open answers together."""
BATCH_TOKENS = 512
STALL_S = 120.0
GREEDY = 0.01
"""Temperature 0 in a sampling configuration: the manager allows sampling per request only where the base samples."""
UNFINISHED = "\ufffd"


class TransformersChat:
    """A causal language model with a chat template."""

    def __init__(self, settings: EngineSettings, *, blocks: int = BLOCKS, page_tokens: int = PAGE_TOKENS, batch_tokens: int = BATCH_TOKENS) -> None:
        """Loads the model and starts its generation thread. Raises: OSError, ValueError for files that don't fit."""
        os.environ.setdefault("TQDM_DISABLE", "1")
        torch.set_num_threads(settings.threads)
        device = best_device()
        self._tokenizer = AutoTokenizer.from_pretrained(settings.folder)
        model = AutoModelForCausalLM.from_pretrained(settings.folder, use_safetensors=True, dtype=getattr(torch, device.dtype))
        self._model, self.device = model.to(device.name).eval(), device.name
        window = getattr(self._model.config, "max_position_embeddings", None) or settings.max_context_tokens
        self._limit = min(window, settings.max_context_tokens, blocks * page_tokens)
        eos = self._model.generation_config.eos_token_id
        pad = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else eos
        base = GenerationConfig(
            max_new_tokens=256, do_sample=True, temperature=0.7, top_p=0.95, eos_token_id=eos, pad_token_id=pad if isinstance(pad, int) else pad[0]
        )
        config = ContinuousBatchingConfig(num_blocks=blocks, page_size=page_tokens, max_batch_tokens=batch_tokens, per_request_processors=True)
        self._manager: Any = self._model.init_continuous_batching(generation_config=base, continuous_batching_config=config)
        self._manager.start()
        self._restarting = threading.Lock()

    async def stream(self, request: ChatRequest) -> AsyncIterator[TextDelta | Done]:
        """As the protocol says."""
        ids = self._tokens(request.messages)
        room = self._limit - len(ids)
        if room < 1:
            raise TooLong(f"The prompt has {len(ids)} tokens; this model takes {self._limit} with the answer.", hint="Shorten it or begin a new conversation.")
        request_id = new_id()
        events: asyncio.Queue[Any] = asyncio.Queue()
        # Registered inside the running loop and before the request exists, so that no event is missed.
        self._manager.register_result_handler(request_id, events.put_nowait)
        finished = False
        try:
            added = self._manager.add_request(
                ids, request_id=request_id, max_new_tokens=min(request.max_tokens, room), streaming=True, temperature=max(request.temperature, GREEDY)
            )
            if added is None:
                self._restart()
                raise ModelError("The model's engine had stopped; it has been started again.", hint="Ask again.")
            sent, count, circling = 0, 0, False
            while not finished and not circling:
                out = await self._next_event(events)
                finished = bool(out.is_finished())
                circling = len(out.generated_tokens) % CHECKED_EVERY == 0 and goes_in_circles(out.generated_tokens)
                if out.error:
                    raise ModelError(f"The model stopped: {str(out.error).splitlines()[0][:200]}", hint="Ask again.")
                count = len(out.generated_tokens)
                text = self._tokenizer.decode(out.generated_tokens, skip_special_tokens=True)
                if (finished or circling or not text.endswith(UNFINISHED)) and len(text) > sent:
                    yield TextDelta(text[sent:])
                    sent = len(text)
            yield Done(Usage(len(ids), count), "length" if count >= min(request.max_tokens, room) else "stop")
        finally:
            if not finished:
                self._manager.cancel_request(request_id)
            self._manager.output_router.result_handlers.pop(request_id, None)

    async def count(self, texts: Sequence[str]) -> list[int]:
        """As the protocol says; in a thread, because a long conversation takes a while."""
        return await asyncio.to_thread(lambda: [len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts])

    async def count_prompt(self, messages: Sequence[Message]) -> int:
        """As the protocol says."""
        return len(await asyncio.to_thread(self._tokens, messages))

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        """The prompt in the model's own template."""
        said = [{"role": m.role, "content": m.content} for m in messages]
        encoded = self._tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=True, return_dict=False)
        return list(encoded)

    async def _next_event(self, events: asyncio.Queue[Any]) -> Any:
        """The next event, or an error when the engine has died or stands still: it tells nobody by itself."""
        waited_s = 0.0
        while True:
            try:
                return await asyncio.wait_for(events.get(), 1.0)
            except TimeoutError:
                waited_s += 1.0
                if not self._manager.is_running() or waited_s >= STALL_S:
                    self._restart()
                    raise ModelError("The model's engine stopped in the middle of the answer; it has been started again.", hint="Ask again.") from None

    def _restart(self) -> None:
        with self._restarting:
            if not self._manager.is_running():
                self._manager.stop(block=True)
                self._manager.start()

    async def close(self) -> None:
        """As the protocol says; open answers fail at once."""
        await asyncio.to_thread(self._manager.stop, block=True)
        del self._model
