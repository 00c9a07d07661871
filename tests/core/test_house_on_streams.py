"""A house whose events go out to a NATS server, which comes and goes."""

import asyncio

import msgspec
import nats
import pytest
import servers
from echo_house import ask, echo_settings, finished

from core.app import open_app
from core.errors import SettingsError
from core.events import CHAT_ORDER, EventType

pytestmark = [pytest.mark.anyio, pytest.mark.services]
WITHOUT_DOCUMENTS = [kind for kind in CHAT_ORDER if kind is not EventType.RAG_QUERY_EXECUTED]


@pytest.fixture(params=["nats-2.15"], ids=lambda leg: f"leg={leg}")
def server(request):
    with servers.nats_2_15() as running:
        yield running


@pytest.fixture
async def app(tmp_path, echo_server, server):
    async with open_app(echo_settings(tmp_path, events_url=server.url), local=echo_server, serving=True) as opened:
        yield opened


async def told(server, user, within_s=20):
    """The types in CHAT of that user, once as many are there as a sign-in and a turn tell."""
    async with asyncio.timeout(within_s), await nats.connect(server.url) as connection:
        listening = await connection.jetstream().subscribe(f"CHAT.{user.user.id}.>", ordered_consumer=True)
        found = []
        while len(found) < len(WITHOUT_DOCUMENTS):
            message = await listening.next_msg(within_s)
            found.append((message.subject.rpartition(".")[2], msgspec.msgpack.decode(message.data)["id"]))
        return found


async def health(app):
    return {part.part: part.ready for part in await app.check()}


async def test_a_turn_is_told_in_the_order_of_the_domain(app, ada, server):
    assert (await health(app))["events"]
    await finished(await app.chat.send(ada, ask("hello")))
    found = await told(server, ada)
    assert [kind for kind, _ in found] == WITHOUT_DOCUMENTS
    assert [event_id for _, event_id in found] == [r.event.id for r in await app.events.read(user_id=ada.user.id)]


async def test_chat_does_not_notice_that_the_server_is_away_and_all_is_told_when_it_is_back(app, ada, server):
    server.kill()
    answer = await finished(await app.chat.send(ada, ask("hello")))
    assert answer.content == "You said: hello"
    assert not (await health(app))["events"]
    server.start()
    assert sorted(kind for kind, _ in await told(server, ada)) == sorted(WITHOUT_DOCUMENTS)


@pytest.mark.parametrize("leg", ["nats-2.9"], ids=lambda leg: f"leg={leg}")
async def test_a_house_does_not_start_over_a_server_that_is_too_old(leg, tmp_path):
    with servers.nats_2_9() as old, pytest.raises(SettingsError, match=r"too old.*Use NATS 2\.10"):
        async with open_app(echo_settings(tmp_path, events_url=old.url)):
            pass


async def test_a_house_refuses_an_address_that_no_adapter_speaks(tmp_path):
    with pytest.raises(SettingsError, match=r"HEARTH_EVENTS_URL starts with 'amqp'.*nats, tls"):
        async with open_app(echo_settings(tmp_path, events_url="amqp://host")):
            pass
