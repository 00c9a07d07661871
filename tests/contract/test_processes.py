"""The contract of Processes, and what the stores make of a process that is gone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from stored import a_collection, add

from core.adapters.conversations_sql import SqlConversations
from core.adapters.documents_sql import SqlDocuments
from core.adapters.processes_sql import SqlProcesses
from core.adapters.versions_sql import SqlCollectionVersions
from core.adapters.workflows_sql import SqlWorkflows
from core.chat.model import ChatMessage, Conversation, MessageStatus, NewTurn
from core.ids import new_id, reply_id
from core.processes import Duty, Process, ProcessRole
from core.workflow.model import Engine, Pipeline, PipelineRun, RunStatus

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
SOON, LATER = NOW + timedelta(seconds=1), NOW + timedelta(seconds=60)


@pytest.fixture
def processes(database):
    return SqlProcesses(database)


async def a_process(processes, role=ProcessRole.WORKER, at=NOW):
    process = Process(new_id(), role, "box", at, at)
    await processes.beat(process, at, silent_since=None)
    return process


def a_turn(user):
    conversation_id, message_id = new_id(), new_id()
    question = ChatMessage(message_id, conversation_id, "", user.id, "user", "What is the port?", NOW)
    answer = replace(question, id=reply_id(message_id), role="assistant", content="", status=MessageStatus.GENERATING, reply_to=message_id)
    return NewTurn(Conversation(conversation_id, user.id, "The port", NOW, NOW), question, answer, LATER, ())


async def test_a_process_is_known_until_it_leaves(processes):
    one, two = await a_process(processes), await a_process(processes, ProcessRole.WEB)
    assert [p.id for p in await processes.all()] == [two.id, one.id]
    await processes.leave(one.id)
    assert await processes.all() == [two]


async def test_a_process_that_is_silent_for_too_long_is_forgotten_and_known_again_when_it_speaks(processes):
    silent, one = await a_process(processes), await a_process(processes)
    await processes.beat(one, LATER, silent_since=NOW)
    assert len(await processes.all()) == 2
    await processes.beat(one, LATER, silent_since=SOON)
    assert [p.id for p in await processes.all()] == [one.id]
    await processes.beat(silent, LATER, silent_since=SOON)
    assert {p.id for p in await processes.all()} == {one.id, silent.id}


async def test_a_process_never_counts_itself_as_gone(processes):
    one = await a_process(processes)
    await processes.beat(one, LATER, silent_since=LATER, gone=one.id)
    assert [p.id for p in await processes.all()] == [one.id]


async def test_a_duty_is_one_processes_until_that_one_is_gone(processes):
    one, two = await a_process(processes), await a_process(processes)
    assert set(await processes.beat(one, SOON, silent_since=None, duties=tuple(Duty))) == set(Duty)
    assert await processes.beat(two, SOON, silent_since=None, duties=tuple(Duty)) == []
    assert set(await processes.beat(one, SOON, silent_since=None, duties=tuple(Duty))) == set(Duty)
    assert set(await processes.beat(two, SOON, silent_since=None, gone=one.id, duties=tuple(Duty))) == set(Duty)


async def test_an_answer_whose_process_is_gone_is_interrupted_before_its_lease_is_over(database, processes, ada):
    process = await a_process(processes)
    store, turn = SqlConversations(database, process.id), a_turn(ada)
    await store.accept(turn)
    assert await store.expire_leases(SOON) == 0
    await processes.leave(process.id)
    assert await store.expire_leases(SOON) == 1
    assert (await store.message_for(ada.id, turn.answer.id)).status is MessageStatus.INTERRUPTED


async def test_an_answer_goes_on_until_its_owner_asks_to_stop_it_or_it_is_over(database, ada, bob):
    store, turn, other = SqlConversations(database), a_turn(ada), a_turn(ada)
    await store.accept(turn)
    await store.accept(other)
    both = {turn.answer.id, other.answer.id}
    await store.ask_to_stop(bob.id, turn.answer.id)
    assert await store.going_on([*both, new_id()]) == both
    await store.ask_to_stop(ada.id, turn.answer.id)
    assert await store.going_on(list(both)) == {other.answer.id}
    await store.finish(replace(other.answer, content="8000", status=MessageStatus.COMPLETE), [])
    assert await store.going_on(list(both)) == set()
    await store.ask_to_stop(ada.id, other.answer.id)  # over: nothing happens
    assert (await store.message_for(ada.id, other.answer.id)).status is MessageStatus.COMPLETE


async def test_a_job_whose_process_is_gone_is_taken_by_another_and_lost_to_the_first(database, processes, ada):
    first, second = await a_process(processes), await a_process(processes)
    one, two = SqlDocuments(database, first.id), SqlDocuments(database, second.id)
    await add(one, ada, await a_collection(one, ada), publish=False)
    job, _, _ = await one.lease_job(NOW, LATER)
    assert await two.lease_job(SOON, LATER) is None
    await processes.leave(first.id)
    taken, _, _ = await two.lease_job(SOON, LATER)
    assert (taken.id, taken.attempts) == (job.id, 2)
    assert not await one.report(job, LATER)
    assert await two.report(taken, LATER)


async def test_a_version_whose_process_is_gone_is_built_by_another(database, processes, ada):
    first = await a_process(processes)
    one, two = SqlCollectionVersions(database, first.id), SqlCollectionVersions(database, (await a_process(processes)).id)
    documents = SqlDocuments(database)
    collection = await a_collection(documents, ada)
    await add(documents, ada, collection)
    begun = await one.begin(collection.id, "other", 4, NOW)
    assert await one.lease(NOW, LATER) == begun
    assert await two.lease(SOON, LATER) is None
    await processes.leave(first.id)
    assert (await two.lease(SOON, LATER)).version == begun.version


async def test_a_run_is_held_by_one_process_and_taken_up_by_another_when_that_one_is_gone(database, processes):
    first, second = await a_process(processes), await a_process(processes)
    one, two = SqlWorkflows(database, first.id), SqlWorkflows(database, second.id)
    await one.add_pipeline(Pipeline("", "greet", 0, Engine.ARGO, "a: 1", "ada", NOW))
    run = PipelineRun(new_id(), "greet@1", RunStatus.PENDING, None, None, {}, user_id="ada", created_at=NOW)
    await one.add_run(run, [])
    begun = run.to(RunStatus.RUNNING, NOW)
    assert await one.hold(begun)
    assert not await two.hold(begun)
    assert await two.orphaned() == []
    await processes.leave(first.id)
    assert [r.id for r in await two.orphaned()] == [run.id]
    assert await two.hold(begun)
    assert not await one.keep(replace(begun, external_id="x"))
    assert await two.keep(begun.to(RunStatus.FAILED, SOON, "It was interrupted."))
    assert not await one.hold(begun)
