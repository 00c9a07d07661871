"""Signing in and out, the first admin, accounts and API keys.

Knows no cookie and no header: it is given secrets and says whose they are. Secrets come from `secrets`, are shown once and kept as hashes.
"""

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from core.audit import Act, AuditEntry
from core.errors import BadInput, NotAllowed, NotFound, NotSignedIn, ServiceBusy
from core.events import Event, EventType
from core.ids import new_id
from core.ports import Accounts, AuditLog, Limits, PasswordHasher, Sessions
from core.records import Page
from core.users.model import Admin, ApiKey, Preferences, Role, Scope, Session, User

MIN_PASSWORD_CHARS = 10
KEY_PREFIX = "hk_"
TOUCH_EVERY = timedelta(minutes=1)
FREE_FAILURES = 5
MAX_KEY_DAYS, MAX_KEY_NAME_CHARS, MAX_NAME_CHARS = 3650, 200, 60
MAX_BACK_OFF_S = 300
FAILURES_S = 3600
"""How long failed sign-ins are remembered after the last one."""
_USERNAME = re.compile(r"[\w.@+-]{1,60}")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who is known now, and the session they are known by."""

    user: User
    session: Session
    key: ApiKey | None = None
    """Of a program; None for a browser."""

    def demand(self, scope: Scope) -> None:
        """Raises: NotAllowed if they are known by a key that doesn't open that."""
        if self.key is not None and scope not in self.key.scopes:
            raise NotAllowed(f"This key doesn't open {scope.value}.", hint="An admin can make another key; a key's scopes never change.")


