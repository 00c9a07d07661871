"""Fetching pages: only the public internet is reached, however the address is written and whatever it answers."""

import asyncio
import gzip
import socket
from contextlib import asynccontextmanager

import pytest
from echo_house import echo_settings, waited_for

from core.adapters.pages_http import HttpPages, is_public
from core.app import open_app
from core.errors import BadInput, NotAllowed, ServiceTimeout, ServiceUnavailable, TooLong, Unreadable

pytestmark = pytest.mark.anyio

PRIVATE_NAMES = [
    "localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "localtest.me", "lvh.me", "127.0.0.1.nip.io", "127-0-0-1.sslip.io", 
    "spoofed.burpcollaborator.net",
    "intranet", "db", "redis", "minio", "metadata.google.internal", "metadata", "host.docker.internal", "kubernetes.default.svc", "router.lan", "nas.local",
    "ⓛocalhost", "ｌｏｃａｌｈｏｓｔ", "xn--localhost-.test", "rebinding.example", "mixed.example", "nowhere.example", "a" * 63 + ".example",
]  # fmt: skip
LOOPBACK = [
    "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.127.127.127", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "0X7F.0.0.1",
    "017700000001", "0177.1", "0177.0.0.1", "00177.00.00.01", "0", "0.0.0.0", "00000000", "0x0", "127.0.0.1%00", "127.0.0.1%2f", 
    "①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1",
    "127｡0｡0｡1", "%31%32%37.0.0.1", "%6c%6f%63%61%6c%68%6f%73%74", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2001:0:7f00:1::]", "[::1%25lo]", "[::1%lo]", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[100::1]", "[2001:db8::1]",
    "[::ffff:0:127.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:10.0.0.1]",
]  # fmt: skip
OTHERS = [
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.1.254", "169.254.169.254", "169.254.170.2", "100.64.0.1",
    "100.100.100.200",
    "192.0.0.1", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "168.63.129.16",
    "192.88.99.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "3232235521", "0xc0a80001",
]  # fmt: skip
WHOLE = [
    "http://127.0.0.1\\@203.0.113.9:{port}/", "http://203.0.113.9@127.0.0.1:{port}/", "http://user:pass@127.0.0.1:{port}/", "http://127.0.0.1:{port}@203.0.113.9/",
    "http://203.0.113.9 &@127.0.0.1:{port}# @203.0.113.9/", "http://203.0.113.9#@127.0.0.1:{port}/", "http://127.0.0.1:{port}\t/", "ht\ttp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\r\nHost: x", " http://127.0.0.1:{port}/", "http://127.0.0.1:{port}/ ", "http:127.0.0.1:{port}/", "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}", "file:///etc/passwd", "FILE:///etc/passwd", "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x", "dict://127.0.0.1:{port}/", "ws://127.0.0.1:{port}/", "unix:///run/docker.sock", "data:text/html,<p>x",
    "javascript:alert(1)",
    "jar:http://127.0.0.1:{port}!/", "http+unix://x/", "s3://hearth/x", "http://[::1", "http://]:{port}/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/", "http://", "http://:{port}/", "", "x", "http://127.0.0.1:{port}/\x00", "http://127.0.0.1\u202e:{port}/", "https://127.0.0.1:{port}/",
    "https://localhost:{port}/", "hTTp://127.0.0.1:{port}/", "http://127.0.0.1:{port}/" + "x" * 3000,
]  # fmt: skip
HOSTILE = [f"http://{host}:{{port}}/" for host in (*PRIVATE_NAMES, *LOOPBACK, *OTHERS)] + WHOLE


