import pytest
from echo_house import ask, finished, taken_in
from hypothesis import given
from hypothesis import strategies as st

from core.chat.followups import leans, standalone
from core.inference import Message

GUIDE = "# Lab handbook\n\nBackups run every night at 02:30.\n\nThe coffee machine is descaled on Fridays."


def asked(*questions):
    return [message for q in questions for message in (Message("user", q), Message("assistant", "Something."))]


@pytest.mark.parametrize(
    ("previous", "question", "searched"),
    [
        (["How long are daily snapshots kept?"], "And the monthly ones?", "And the monthly ones? (long daily snapshots kept)"),
        (["Which wifi is for guests?"], "How fast is it?", "How fast is it? (wifi guests)"),
        (["Wann gelten die Ruhezeiten?"], "und am Wochenende?", "und am Wochenende? (gelten ruhezeiten)"),
        (["What does code H12 mean?"], "what about H20?", "what about H20? (code h12 mean)"),
        (["Who waters the ferns?", "And the palms?"], "and the cacti?", "and the cacti? (palms waters ferns)"),
        (["Where do backups run?"], "When is the fire drill of the Bremen office?", "When is the fire drill of the Bremen office?"),
        ([], "And the monthly ones?", "And the monthly ones?"),
    ],
)
def test_a_question_that_leans_on_another_gets_its_words(previous, question, searched):
    assert standalone(question, asked(*previous)) == searched


@given(st.text(max_size=80), st.lists(st.text(max_size=80), max_size=3))
def test_what_was_asked_is_never_lost_and_whole_questions_stay_as_they_are(question, previous):
    searched = standalone(question, asked(*previous))
    assert searched.startswith(question)
    assert leans(question) or searched == question


@pytest.mark.anyio
async def test_the_trace_says_what_was_searched_for_a_follow_up(app, ada):
    await taken_in(app, ada, "guide.md", GUIDE)
    first = await finished(await app.chat.send(ada, first_request := ask("When do backups run?", collections=("lab",))))
    assert first.metadata.retrieval["query"] == "When do backups run?"
    second = await finished(await app.chat.send(ada, ask("And the coffee machine?", first_request.conversation_id, collections=("lab",))))
    assert second.metadata.retrieval["query"] == "And the coffee machine? (backups run)"