def hashed(secret: str) -> str:
    """A secret as it is kept. It is random and long, so a plain SHA-256 can't be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Users:
    """Who may use the house."""

    def __init__(
        self, accounts: Accounts, sessions: Sessions, passwords: PasswordHasher, audit: AuditLog, limits: Limits, clock: Callable[[], datetime]
    ) -> None:
        self._accounts, self._sessions, self._passwords, self._audit, self._limits, self._clock = accounts, sessions, passwords, audit, limits, clock
        self._keys_noted: dict[str, datetime] = {}
        """When a key's last use was kept."""
        self._key_sessions: dict[str, Session] = {}
        self._voice_sessions: dict[str, Session] = {}
        """By the session in which somebody speaks."""
        self._setup_token = ""

    async def prepare_setup(self) -> str:
        """The token of the one-time setup link while there is no user; "" afterwards."""
        page = await self._accounts.everyone(1)
        self._setup_token = "" if page.items else secrets.token_urlsafe(24)
        return self._setup_token

    async def setup_open(self) -> bool:
        """Whether the first admin is still to be made; one that was made on the command line counts."""
        if self._setup_token and (await self._accounts.everyone(1)).items:
            self._setup_token = ""
        return bool(self._setup_token)

    async def set_up(self, setup_token: str, username: str, password: str, address: str) -> tuple[SignedIn, str]:
        """Makes the first admin and signs them in: (who, session token). Raises: NotAllowed for a used or wrong link; BadInput."""
        if not self._setup_token or not secrets.compare_digest(setup_token.encode(), self._setup_token.encode()):
            raise NotAllowed("This setup link is not valid any more.", hint="If nobody has set Hearth up yet, restart it: it prints a new link.")
        user = self._new_user(username, Role.ADMIN)
        _check_password(password)
        await self._accounts.add_first(user, await self._passwords.hash(password))
        self._setup_token = ""
        return await self._open_session(user, address)

    async def sign_in(self, username: str, password: str, address: str) -> tuple[SignedIn, str]:
        """(who, session token). Raises: NotSignedIn without saying which part was wrong; ServiceBusy after too many failures."""
        keys = (f"name:{username.casefold()}/{address}", f"address:{address}")
        await self._refuse_guessing(keys)
        try:
            user, password_hash = await self._accounts.named(username)
        except NotFound:
            user, password_hash = None, None
        fits = await self._passwords.verify(password_hash, password)
        if user is None or not fits or user.disabled:
            await self._failed(keys)
            await self._note(Act.REFUSED, user, username, {"address": address})
            raise NotSignedIn("The name or the password is wrong.", hint="Check both; an admin can set a new password with `hearth user password NAME`.")
        await self._limits.clear(*keys)
        await self._note(Act.SIGNED_IN, user, username, {"address": address})
        return await self._open_session(user, address)

    async def sign_out(self, token: str) -> None:
        """Ends a session; an unknown one is no error."""
        await self._sessions.close(hashed(token))

    async def by_session(self, token: str) -> SignedIn:
        """Who holds that session token. Raises: NotSignedIn."""
        session = await self._sessions.find(hashed(token), self._clock()) if token else None
        if session is None:
            raise _not_signed_in()
        return SignedIn(await self._active(session.user_id), await self._touched(hashed(token), session))

    async def admin(self, token: str) -> Admin:
        """Who holds that session token, as an admin. Raises: NotSignedIn; NotFound for everybody else, to whom the console isn't there."""
        return self.admin_of(await self.by_session(token))

    def admin_of(self, who: SignedIn) -> Admin:
        """Somebody who was asked for their key or session a moment ago, as an admin. Raises: NotFound, as `admin`."""
        if who.user.role is not Role.ADMIN:
            raise NotFound("There is nothing here.")
        return Admin(who.user)

    async def usable(self, user_id: str) -> bool:
        """Whether that account is there and not disabled."""
        try:
            return not (await self._accounts.get(user_id)).disabled
        except NotFound:
            return False

    async def by_key(self, key: str) -> SignedIn:
        """Who holds that API key. Raises: NotSignedIn."""
        try:
            user, known = await self._accounts.by_key(hashed(key)) if key.startswith(KEY_PREFIX) else (None, None)
        except NotFound:
            user, known = None, None
        now = self._clock()
        if user is None or known is None or user.disabled or (known.expires_at is not None and known.expires_at <= now):
            raise NotSignedIn("The API key is not valid.", hint="`hearth token --user NAME` makes a new one.")
        noted = self._keys_noted.get(known.id) or known.last_used_at
        if noted is None or now - noted >= TOUCH_EVERY:
            self._keys_noted[known.id] = now
            await self._accounts.key_used(known.id, now)
        session = self._key_sessions.get(known.id)
        if session is None or session.expires_at <= now:
            session = self._session(user, {"api_key": known.name})
            await self._sessions.open(session, hashed(f"key:{known.id}"), self._opened(user, session))
            self._key_sessions[known.id] = session
        return SignedIn(user, session, known)

    async def voice_session(self, who: SignedIn) -> SignedIn:
        """The same user in a session for speaking, which begins when they first speak in theirs and lasts as long as any."""
        now = self._clock()
        session = self._voice_sessions.get(who.session.id)
        if session is None or session.expires_at <= now:
            self._voice_sessions = {key: kept for key, kept in self._voice_sessions.items() if kept.expires_at > now}
            session = replace(self._session(who.user, {"within": who.session.id}), type="voice")
            await self._sessions.open(session, hashed(f"voice:{session.id}"), self._opened(who.user, session)[1:])
            self._voice_sessions[who.session.id] = session
        return SignedIn(who.user, session)

    async def add(self, username: str, password: str | None, *, admin: bool = False, premium: bool = False) -> User:
        """A new user; without a password only API keys work. Raises: AlreadyThere, BadInput."""
        user = self._new_user(username, Role.ADMIN if admin else Role.USER, premium=premium)
        if password is not None:
            _check_password(password)
        await self._accounts.add(user, None if password is None else await self._passwords.hash(password))
        self._setup_token = ""
        return user

    async def set_password(self, username: str, password: str) -> None:
        """Also ends every session of the user: whoever knew the old password is out. Raises: NotFound, BadInput."""
        _check_password(password)
        user, _ = await self._accounts.named(username)
        await self._accounts.change(user.id, {}, await self._passwords.hash(password))
        await self._sessions.close_all(user.id)

    async def change(self, user_id: str, **changes: object) -> tuple[User, User]:
        """Changes fields of a user, whatever else of theirs was changed since somebody looked: (before, after). Who is disabled has no session left.

        Raises: NotFound; AlreadyThere; IllegalStep if no admin who isn't disabled would be left.
        """
        before, after = await self._accounts.change(user_id, changes)
        if after.disabled and not before.disabled:
            await self._sessions.close_all(user_id)
        return before, after

    async def save_preferences(self, user: User, preferences: Preferences) -> User:
        """The user with what they chose; only what is not as it was, so that two choices at once are both kept."""
        chosen = {name: value for name, value in asdict(preferences).items() if value != getattr(user.preferences, name)}
        return (await self.change(user.id, preferences=chosen))[1]

    async def named(self, username: str) -> User:
        """Raises: NotFound."""
        return (await self._accounts.named(username))[0]

    async def everyone(self, limit: int = 100, cursor: str = "") -> Page[User]:
        """All users by name."""
        return await self._accounts.everyone(limit, cursor)

    async def make_key(self, user: User, name: str = "", *, scopes: Sequence[Scope] = tuple(Scope), days: int | None = None) -> tuple[ApiKey, str]:
        """A new API key and its secret, which is shown this once. days: how long it opens anything; None for ever. Raises: BadInput."""
        if not scopes:
            raise BadInput("A key that opens nothing is of no use.", hint="Choose what it opens.")
        if days is not None and not 1 <= days <= MAX_KEY_DAYS:
            raise BadInput(f"A key lasts 1 to {MAX_KEY_DAYS} days, or for ever.")
        secret, now = KEY_PREFIX + secrets.token_urlsafe(32), self._clock()
        until = None if days is None else now + timedelta(days=days)
        key = ApiKey(new_id(), user.id, name.strip()[:MAX_KEY_NAME_CHARS] or "key", secret[:9], now, None, tuple(sorted(set(scopes))), until)
        await self._accounts.add_key(key, hashed(secret))
        return key, secret

    @asynccontextmanager
    async def lent_key(self, user_id: str, name: str, scopes: Sequence[Scope], lasts: timedelta) -> AsyncIterator[str]:
        """The secret of a key that is gone once it is left, and opens nothing after `lasts` even if this process is gone. Raises: NotFound."""
        user = await self._accounts.get(user_id)
        secret, now = KEY_PREFIX + secrets.token_urlsafe(32), self._clock()
        key = ApiKey(new_id(), user.id, name[:MAX_KEY_NAME_CHARS], secret[:9], now, None, tuple(sorted(set(scopes))), now + lasts)
        await self._accounts.add_key(key, hashed(secret))
        try:
            yield secret
        finally:
            with suppress(NotFound):  # somebody has revoked it, or deleted its user
                await self._accounts.drop_key(user.id, key.id)

    async def _note(self, act: Act, user: User | None, name: str, detail: dict[str, object]) -> None:
        await self._audit.write(AuditEntry(self._clock(), user.id if user else "", name[:MAX_NAME_CHARS], act, "session", detail))

    def _new_user(self, username: str, role: Role, *, premium: bool = False) -> User:
        if not _USERNAME.fullmatch(username):
            raise BadInput("A user name has 1 to 60 letters, digits or . _ @ + -.", hint="Choose another one.")
        return User(new_id(), username, premium, Preferences(), self._clock(), role)

    def _session(self, user: User, metadata: dict[str, object]) -> Session:
        now = self._clock()
        return Session(new_id(), user.id, "chat", now, now, metadata)

    def _opened(self, user: User, session: Session) -> tuple[Event, Event]:
        at = session.started_at
        return (
            Event(new_id(), EventType.USER_LOGIN, user.id, session.id, at),
            Event(new_id(), EventType.SESSION_CREATED, user.id, session.id, at, {"type": session.type}),
        )

    async def _open_session(self, user: User, address: str) -> tuple[SignedIn, str]:
        token = secrets.token_urlsafe(32)
        session = self._session(user, {"address": address})
        await self._sessions.open(session, hashed(token), self._opened(user, session))
        return SignedIn(user, session), token

    async def _active(self, user_id: str) -> User:
        try:
            user = await self._accounts.get(user_id)
        except NotFound:
            user = None
        if user is None or user.disabled:
            raise NotSignedIn("This account can't be used any more.", hint="Ask your admin.")
        return user

    async def _touched(self, token_hash: str, session: Session) -> Session:
        now = self._clock()
        if now - session.last_activity < TOUCH_EVERY:
            return session
        session = session.touched(now)
        if not await self._sessions.touch(token_hash, session):
            raise _not_signed_in()
        return session

    async def _refuse_guessing(self, names: tuple[str, ...]) -> None:
        """A right password during the wait is refused too. Raises: ServiceBusy while one of the names has to wait."""
        if (seconds := await self._limits.barred_s(*names)) > 0:
            raise ServiceBusy("Too many failed sign-ins.", hint=f"Try again in {seconds:.0f} s.", retry_after_s=seconds)

    async def _failed(self, names: tuple[str, ...]) -> None:
        """Makes guessing slow: after a few failures each further one doubles the wait."""
        for name in names:
            if (more := await self._limits.count(name, FAILURES_S) - FREE_FAILURES) >= 0:
                await self._limits.bar(name, min(2 ** min(more, 20), MAX_BACK_OFF_S))


def _not_signed_in() -> NotSignedIn:
    return NotSignedIn("You are not signed in.", hint="Sign in; everything you wrote is kept.")


def _check_password(password: str) -> None:
    if len(password) < MIN_PASSWORD_CHARS:
        raise BadInput(f"A password needs at least {MIN_PASSWORD_CHARS} characters.", hint="A few words are easy to remember and hard to guess.")
    if len(password.encode()) > 1024:
        raise BadInput("A password may have at most 1024 bytes.")