class Site:
    """A server on a loopback address that counts who connects."""

    def __init__(self, answers=None):
        self.answers, self.connections, self.hosts = answers or {}, 0, []

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.hosts.append(head)
            status, headers, body = self.answers.get(head.split()[1], (404, {}, b""))
            if status is None:
                await asyncio.sleep(60)
            lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close"]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def at(self, host):
        server = await asyncio.start_server(self.serve, host, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


async def offline(host, port):
    """The system's resolver for everything that is a number in some spelling; names by a table, as hostile name servers give them."""
    if host == "mixed.example":
        return ["93.184.216.34", "127.0.0.1"]
    if host in ("nowhere.example", "a" * 63 + ".example"):
        raise socket.gaierror("unknown")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        return ["127.0.0.1"]
    return [sockaddr[0] for *_, sockaddr in found]


async def test_no_spelling_of_an_address_reaches_the_inside(tmp_path):
    assert len(HOSTILE) >= 120
    canary, reached = Site({"/": (200, {"Content-Type": "text/html"}, b"inside")}), []
    async with canary.at("127.0.0.1"):
        for url in HOSTILE:
            try:
                await HttpPages(resolve=offline, timeout_s=2).fetch(url.replace("{port}", str(canary.port)), tmp_path / "page")
            except BadInput:
                continue
            except (ServiceUnavailable, ServiceTimeout) as error:
                reached.append((url, repr(error.__cause__)))
            else:
                reached.append((url, "fetched"))
    assert reached == []
    assert canary.connections == 0


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_public_addresses_are_public(address):
    assert is_public(address)


PAGE = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html><title>Out there</title><body><p>The lamp is green.</p></html>")


def to(location):
    return 302, {"Location": location}, b""


@pytest.fixture
async def outside():
    """A site that the tests take for public, and one that they take for inside."""
    inside = Site({"/": PAGE})
    async with inside.at("127.0.0.2"), Site().at("127.0.0.1") as site:
        site.inside = inside
        here, there = f"http://127.0.0.1:{site.port}", f"http://127.0.0.2:{inside.port}"
        site.url = here
        zipped = gzip.compress(PAGE[2])
        site.answers = {
            "/": PAGE,
            "/docs/guide?v=2": PAGE,
            "/gzip": (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, zipped),
            "/bomb": (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, gzip.compress(b"0" * 60_000_000)),
            "/brotli": (200, {"Content-Type": "text/html", "Content-Encoding": "br"}, b"x"),
            "/torn": (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, b"no gzip"),
            "/large": (200, {"Content-Type": "text/plain"}, b"x" * 20_000_001),
            "/script": (200, {"Content-Type": "application/x-sh"}, b"x"),
            "/untyped": (200, {}, b"x"),
            "/slow": (None, {}, b""),
            "/inside": to(there + "/"),
            "/name-inside": to(f"http://inside.example:{inside.port}/"),
            "/file": to("file:///etc/passwd"),
            "/metadata": to("http://169.254.169.254/latest/meta-data/"),
            "/credentials": to(f"http://a:b@127.0.0.1:{site.port}/"),
            "/round": to("/round"),
            **{f"/hop{n}": to(f"/hop{n - 1}" if n > 1 else "/") for n in range(1, 7)},
        }
        yield site


def only_outside(address):
    return address == "127.0.0.1"


async def names(host, _port):
    return {"outside.example": ["127.0.0.1"], "inside.example": ["127.0.0.2"]}[host]


@pytest.fixture
def pages():
    return HttpPages(resolve=names, public=only_outside, timeout_s=1)


@pytest.mark.parametrize("path", ["/", "/gzip", "/hop5"])
async def test_a_page_is_fetched_whole_also_compressed_and_after_five_redirects(outside, pages, tmp_path, path):
    page = await pages.fetch(outside.url + path + "#part", tmp_path / "page")
    assert (tmp_path / "page").read_bytes() == PAGE[2]
    assert page.url == outside.url + ("/" if path != "/gzip" else path)
    assert page.name == ("127.0.0.1.html" if path != "/gzip" else "127.0.0.1/gzip.html")


async def test_a_page_is_called_by_its_address(outside, pages, tmp_path):
    page = await pages.fetch(f"http://outside.example:{outside.port}/docs/guide?v=2", tmp_path / "page")
    assert page.name == "outside.example/docs/guide?v=2.html"


REFUSED = {
    "/inside": BadInput, "/name-inside": BadInput, "/file": BadInput, "/metadata": BadInput, "/credentials": BadInput, "/round": BadInput, "/hop6": BadInput,
    "/nothing": BadInput, "/script": Unreadable, "/untyped": Unreadable, "/brotli": Unreadable, "/torn": Unreadable, "/large": TooLong, "/bomb": TooLong,
    "/slow": ServiceTimeout,
}  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
async def test_what_a_public_site_can_do_to_us_is_refused_with_a_sentence(outside, pages, tmp_path, path):
    with pytest.raises(REFUSED[path]) as refused:
        await pages.fetch(outside.url + path, tmp_path / "page")
    assert refused.value.hint
    assert outside.inside.connections == 0
    assert not (tmp_path / "page").exists() or (tmp_path / "page").stat().st_size <= 20_000_000


async def test_a_name_that_changes_its_answer_is_asked_once_per_connection_and_checked_each_time(outside, tmp_path):
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "127.0.0.2"]]
    asked = []

    async def rebinding(host, _port):
        asked.append(host)
        return answers[len(asked) - 1]

    pages = HttpPages(resolve=rebinding, public=only_outside)
    await pages.fetch(f"http://rebinding.example:{outside.port}/", tmp_path / "page")
    assert (len(asked), outside.connections) == (1, 1)
    for _ in range(2):
        with pytest.raises(BadInput):
            await pages.fetch(f"http://rebinding.example:{outside.inside.port}/", tmp_path / "page")
    assert (len(asked), outside.inside.connections) == (3, 0)


async def test_proxies_of_the_environment_and_cookies_are_not_used(outside, pages, tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.2:{outside.inside.port}")
    outside.answers["/cookie"] = (302, {"Location": "/", "Set-Cookie": "a=b"}, b"")
    await pages.fetch(outside.url + "/cookie", tmp_path / "page")
    assert outside.inside.connections == 0
    assert not any("cookie:" in head.lower() or "authorization:" in head.lower() for head in outside.hosts)


async def test_pages_are_off_unless_they_are_switched_on(app, ada):
    with pytest.raises(NotAllowed, match="switched off") as refused:
        await app.library.fetch(ada.user, "lab", "http://example.org/")
    assert "HEARTH_URL_INGEST=true" in refused.value.hint
    assert (await app.library.collections(ada.user)).items == []


async def test_a_page_becomes_a_document_and_fetched_again_its_next_version(tmp_path, echo_server, outside, pages, monkeypatch):
    async with open_app(echo_settings(tmp_path / "home", url_ingest=True), local=echo_server, serving=True) as house:
        await house.users.add("ada", "correct horse battery")
        who = (await house.users.sign_in("ada", "correct horse battery", "test"))[0]
        with pytest.raises(BadInput, match="public internet"):
            await house.library.fetch(who.user, "lab", outside.url + "/")
        monkeypatch.setattr(house.library, "_pages", pages)
        jobs = []
        for text in (b"green", b"green", b"red"):
            outside.answers["/"] = (*PAGE[:2], PAGE[2].replace(b"green", text))
            jobs.append(await waited_for(house, who, await house.library.fetch(who.user, "lab", outside.url + "/")))
        assert [(j.error, j.version, j.document_id) for j in jobs] == [("", v, jobs[0].document_id) for v in (1, 1, 2)]
        document = await house.library.document(who.user, jobs[0].document_id)
        assert (document.title, document.source_url, document.content) == ("Out there", outside.url + "/", "The lamp is red.")
