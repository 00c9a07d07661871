"""Objects in a bucket of any server that speaks S3. Nothing is used that only one maker has, and no rule of the bucket is relied on to delete anything."""

import asyncio
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

import anyio
import psutil
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error

from core.adapters.object_keys import key_of, parts_of
from core.errors import HearthError, NoSpace, NotFound, ServiceRefused, ServiceUnavailable, SettingsError
from core.ids import new_id
from core.objects import CHECKS, written
from core.records import Facts, Page, Stored

T = TypeVar("T")
CONNECT_S, READ_S = 3.0, 30.0
RETRIES = 2
AT_ONCE = 16
PART_BYTES = 16 << 20
"""What is larger goes in several parts; the object is there when all of them are."""
KEPT_S = 600
"""How long a fetched copy lies here: its pages are asked for one after the other."""
LENT = timedelta(seconds=60)
"""How long an address that is given to a browser opens its object."""
GONE = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchObject"})
NO_VERSIONS = frozenset({"NotImplemented", "MethodNotAllowed", "XNotImplemented"})
"""How a server says that it doesn't know of versions, so that there are none to remove."""
CLOSED = frozenset({"AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "AuthorizationHeaderMalformed", "RequestTimeTooSkewed"})
FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "EntityTooLarge"})
FORM = "It looks like s3://key:secret@host:9000/bucket, for a server without TLS s3+http://…; signs in the secret are written as in URLs (/ is %2F)."


def _is_origin(parts: SplitResult) -> bool:
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/") and not (parts.query or parts.username)


def _code(error: S3Error | InvalidResponseError) -> str:
    """What S3 calls it. Some servers send their errors as text that isn't declared as XML, which the library hands on as it came."""
    if isinstance(error, S3Error):
        return error.code or ""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else "an answer in no form of S3's"


@contextmanager
def _translated() -> Iterator[None]:
    """Turns the library's errors into ours; the secret is in none of them."""
    try:
        yield
    except (S3Error, InvalidResponseError) as error:
        code = _code(error)
        if code in GONE:
            raise NotFound("The object is not there any more.") from error
        if code == "NoSuchBucket":
            raise ServiceUnavailable(
                "The bucket for objects is not there.", service="objects", hint="Make it with the server's own tools, or give the key the right to."
            ) from error
        if code in FULL:
            raise NoSpace(f"The store of objects has no room ({code}).", hint="Free some space there, then try again.") from error
        if code in CLOSED:
            raise ServiceRefused(
                f"The store of objects refuses the key ({code}).",
                service="objects",
                hint="Check key and secret in HEARTH_OBJECTS_URL, the key's rights on the bucket, and this machine's clock.",
            ) from error
        raise ServiceUnavailable(f"The store of objects answered with an error ({code}).", service="objects", hint="`hearth doctor` checks it.") from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise ServiceUnavailable("The store of objects doesn't answer.", service="objects", hint="Is it running? `hearth doctor` checks it.") from error


