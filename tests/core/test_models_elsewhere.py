"""`hearth inference` on another machine is asked as the process on this one is: it says how its models answer, and who goes first."""

import pytest
from echo_house import ask, echo_settings, finished, taken_in

from core.app import open_app, open_models
from core.chat.answering import QUOTED
from core.inference import Grounding

pytestmark = pytest.mark.anyio


def elsewhere(home, server, prefix="hearth+"):
    names = {"llm": "echo-extractive", "embeddings": "echo-embed", "reranker": "echo-rerank", "stt": "echo-stt", "tts": "echo-tts"}
    return echo_settings(home, **{f"{service}_url": f"{prefix}{server.url}#{name}" for service, name in names.items()})


@pytest.mark.parametrize(("prefix", "grounding"), [("hearth+", Grounding.EXTRACTIVE), ("", Grounding.GENERATIVE)])
async def test_only_a_server_of_ours_says_that_its_model_had_better_quote(tmp_path, extractive_server, prefix, grounding):
    async with open_models(elsewhere(tmp_path, extractive_server, prefix), None) as models:
        assert (await models.llm.info()).grounding is grounding
        assert (models.codec is not None) is bool(prefix), "it opens sound too"
        assert bool(models.queues()) is not bool(prefix), "who waits, waits there"


async def test_a_house_whose_models_are_on_another_machine_of_ours_answers_as_one_with_its_own(tmp_path, extractive_server):
    async with open_app(elsewhere(tmp_path, extractive_server), serving=True) as app:
        who = await app.users.by_key((await app.users.make_key(await app.users.add("ada", None)))[1])
        await taken_in(app, who, "guide.md", "# Backups\n\nBackups are kept for 35 days.")
        answer = await finished(await app.chat.send(who, ask("How long are backups kept?", collections=("lab",))))
        assert "Backups are kept for 35 days." in answer.content
        assert answer.metadata.model_used == QUOTED
