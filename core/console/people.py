"""The users as an admin sees and keeps them: accounts, roles, quotas, keys, sessions; and everything of somebody's, taken away or deleted.

What people have written stays theirs: it leaves this room only as an export, which is noted.
"""

import zipfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO

import anyio.to_thread
import msgspec

from core.audit import Act
from core.chat.export import as_json, as_markdown
from core.chat.model import ChatMessage
from core.chat.room import ChatRoom
from core.console.notes import Notes
from core.console.pieces import Pieces
from core.errors import NotFound
from core.ports import Accounts, Belongings, ChunkIndex, Documents, ObjectStore, Prompts, Sessions, Usage
from core.rag.model import Collection
from core.records import DeleteReceipt, Page, every_page, summed
from core.users.model import Admin, ApiKey, Preferences, Quota, Role, Scope, Session, Used, User
from core.users.room import Users
from core.voice.room import VoiceRoom

DAYS_SHOWN, MAX_PROMPTS = 30, 100_000
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Person:
    """A user with what they have used today and may use, and the last days of that. quota: their own where they have one, else the usual one."""

    user: User
    today: Used
    quota: Quota
    days: Sequence[tuple[datetime, Used]]
    has: Mapping[str, int]


class People:
    """Every user of the house."""

    def __init__(
        self,
        users: Users,
        accounts: Accounts,
        sessions: Sessions,
        usage: Usage,
        belongings: Belongings,
        prompts: Prompts,
        documents: Documents,
        index: ChunkIndex,
        objects: ObjectStore,
        chat: ChatRoom,
        voice: VoiceRoom,
        notes: Notes,
        clock: Callable[[], datetime],
        *,
        quota: Quota,
    ) -> None:
        """quota: the usual one."""
        self._users, self._accounts, self._sessions, self._usage, self._belongings = users, accounts, sessions, usage, belongings
        self._documents, self._index, self._objects, self._chat, self._voice, self._notes, self._clock = documents, index, objects, chat, voice, notes, clock
        self._prompts, self._quota = prompts, quota

    async def list(self, admin: Admin, search: str = "", cursor: str = "", *, limit: int = 50) -> Page[tuple[User, Used]]:
        """Users whose name has that in it, by name, each with what they have used today."""
        page, now = await self._accounts.found(search.strip(), limit, cursor), self._clock()
        return Page([(user, await self._usage.on_day(user.id, now)) for user in page.items], page.next_cursor)

    async def person(self, admin: Admin, user_id: str) -> Person:
        """Raises: NotFound."""
        user, now = await self._accounts.get(user_id), self._clock()
        days = await self._usage.days(user_id, now, DAYS_SHOWN)
        return Person(user, days[-1][1], user.quota.over(self._quota), days, await self._belongings.counts(user_id))

    async def add(self, admin: Admin, username: str, password: str, *, role: Role = Role.USER, premium: bool = False) -> User:
        """Raises: AlreadyThere, BadInput."""
        user = await self._users.add(username.strip(), password, admin=role is Role.ADMIN, premium=premium)
        await self._notes.note(admin, Act.MADE, _named(user), role=role.value)
        return user

    async def change(
        self,
        admin: Admin,
        user_id: str,
        *,
        role: Role | None = None,
        premium: bool | None = None,
        disabled: bool | None = None,
        preferences: Preferences | None = None,
        quota: Quota | None = None,
    ) -> User:
        """What is None stays. Who is disabled is out at once, with every session. Raises: NotFound; IllegalStep where no admin would be left."""
        wanted: dict[str, object] = {"role": role, "premium": premium, "disabled": disabled, "preferences": preferences, "quota": quota}
        known, user = await self._users.change(user_id, **{name: value for name, value in wanted.items() if value is not None})
        if changed := {name: str(getattr(user, name)) for name in wanted if getattr(user, name) != getattr(known, name)}:
            await self._notes.note(admin, Act.ROLE if "role" in changed else Act.CHANGED, _named(user), **changed)
        return user

    async def set_password(self, admin: Admin, user_id: str, password: str) -> None:
        """Also ends their sessions. Raises: NotFound, BadInput."""
        user = await self._accounts.get(user_id)
        await self._users.set_password(user.username, password)
        await self._notes.note(admin, Act.CHANGED, _named(user), what="password")

    async def keys(self, admin: Admin, user_id: str) -> Sequence[ApiKey]:
        """Latest first."""
        return await self._accounts.keys_of(user_id)

    async def make_key(self, admin: Admin, user_id: str, name: str, scopes: Sequence[Scope], days: int | None) -> str:
        """A new key; this is the only time that it is told. Raises: NotFound, BadInput."""
        user = await self._accounts.get(user_id)
        key, secret = await self._users.make_key(user, name, scopes=scopes, days=days)
        await self._notes.note(admin, Act.MADE, _named(user), key=key.prefix, scopes=", ".join(key.scopes))
        return secret

    async def revoke_key(self, admin: Admin, user_id: str, key_id: str) -> DeleteReceipt:
        """Whatever holds it is out at once. Raises: NotFound."""
        user = await self._accounts.get(user_id)
        await self._accounts.drop_key(user_id, key_id)
        await self._notes.note(admin, Act.DELETED, _named(user), key=key_id)
        return DeleteReceipt({"keys": 1}, {"keys": sum(key.id == key_id for key in await self._accounts.keys_of(user_id))})

    async def sessions(self, admin: Admin, user_id: str, cursor: str = "", *, limit: int = 50) -> Page[Session]:
        """The live ones, latest first."""
        return await self._sessions.of(user_id, self._clock(), limit=limit, cursor=cursor)

    async def end_session(self, admin: Admin, user_id: str, session_id: str) -> DeleteReceipt:
        """Raises: NotFound."""
        await self._sessions.close_one(user_id, session_id)
        await self._notes.note(admin, Act.DELETED, _named(await self._accounts.get(user_id)), session=session_id)
        return DeleteReceipt({"sessions": 1}, {"sessions": sum(s.id == session_id for s in (await self._sessions.of(user_id, self._clock())).items)})

    async def end_sessions(self, admin: Admin, user_id: str) -> DeleteReceipt:
        """All of them; keys stay. Raises: NotFound."""
        user, count = await self._accounts.get(user_id), len(await self._sessions.close_all(user_id))
        await self._notes.note(admin, Act.DELETED, _named(user), sessions=count)
        return DeleteReceipt({"sessions": count}, {"sessions": len((await self._sessions.of(user_id, self._clock())).items)})

    async def export(self, admin: Admin, user_id: str) -> tuple[str, AsyncIterator[bytes]]:
        """(a name for it, the pieces of a zip file) with everything a user has: account, conversations with every branch, originals, recordings.

        Raises: NotFound.
        """
        user = await self._accounts.get(user_id)
        await self._notes.note(admin, Act.EXPORTED, _named(user))
        return f"{user.username}.zip", self._zip(user)

    async def _zip(self, user: User) -> AsyncIterator[bytes]:
        pieces = Pieces()
        with zipfile.ZipFile(pieces, "w", zipfile.ZIP_DEFLATED) as made:
            account = {
                "user": user,
                "keys": await self._accounts.keys_of(user.id),
                "usage": await self._usage.days(user.id, self._clock(), DAYS_SHOWN),
                "prompts": await self._prompts.prompts_for(user.id, MAX_PROMPTS),
                "has": await self._belongings.counts(user.id),
            }
            made.writestr("account.json", msgspec.json.format(msgspec.json.encode(account)))
            async for conversations in every_page(lambda cursor: self._chat.conversations(user, limit=50, cursor=cursor)):
                for conversation in conversations:
                    written = every_page(partial(self._messages, user.id, conversation.id))
                    said = [message async for part in written for message in part]
                    path = await self._chat.whole_path(user, conversation.id)
                    made.writestr(f"conversations/{conversation.id}.json", msgspec.json.format(msgspec.json.encode(as_json(conversation, said))))
                    made.writestr(f"conversations/{conversation.id}.md", as_markdown(conversation, path))
                    yield pieces.take()
            async for turns in every_page(lambda cursor: self._belongings.spoken(user.id, cursor=cursor)):
                for turn in turns:
                    made.writestr(f"voice/{turn.request.id}.json", msgspec.json.format(msgspec.json.encode(turn)))
                yield pieces.take()
            async for name, original in self._files(user.id):
                with original.open("rb") as file, made.open(name, "w", force_zip64=True) as out:
                    while await anyio.to_thread.run_sync(_moved, file, out):  # packing a piece takes tens of milliseconds, which everybody would wait for
                        yield pieces.take()
        yield pieces.take()

    async def _messages(self, user_id: str, conversation_id: str, cursor: str) -> Page[ChatMessage]:
        return await self._belongings.messages(user_id, conversation_id, cursor=cursor)

    async def _files(self, user_id: str) -> AsyncIterator[tuple[str, Path]]:
        """(name inside the zip, file); one that was dropped meanwhile is left out."""
        async for objects in every_page(lambda cursor: self._belongings.objects(user_id, cursor=cursor)):
            for name, uri in objects:
                try:
                    yield _inside(name), await self._objects.local_path(uri)
                except NotFound:
                    continue

    async def _shelves(self, user_id: str, cursor: str) -> Page[tuple[Collection, Mapping[str, int]]]:
        return await self._documents.collections_for(user_id, cursor=cursor)

    async def delete(self, admin: Admin, user_id: str) -> DeleteReceipt:
        """Deletes a user with everything of theirs in every store: the account is closed first, so that nothing new comes while it goes.

        The audit log keeps what was done. Raises: NotFound; IllegalStep where no admin would be left.
        """
        user, _ = await self._users.change(user_id, disabled=True)
        await self._voice.stop_all(user_id)
        await self._chat.stop_all(user_id)
        shelves = [held.id async for page in every_page(partial(self._shelves, user_id)) for held, _ in page]
        receipt, uris = await self._belongings.erase(user_id)
        receipt = summed([receipt, *[await self._index.drop_collection(shelf) for shelf in shelves]])
        for uri in uris:
            await self._objects.drop(uri)
        left = sum([await self._objects.exists(uri) for uri in uris])
        await self._documents.forget_objects(uris)
        whole = DeleteReceipt({**receipt.removed, "objects": len(uris)}, {**receipt.left, "objects": left})
        await self._notes.note(admin, Act.DELETED, _named(user), **{kind: count for kind, count in whole.removed.items() if count})
        return whole


def _named(user: User) -> str:
    """As the audit log has it."""
    return f"user {user.username}"


def _moved(file: IO[bytes], out: IO[bytes]) -> int:
    """Writes the next piece; says how many bytes it had."""
    return out.write(file.read(PIECE_BYTES))


def _inside(name: str) -> str:
    """A name that stays inside the folder that a zip is unpacked into."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))
