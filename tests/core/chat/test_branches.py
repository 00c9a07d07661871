"""Another wording, another answer, another model: nothing is overwritten, and every path is one conversation."""

import json

import pytest
from echo_house import ask, finished, taken_in

from core.chat.export import as_json, as_markdown
from core.chat.model import ChatSettings, Verdict
from core.errors import BadInput, NotFound
from core.ids import new_id

pytestmark = pytest.mark.anyio


async def said(app, ada, conversation_id, **at):
    return [m.content for m in (await app.chat.thread(ada.user, conversation_id, **at)).messages]


@pytest.fixture
async def first(app, ada):
    return await finished(await app.chat.send(ada, ask("the first")))


async def test_a_question_answered_again_has_two_answers_to_choose_from(app, ada, first):
    again_id = new_id()
    turn = await app.chat.answer_again(ada, first.id, again_id)
    assert await app.chat.answer_again(ada, first.id, again_id) is turn or turn.finished
    again = await finished(turn)
    assert (again.id, again.reply_to, again.content) == (again_id, first.reply_to, first.content)
    thread = await app.chat.thread(ada.user, first.conversation_id)
    assert thread.branches[again_id] == (first.id, again_id)
    assert (await app.chat.thread(ada.user, first.conversation_id, at=first.id)).messages[-1].id == first.id


async def test_what_follows_an_edit_knows_nothing_of_the_first_wording(app, ada, first):
    edited = await finished(await app.chat.send(ada, ask("the second", first.conversation_id, parent_id="")))
    await finished(await app.chat.send(ada, ask("and then?", first.conversation_id, parent_id=edited.id)))
    assert await said(app, ada, first.conversation_id) == ["the second", "You said: the second", "and then?", "You said: and then?"]
    assert await said(app, ada, first.conversation_id, at=first.id) == ["the first", "You said: the first"]


async def test_two_tabs_that_write_at_once_make_branches_and_lose_nothing(app, ada, first):
    for words in ("from one tab", "from the other"):
        await finished(await app.chat.send(ada, ask(words, first.conversation_id, parent_id=first.id)))
    thread = await app.chat.thread(ada.user, first.conversation_id)
    question = thread.messages[-2]
    assert question.content == "from the other"
    assert len(thread.branches[question.id]) == 2


async def test_an_answer_again_reads_the_same_documents(app, ada):
    await taken_in(app, ada, "guide.md", "# Backups\n\nBackups are kept for 35 days.\n")
    answer = await finished(await app.chat.send(ada, ask("How long are backups kept?", collections=("lab",))))
    again = await finished(await app.chat.answer_again(ada, answer.id, new_id()))
    assert [s.chunk_id for s in again.metadata.sources] == [s.chunk_id for s in answer.metadata.sources]


async def test_an_answer_can_only_be_given_again_by_its_owner_and_with_a_proper_id(app, ada, bob, first):
    with pytest.raises(NotFound):
        await app.chat.answer_again(bob, first.id, new_id())
    with pytest.raises(BadInput):
        await app.chat.answer_again(ada, first.id, "mine")
    with pytest.raises(BadInput):
        await app.chat.answer_again(ada, first.reply_to, new_id())


async def test_the_settings_of_a_conversation_are_those_of_its_answers(app, ada, first):
    begun = await finished(await app.chat.send(ada, ask("one two three four five", settings=ChatSettings(max_tokens=3))))
    assert begun.content == "You said: one "
    await app.chat.change(ada.user, first.conversation_id, settings=ChatSettings(max_tokens=4))
    assert (await finished(await app.chat.send(ada, ask("one two three", first.conversation_id)))).content == "You said: one two "
    own = await finished(await app.chat.send(ada, ask("one two three", first.conversation_id, max_tokens=2)))
    assert own.content == "You said: ", "what a request says itself counts"


@pytest.mark.parametrize("given", [{"temperature": -0.1}, {"temperature": 2.1}, {"max_tokens": 0}, {"system_prompt": "x" * 20_001}])
def test_settings_out_of_range_are_refused_with_the_range(given):
    with pytest.raises(BadInput):
        ChatSettings(**given)


