"""What a user keeps beside conversations: links that let others read one, and texts to ask again.

A link's secret is random, shown once and kept as a hash; it opens one path of one conversation for reading and nothing else.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from core.chat.model import Conversation, SavedPrompt, Share, Thread
from core.errors import BadInput
from core.ids import new_id
from core.ports import Conversations, Prompts, Shares
from core.users.model import User
from core.users.room import hashed

MAX_PROMPT_CHARS = 20_000
MAX_NAME_CHARS = 100
SHARED_MESSAGES = 500


class Shelf:
    """Shares and saved prompts of every user."""

    def __init__(self, conversations: Conversations, shares: Shares, prompts: Prompts, clock: Callable[[], datetime]) -> None:
        self._conversations, self._shares, self._prompts, self._clock = conversations, shares, prompts, clock

    async def share(self, user: User, conversation_id: str, leaf_id: str) -> tuple[Share, str]:
        """(link, secret) to the conversation as far as that message. Raises: NotFound."""
        await self._conversations.thread_for(user.id, conversation_id, at=leaf_id, limit=1)
        share, secret = Share(new_id(), user.id, conversation_id, leaf_id, self._clock()), secrets.token_urlsafe(24)
        await self._shares.add_share(share, hashed(secret))
        return share, secret

    async def shares(self, user: User, conversation_id: str) -> Sequence[Share]:
        """The links to a conversation. Raises: NotFound."""
        await self._conversations.get_for(user.id, conversation_id)
        return await self._shares.shares_for(user.id, conversation_id)

    async def revoke(self, user: User, share_id: str) -> None:
        """Ends a link at once. Raises: NotFound."""
        await self._shares.revoke_for(user.id, share_id)

    async def shared(self, secret: str) -> tuple[Conversation, Thread]:
        """What a link shows: the conversation and the path to its last shared message. Raises: NotFound."""
        share = await self._shares.shared(hashed(secret))
        conversation = await self._conversations.get_for(share.user_id, share.conversation_id)
        thread = await self._conversations.thread_for(share.user_id, share.conversation_id, at=share.leaf_id, limit=SHARED_MESSAGES)
        ids = [m.id for m in thread.messages]
        last = ids.index(share.leaf_id) + 1 if share.leaf_id in ids else 0
        return conversation, replace(thread, messages=thread.messages[:last], branches={})

    async def save_prompt(self, user: User, name: str, text: str) -> SavedPrompt:
        """Keeps a text under a name; the same name replaces it. Raises: BadInput."""
        name = " ".join(name.split())
        if not name or len(name) > MAX_NAME_CHARS:
            raise BadInput(f"A prompt's name has 1 to {MAX_NAME_CHARS} characters.")
        if not text.strip() or len(text) > MAX_PROMPT_CHARS:
            raise BadInput(f"A prompt has 1 to {MAX_PROMPT_CHARS:,} characters.")
        prompt = SavedPrompt(new_id(), user.id, name, text, self._clock())
        await self._prompts.save_prompt(prompt)
        return prompt

    async def prompts(self, user: User) -> Sequence[SavedPrompt]:
        """By name."""
        return await self._prompts.prompts_for(user.id)

    async def drop_prompt(self, user: User, prompt_id: str) -> None:
        """Raises: NotFound."""
        await self._prompts.drop_prompt_for(user.id, prompt_id)
