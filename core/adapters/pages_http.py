"""Fetches pages by their address from the public internet, and from nowhere else.

A name is resolved once per hop, every address it gives must be public, and the connection goes to exactly those addresses: a name that answers differently
the second time is never asked a second time. The socket checks the address again, whatever way it came there (an address written as a number or in digits
of another script needs no resolver). Redirects are followed by hand, each like a new address. Proxies, cookies and credentials are never used.
"""

import asyncio
import socket
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from core.errors import BadInput, ServiceTimeout, ServiceUnavailable, TooLong, Unreadable
from core.rag.model import FetchedPage

MAX_REDIRECTS = 5
MAX_BYTES = 20_000_000
"""Of a page, both as it is sent and as it is after decompression."""
TIMEOUT_S = 20.0
PIECE_BYTES = 1 << 16
MAX_URL_CHARS = 2_000
REDIRECTS = frozenset({301, 302, 303, 307, 308})
KINDS: Mapping[str, str] = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "application/pdf": ".pdf",
    "application/epub+zip": ".epub",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}
"""The content types that are taken, and what a file of each is called."""
_PUBLIC_V6 = IPv6Network("2000::/3")
# Global by the book, or to some versions of Python; but they lead to other addresses, into a cloud's own services or nowhere: 6to4 and its relays, Teredo
# and its neighbours, documentation, the IETF's own block (Oracle's metadata is in it), Azure's wire server.
_NOT_PUBLIC: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv6Network, ("2002::/16", "2001::/23", "2001:db8::/32", "3fff::/20")),
    *map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")),
)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