async def test_titles_pins_and_tags_change_one_by_one(app, ada, first):
    await app.chat.change(ada.user, first.conversation_id, title="  Doors  and keys ")
    await app.chat.change(ada.user, first.conversation_id, pinned=True)
    changed = await app.chat.change(ada.user, first.conversation_id, tags=["lab", " lab ", "", "keys"])
    assert (changed.title, changed.pinned, changed.tags) == ("Doors and keys", True, ("lab", "keys"))
    assert list(await app.chat.tags(ada.user)) == ["keys", "lab"]
    for wrong in ({"title": " "}, {"tags": ["x" * 41]}, {"tags": [str(n) for n in range(21)]}):
        with pytest.raises(BadInput):
            await app.chat.change(ada.user, first.conversation_id, **wrong)


async def test_a_verdict_is_its_readers_own(app, ada, bob, first):
    await app.chat.judge(ada.user, first.id, Verdict.BAD, " too short ")
    assert (await app.chat.feedback(ada.user, first.conversation_id))[first.id].reason == "too short"
    with pytest.raises(NotFound):
        await app.chat.judge(bob.user, first.id, Verdict.GOOD)
    await app.chat.judge(ada.user, first.id, None)
    assert await app.chat.feedback(ada.user, first.conversation_id) == {}


async def test_a_link_shows_what_was_there_when_it_was_made_until_it_is_revoked(app, ada, bob, first):
    share, secret = await app.shelf.share(ada.user, first.conversation_id, first.id)
    await finished(await app.chat.send(ada, ask("a secret that came later", first.conversation_id)))
    conversation, thread = await app.shelf.shared(secret)
    assert conversation.id == first.conversation_id
    assert [m.content for m in thread.messages] == ["the first", "You said: the first"]
    with pytest.raises(NotFound):
        await app.shelf.revoke(bob.user, share.id)
    with pytest.raises(NotFound):
        await app.shelf.share(bob.user, first.conversation_id, first.id)
    await app.shelf.revoke(ada.user, share.id)
    for gone in (secret, "anything", ""):
        with pytest.raises(NotFound):
            await app.shelf.shared(gone)


async def test_prompts_are_saved_by_name_and_only_for_their_owner(app, ada, bob):
    await app.shelf.save_prompt(ada.user, "daily", "What happened?")
    kept = await app.shelf.save_prompt(ada.user, " daily ", "What happened today?")
    (prompt,) = await app.shelf.prompts(ada.user)
    assert (prompt.name, prompt.text) == ("daily", "What happened today?")
    assert await app.shelf.prompts(bob.user) == []
    with pytest.raises(NotFound):
        await app.shelf.drop_prompt(bob.user, prompt.id)
    await app.shelf.drop_prompt(ada.user, prompt.id)
    assert kept.text == prompt.text
    for name, text in (("", "x"), ("x", " "), ("x" * 101, "x"), ("x", "x" * 20_001)):
        with pytest.raises(BadInput):
            await app.shelf.save_prompt(ada.user, name, text)


async def test_an_export_has_every_message_of_the_path_and_its_sources(app, ada):
    await taken_in(app, ada, "guide.md", "# Backups\n\nBackups are kept for 35 days.\n")
    answer = await finished(await app.chat.send(ada, ask("How long are backups kept?", collections=("lab",))))
    conversation = await app.chat.conversation(ada.user, answer.conversation_id)
    messages = await app.chat.whole_path(ada.user, answer.conversation_id)
    text = as_markdown(conversation, messages)
    assert text.index("How long are backups kept?") < text.index("[1] ") < text.index("Backups are kept for 35 days.")
    told = json.loads(json.dumps(as_json(conversation, messages), default=str))
    assert [m["role"] for m in told["messages"]] == ["user", "assistant"]
    assert told["messages"][1]["parent_id"] == told["messages"][0]["id"]


async def test_the_whole_path_is_read_however_long_it_is(app, ada, monkeypatch):
    monkeypatch.setattr("core.chat.room.MAX_PAGE", 4)
    conversation = new_id()
    for n in range(5):
        await finished(await app.chat.send(ada, ask(f"q{n}", conversation)))
    assert [m.content for m in await app.chat.whole_path(ada.user, conversation)][::2] == [f"q{n}" for n in range(5)]