class S3ObjectStore:
    """One bucket. What it fetches for reading as a file lies in a folder of its own for a while, and goes with it."""

    def __init__(self, url: str, *, home: Path) -> None:
        """url: s3://key:secret@host:port/bucket, s3+http:// without TLS. Raises: SettingsError.

        `?region=` where the server has several; `?public=https://files.example.org` where browsers reach the same server under that address.
        """
        try:
            parts = urlsplit(url)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            public = urlsplit(query.get("public", ""))
            place, key, secret = parts.netloc.rpartition("@")[2], unquote(parts.username or ""), unquote(parts.password or "")
            self._bucket, deeper = parts.path.strip("/"), "/" in parts.path.strip("/")
        except ValueError as error:
            raise SettingsError("HEARTH_OBJECTS_URL is no address of a bucket.", hint=FORM) from error
        if not (place and key and secret and self._bucket) or deeper:
            raise SettingsError("HEARTH_OBJECTS_URL lacks the host, the key, its secret or the bucket's name.", hint=FORM)
        if "public" in query and not _is_origin(public):
            raise SettingsError("What HEARTH_OBJECTS_URL calls public is no address of a server.", hint="It looks like ?public=https://files.example.org.")
        pool = urllib3.PoolManager(
            maxsize=AT_ONCE,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            retries=urllib3.Retry(total=RETRIES, backoff_factor=0.2, backoff_jitter=0.2, status_forcelist=(500, 502, 503, 504)),
        )

        def client(at: str, secure: bool) -> Minio:
            return Minio(at, access_key=key, secret_key=secret, secure=secure, region=query.get("region", "us-east-1"), http_client=pool)

        self._client = client(place, parts.scheme != "s3+http")
        self._signer = client(public.netloc, public.scheme == "https") if public.netloc else None
        """Asks nothing: an address is signed for the name under which it is asked for."""
        self._calls = anyio.CapacityLimiter(AT_ONCE)
        self._versioned: bool | None = None
        """Whether the bucket keeps what is replaced and removed; None until it could be asked."""
        self._fetched = home / "fetched" / str(os.getpid())
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self.adapter = f"S3 at {place}"

    async def __aenter__(self) -> Self:
        """Makes the bucket where that is allowed. Opens also while the server is away: what needs no objects works without it."""
        for left in self._fetched.parent.glob("*"):
            if not (left.name.isdecimal() and psutil.pid_exists(int(left.name))):  # its process was killed; another's copies are in use
                shutil.rmtree(left, ignore_errors=True)
        self._fetched.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(HearthError):  # `check` says so, and so does whoever needs an object
            await self._call(self._ready)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Drops what was fetched."""
        for handle in self._leaving.values():
            handle.cancel()
        await anyio.to_thread.run_sync(partial(shutil.rmtree, self._fetched, ignore_errors=True))

    def _ready(self) -> None:
        if not self._client.bucket_exists(self._bucket):
            self._client.make_bucket(self._bucket)
        self._keeps_versions()

    def _keeps_versions(self) -> bool:
        if self._versioned is None:
            try:
                self._versioned = self._client.get_bucket_versioning(self._bucket).status in ("Enabled", "Suspended")
            except (S3Error, InvalidResponseError) as error:
                if _code(error) not in NO_VERSIONS:
                    raise
                self._versioned = False
        return self._versioned

    async def _call(self, work: Callable[[], T]) -> T:
        def run() -> T:
            with _translated():
                return work()

        return await anyio.to_thread.run_sync(run, limiter=self._calls)

    async def check(self) -> None:
        """As the port says."""

        def probe() -> None:
            self._ready()
            name = f"{CHECKS}{new_id()}"
            self._client.put_object(self._bucket, name, io.BytesIO(b""), 0)
            self._removed(name)

        await self._call(probe)

    async def facts(self) -> Facts:
        """As the port says: some bytes are written, read and removed. Their time is the server's, to the second."""
        key, content = f"{CHECKS}{new_id()}", os.urandom(4096)
        uri = await self.put(key, content)
        try:
            same, put_at = await self.get(uri) == content, (await self._call(lambda: self._stat(key))).last_modified
        finally:
            await self.drop(uri)
        if not same:
            raise ServiceUnavailable("The store of objects gave back other bytes than it was given.", service="objects", hint="Don't use it for anything.")
        return Facts(at=put_at + timedelta(seconds=0.5))

    async def put(self, key: str, content: bytes | Path) -> str:
        """As the port says. A file is sent as it is read; one that breaks off leaves nothing that can be seen."""
        parts_of(key)

        def send() -> None:
            if isinstance(content, bytes):
                self._client.put_object(self._bucket, key, io.BytesIO(content), len(content), part_size=PART_BYTES)
            else:
                self._client.fput_object(self._bucket, key, str(content), part_size=PART_BYTES)

        await self._call(send)
        self._forget(key)
        return self.uri(key)

    def uri(self, key: str) -> str:
        """As the port says."""
        parts_of(key)
        return f"s3://{self._bucket}/{key}"

    async def get(self, uri: str) -> bytes:
        """As the port says."""
        key = key_of(uri, self._bucket)

        def fetch() -> bytes:
            answer = self._client.get_object(self._bucket, key)
            try:
                return bytes(answer.read())
            finally:
                answer.close()
                answer.release_conn()

        return await self._call(fetch)

    async def local_path(self, uri: str) -> Path:
        """As the port says. The copy goes after some minutes, or with its object."""
        key = key_of(uri, self._bucket)
        path = self._copy_of(key)

        def fetch() -> None:
            if not path.exists():
                self._client.fget_object(self._bucket, key, str(path))

        await self._call(fetch)
        self._forget_later(key, path)
        return path

    async def lent(self, uri: str, *, name: str) -> str:
        """As the port says: presigned (AWS Signature Version 4, by query), where the server has a public address."""
        key, signer = key_of(uri, self._bucket), self._signer
        if not await self.exists(uri):
            raise NotFound("The object is not there any more.")
        if signer is None:
            return ""
        shown: dict[str, Any] = {
            "response-content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "response-content-type": "application/octet-stream",
            "response-cache-control": "no-store",
        }
        return await self._call(lambda: signer.presigned_get_object(self._bucket, key, LENT, shown))

    async def fetch(self, uri: str, to: Path, demand: Callable[[int], None] | None = None) -> None:
        """As the port says."""
        key = key_of(uri, self._bucket)

        def copy() -> None:
            answer = self._client.get_object(self._bucket, key)
            try:
                if demand is not None:
                    demand(int(answer.headers.get("Content-Length", 0)))
                written(cast(IO[bytes], answer), to, PurePosixPath(key).name)
            finally:
                answer.close()
                answer.release_conn()

        await self._call(copy)

    async def drop(self, uri: str) -> bool:
        """As the port says. Where the bucket keeps versions, all of them go: deleted means deleted."""
        key = key_of(uri, self._bucket)
        parts_of(key)
        self._forget(key)
        return await self._call(lambda: self._removed(key))

    def _removed(self, key: str) -> bool:
        there = self._stat(key) is not None
        if self._keeps_versions():
            for version in self._client.list_objects(self._bucket, prefix=key, include_version=True):
                if version.object_name == key:
                    self._client.remove_object(self._bucket, key, version_id=version.version_id)
        elif there:
            self._client.remove_object(self._bucket, key)
        return there

    def _stat(self, key: str) -> Any:
        try:
            return self._client.stat_object(self._bucket, key)
        except (S3Error, InvalidResponseError) as error:
            if _code(error) in GONE:
                return None
            raise

    async def exists(self, uri: str) -> bool:
        """As the port says."""
        key = key_of(uri, self._bucket)
        return await self._call(lambda: self._stat(key) is not None)

    async def all(self, *, prefix: str = "", limit: int = 1000, cursor: str = "") -> Page[Stored]:
        """As the port says. The parts of an upload that broke off are not seen: let a rule of the bucket abort those after a day."""

        def look() -> list[Stored]:
            listed = self._client.list_objects(self._bucket, prefix=prefix, recursive=True, start_after=cursor or None)
            here = (o for o in listed if not o.is_dir and o.object_name != cursor)
            return [Stored(f"s3://{self._bucket}/{o.object_name}", o.size or 0, o.last_modified) for o in islice(here, limit + 1)]

        found = await self._call(look)
        return Page(found[:limit], key_of(found[limit - 1].uri, self._bucket) if len(found) > limit else "")

    def _copy_of(self, key: str) -> Path:
        return self._fetched / sha256(key.encode()).hexdigest()

    def _forget_later(self, key: str, path: Path) -> None:
        if key in self._leaving:
            self._leaving.pop(key).cancel()
        self._leaving[key] = asyncio.get_running_loop().call_later(KEPT_S, self._forget, key)

    def _forget(self, key: str) -> None:
        if key in self._leaving:
            self._leaving.pop(key).cancel()
        self._copy_of(key).unlink(missing_ok=True)