def is_public(address: str) -> bool:
    """Whether a numeric address is a host of the public internet. IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4, Teredo) never is."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if not ip.is_global or ip.is_multicast or ip.is_reserved or any(ip in net for net in _NOT_PUBLIC if net.version == ip.version):
        return False
    return isinstance(ip, IPv4Address) or ip in _PUBLIC_V6


async def resolved(host: str, port: int) -> Sequence[str]:
    """Every address that the system's resolver has for a name. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class HttpPages:
    """The Pages port over aiohttp."""

    def __init__(self, *, resolve: Resolve = resolved, public: Callable[[str], bool] = is_public, timeout_s: float = TIMEOUT_S) -> None:
        """resolve, public: how names become addresses, and which addresses may be connected to.   timeout_s: of everything together."""
        self._resolve, self._public, self._timeout_s = resolve, public, timeout_s

    async def fetch(self, url: str, target: Path) -> FetchedPage:
        """As the port says."""
        at = _address(url)
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(self._resolve, self._public), socket_factory=self._socket, use_dns_cache=False, force_close=True, limit=1
        )
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session,
            ):
                for _ in range(MAX_REDIRECTS + 1):
                    async with session.get(at, allow_redirects=False, headers={"Accept-Encoding": "gzip, identity", "User-Agent": "Hearth"}) as answer:
                        if answer.status in REDIRECTS and "Location" in answer.headers:
                            at = _address(answer.headers["Location"], at)
                            continue
                        suffix = _wanted(answer, at)
                        await _store(answer, target, at)
                        return FetchedPage(str(at), _name(at, suffix))
        except aiohttp.InvalidURL as error:  # an address in another spelling of numbers, like 2130706433
            raise _not_fetched(str(at)) from error
        except TimeoutError as error:
            raise ServiceTimeout(f"{at.host} did not send the page within {self._timeout_s:.0f} s.", service="url", hint="Try again later.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServiceUnavailable(f"{at.host} could not be reached, or broke off.", service="url", hint="Check the address, or try again later.") from error
        raise BadInput(f"{url} leads from one address to the next more than {MAX_REDIRECTS} times.", hint="Use the address where it ends.")

    def _socket(self, info: Any) -> socket.socket:
        """The last gate: a socket exists only for an address that may be connected to."""
        family, kind, protocol, _, sockaddr = info
        _demand_public(self._public, [str(sockaddr[0])], str(sockaddr[0]))
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """Gives aiohttp the addresses that were checked, and so the only ones it can connect to."""

    def __init__(self, resolve: Resolve, public: Callable[[str], bool]) -> None:
        self._resolve, self._public = resolve, public

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Raises: BadInput if one of them isn't public: who answers with both wants the other."""
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            addresses = []
        _demand_public(self._public, addresses, host)
        families = {a: socket.AF_INET6 if ":" in a else socket.AF_INET for a in addresses}
        return [ResolveResult(hostname=host, host=a, port=port, family=f, proto=0, flags=socket.AI_NUMERICHOST) for a, f in families.items()]

    async def close(self) -> None:
        """Nothing to close."""


def _demand_public(public: Callable[[str], bool], addresses: Sequence[str], host: str) -> None:
    if not addresses or not all(public(a) for a in addresses):
        raise BadInput(f"{host} is not an address on the public internet that can be reached.", hint="Only public pages are fetched; upload it as a file.")


def _not_fetched(text: str) -> BadInput:
    return BadInput(f"{text[:200]!r} is not an address that is fetched.", hint="It begins with http:// or https://, names a host and holds no password.")


def _address(text: str, base: URL | None = None) -> URL:
    """What is asked for, by the same parser that the connection is made by. Raises: BadInput for anything but a plain http(s) address."""
    if len(text) > MAX_URL_CHARS or "\\" in text or not text.isprintable() or text != text.strip() or " " in text:
        raise _not_fetched(text)
    try:
        url = URL(text) if base is None else base.join(URL(text))
        host, port = url.raw_host, url.port
    except ValueError as error:
        raise _not_fetched(text) from error
    if url.scheme not in ("http", "https") or not host or "%" in host or port is None or url.raw_user is not None or url.raw_password is not None:
        raise _not_fetched(text)
    return url.with_fragment(None)


def _wanted(answer: aiohttp.ClientResponse, at: URL) -> str:
    """The suffix of what comes. Raises: BadInput for an error or a kind of content that isn't taken."""
    if answer.status != 200:
        raise BadInput(f"{at.host} answers with {answer.status} instead of the page.", hint="Check the address; pages behind a sign-in can't be fetched.")
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in KINDS:
        raise Unreadable(f"{at.host} sends {kind[:60] or 'something without a type'}, which is not taken from the internet.", hint="Upload it as a file.")
    return KINDS[kind]


async def _store(answer: aiohttp.ClientResponse, target: Path, at: URL) -> None:
    """Writes the body, decompressed. Raises: TooLong as soon as it is too large either way; Unreadable for a compression that isn't known."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate", ""):
        raise Unreadable(f"{at.host} sends the page compressed in a way that wasn't asked for.", hint="Upload it as a file.")
    inflate = zlib.decompressobj(47) if encoding in ("gzip", "deflate") else None
    received = written = 0
    async with await anyio.open_file(target, "wb") as out:
        async for piece in answer.content.iter_chunked(PIECE_BYTES):
            received += len(piece)
            try:
                data = inflate.decompress(piece, MAX_BYTES + 1 - written) if inflate else piece
            except zlib.error as error:
                raise Unreadable(f"What {at.host} sends is damaged.", hint="Try again later.") from error
            written += len(data)
            if max(received, written) > MAX_BYTES or (inflate and inflate.unconsumed_tail):
                raise TooLong(f"The page has more than {MAX_BYTES // 1_000_000} MB.", hint="Download it, split it, and upload the parts.")
            await out.write(data)


def _name(at: URL, suffix: str) -> str:
    """What the page is called from one fetch to the next: host, path and query, with the suffix of its kind."""
    whole = f"{at.host}{at.path.rstrip('/')}" + (f"?{at.query_string}" if at.query_string else "")
    return whole if PurePosixPath(whole).suffix.lower() == suffix and "/" in whole else whole + suffix
