"""Push-to-talk and calls in a real browser with a microphone out of a file: tones, which the echo models understand and speak. What the page plays is taken
down where sound leaves it."""

import json

import pytest
from echo_house import recorded
from packing import packed
from servers import WHERE
from speech import in_tones
from talking import called

from core.voice.containers import wav
from inference.echo import tones

pytestmark = [pytest.mark.timeout(180)]

QUESTION = "what is the weather like today"
LONG = "tell me a long story about the old house by the sea and everybody who has lived in it since it was built and what they did there in the winter"
"""Its answer repeats it, so that it is still being spoken when the interruption comes, also on a slow machine."""
NO_LINE = "window.line = WebSocket; window.WebSocket = class { constructor() { setTimeout(() => this.onclose({ code: 1006 }), 10); } }; "
COUNT_FRAMES = """() => {
  const send = WebSocket.prototype.send;
  window.sent = 0;
  WebSocket.prototype.send = function (data) { if (typeof data !== 'string') window.sent++; return send.call(this, data); };
}"""


@pytest.fixture
def caller(house, tmp_path, playwright):
    """Makes callers; each has a browser of its own, because a browser has one microphone."""
    opened = []

    def make(*parts, **given):
        browser, visitor = called(playwright, house.url, tmp_path, *parts, **given)
        opened.append(browser)
        return visitor

    yield make
    for browser in opened:
        browser.close()


def conversation(house, caller):
    """The messages of the conversation the page names."""
    wanted = caller.page.url.partition("c=")[2]
    return house.get(f"/v1/conversations/{wanted}")[1]["messages"]


def known(house):
    """The conversations there are."""
    return {found["id"] for found in house.get("/v1/conversations")[1]["items"]}


@pytest.mark.parametrize("house", WHERE, ids=lambda leg: f"leg={leg}", indirect=True)
def test_a_call_hears_a_question_and_answers_aloud(house, caller):
    """Where servers keep things, each of them is killed once on the way and comes back."""
    before = known(house)
    ada = caller(1.5, in_tones(QUESTION), 6.0)
    ada.shoot("voice-empty")
    assert "Recordings are kept for one hour" in ada.page.inner_text("#voice-empty")
    house.stores.die(house, "vectors", "objects")
    ada.page.click("#voice-call")
    ada.state("listening")
    ada.state("hearing")
    ada.page.wait_for_selector(".said.interim:not(:empty)")
    ada.page.wait_for_function("document.body.dataset.call === 'hearing' && document.querySelector('#voice-level').value > 0.1")  # it falls between two words
    ada.shoot("voice-hearing")
    ada.state("speaking")
    while known(house) == before:  # it speaks as soon as the question is being stored; once it is, nothing of it may be lost
        ada.page.wait_for_timeout(10)
    house.stores.die(house, "records", "events", "sessions")
    ada.shoot("voice-speaking")
    ada.done()
    ada.state("listening")
    ada.page.click(".waterfall summary")
    ada.shoot("voice-done")
    heard, answered = conversation(house, ada)
    assert heard["content"] == ada.page.inner_text(".said") == QUESTION
    assert answered["status"] == "complete"
    assert ada.page.inner_text(".theirs .text") == answered["content"]
    assert ada.spoken() == answered["content"]
    assert ada.loud()[0] > ada.loud("mic")[-1], "it spoke before the speaker had ended"
    assert ada.problems == []
    assert ada.foreign == []


def test_an_interruption_silences_the_answer_and_only_what_was_heard_is_kept(house, caller):
    ada = caller(1.5, in_tones(LONG), 3.0, in_tones("please stop this now"), 6.0)
    ada.page.click("#voice-call")
    ada.state("speaking", 40)
    ada.page.wait_for_selector(".theirs.cut", timeout=30_000)
    ada.shoot("voice-interrupted")
    ada.done()
    asked, cut, _stop, answered = conversation(house, ada)
    assert (cut["status"], answered["status"]) == ("interrupted", "complete")
    assert f"You said: {asked['content']}".startswith(cut["content"])
    assert 10 < len(cut["content"]) < len(f"You said: {asked['content']}")
    assert answered["content"] == "You said: please stop this now"
    assert ada.page.locator(".turn").count() == 2
    assert ada.problems == []


def test_push_to_talk_shows_the_words_and_reads_the_answer_out(house, caller):
    ada = caller(0.5, in_tones(QUESTION), 8.0)
    ada.page.click("button[data-mode=talk]")
    ada.page.click("#talk-audio button.record-button")
    ada.page.wait_for_timeout(4000)
    ada.shoot("voice-talk-recording")
    ada.page.click("#talk-audio button.stop-button")
    ada.page.wait_for_selector("#talk-turn .replay", timeout=60_000)
    ada.quiet_again()
    ada.shoot("voice-talk")
    assert ada.page.inner_text("#talk-turn .said") == QUESTION
    assert ada.page.inner_text("#talk-turn .text") == ada.spoken() == f"You said: {QUESTION}"
    before = ada.loud().size
    ada.page.click("#talk-turn .replay")
    ada.page.wait_for_function(f"window.tap.out.filter(([, level]) => level > 0.02).length > {before}")
    assert ada.problems == []
    assert ada.foreign == []


def test_where_nothing_was_heard_it_is_said_aloud_and_in_writing(caller, tmp_path):
    ada = caller(1.0)
    ada.page.click("button[data-mode=talk]")
    ada.page.click("#talk-audio button[aria-label='Upload file']")
    (tmp_path / "silence.wav").write_bytes(wav(bytes(64_000), 16_000))
    ada.page.set_input_files("#talk-audio input[type=file]", tmp_path / "silence.wav")
    told = ada.page.wait_for_selector("#talk-turn .trouble").inner_text()
    assert told.startswith("I heard nothing")
    ada.quiet_again()
    assert ada.spoken() == told


def test_a_recording_that_was_made_elsewhere_is_uploaded_whatever_it_is_packed_as(house, caller, tmp_path):
    ada = caller(1.0)
    ada.page.click("button[data-mode=talk]")
    ada.page.click("#talk-audio button[aria-label='Upload file']")
    for form, name in (("ogg", "memo.ogg"), ("flac", "memo.flac"), ("mp4", "memo.m4a")):
        text = f"a memo in {form}"
        (tmp_path / name).write_bytes(packed(form, tones(text)))
        ada.page.set_input_files("#talk-audio input[type=file]", tmp_path / name)
        ada.page.wait_for_selector(f"#talk-turn .said >> text={text}", timeout=60_000)
        ada.page.wait_for_selector("#talk-turn .replay")
        ada.quiet_again()
    ada.shoot("voice-talk-uploaded")
    (tmp_path / "broken.ogg").write_bytes(b"OggS" + bytes(4_000))
    ada.page.set_input_files("#talk-audio input[type=file]", tmp_path / "broken.ogg")
    ada.page.wait_for_selector("#talk-turn .trouble >> text=can't be read as ogg")
    ada.shoot("voice-talk-broken")
    assert ada.foreign == []


def test_the_chat_leads_to_the_voice_page_with_its_conversation_and_back(house, caller):
    ada = caller(20.0)
    ada.page.goto(f"{house.url}/chat")
    ada.page.fill("#text textarea", "hello there")
    ada.page.click("#send")
    ada.page.wait_for_selector(".message.theirs .figures")
    conversation = ada.page.url.partition("c=")[2]
    ada.page.click("[data-voice]")
    ada.page.wait_for_selector("#voice-documents")
    assert ada.page.url.replace("/?", "?") == f"{house.url}/voice?c={conversation}"
    ada.page.wait_for_function(f"document.querySelector('#voice-to-chat').href.endsWith('/chat?c={conversation}')")


def test_a_call_ends_soon_after_its_speaker_has_signed_out(house, caller):
    ada = caller(20.0)
    ada.page.click("#voice-call")
    ada.state("listening")
    ada.page.evaluate("fetch('/logout', { method: 'POST' })")
    ada.page.get_by_text("You are not signed in.").first.wait_for(timeout=10_000)
    assert ada.page.evaluate("document.body.dataset.call") != "listening"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); })",
            "The microphone is blocked for this page.",
        ),
        ("void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError'); })", "There is no microphone."),
        ("void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotReadableError'); })", "Another program has the microphone."),
        ("void Object.defineProperty(window, 'isSecureContext', { value: false })", "Browsers give the microphone only to secure addresses."),
    ],
    ids=["refused", "missing", "taken", "insecure"],
)
def test_a_microphone_that_cannot_be_had_says_what_to_do_and_one_can_type(caller, script, said):
    ada = caller()
    ada.page.evaluate(script)
    ada.page.click("#voice-call")
    ada.page.wait_for_selector(f"#voice-trouble >> text={said}")
    ada.state("off")
    assert ada.page.inner_text("#voice-call") == "Call"
    assert len(ada.page.inner_text("#voice-trouble span")) > 20
    ada.page.fill("#voice-typing input", "how are you")
    ada.page.keyboard.press("Enter")
    ada.done()
    assert ada.page.inner_text(".theirs .text") == "You said: how are you"
    ada.shoot(f"voice-trouble-{said.split()[2]}")
    assert ada.problems == []


def test_a_lost_connection_is_taken_up_again_and_the_microphone_comes_back(house, caller):
    ada = caller(6.0, in_tones(QUESTION), 8.0)
    ada.page.click("#voice-call")
    ada.state("listening")
    ada.page.evaluate("window.hearthVoice.call.socket.close()")
    ada.state("connecting")
    ada.state("listening")
    ada.done()
    assert len(conversation(house, ada)) == 2
    ada.page.evaluate(NO_LINE + "window.hearthVoice.call.socket.close()")
    ada.page.wait_for_selector("#voice-trouble >> text=The connection is lost.", timeout=30_000)
    ada.state("off")
    assert ada.page.evaluate("window.hearthVoice.call.mic === null")


def test_a_line_that_breaks_in_an_answer_is_taken_up_again_and_all_of_it_is_heard_once(house, caller):
    ada = caller(1.0, in_tones(QUESTION), 20.0)
    ada.page.click("#voice-call")
    ada.state("speaking", 40)
    ada.page.evaluate("window.hearthVoice.call.socket.close()")
    told = "document.querySelector('#voice-trouble').innerText.includes('The connection is lost.')"
    ada.page.wait_for_function(f"document.body.dataset.call === 'connecting' && {told}")  # both at once: it may be back in a tenth of a second
    ada.state("speaking")
    assert not ada.page.is_visible("#voice-trouble")
    ada.done()
    ada.quiet_again()
    heard, answered = conversation(house, ada)
    assert (heard["content"], answered["status"]) == (QUESTION, "complete")
    assert ada.page.inner_text(".theirs .text") == answered["content"] == ada.spoken()
    ada.state("listening")


def test_after_too_long_without_a_line_the_page_shows_what_was_heard_and_leads_to_the_rest(house, caller):
    ada = caller()
    ada.page.fill("#voice-typing input", LONG)
    ada.page.keyboard.press("Enter")
    ada.state("speaking")
    ada.page.wait_for_timeout(500)
    ada.page.evaluate(NO_LINE + "dispatchEvent(new Event('offline'))")  # with the network really off, the house may not hear that the line is closed
    ada.state("connecting")
    ada.page.wait_for_timeout(2500)
    ada.page.evaluate("window.WebSocket = window.line; dispatchEvent(new Event('online'))")
    ada.page.wait_for_selector(".theirs.cut")
    ada.state("off")
    ada.shoot("voice-cut-line")
    assert "away for too long" in ada.page.inner_text("#voice-trouble")
    heard, cut = conversation(house, ada)
    assert cut["status"] == "interrupted"
    assert 10 < len(cut["content"]) < len(LONG)
    assert [ada.page.inner_text(".said"), ada.page.inner_text(".theirs .text")] == [heard["content"], cut["content"]]
    assert ada.page.locator(".turn").count() == 1
    ada.page.click("text=Continue in the chat")
    ada.page.click("[data-act=continue]")
    ada.page.wait_for_selector(".message.theirs >> nth=1")


def test_after_the_network_was_gone_the_page_shows_the_answer_as_it_is_kept(house, caller):
    """Whole, or cut where listening ended: that depends on how soon the house learns that the line is closed, which a network that is off may hold back."""
    ada = caller()
    ada.page.fill("#voice-typing input", LONG)
    ada.page.keyboard.press("Enter")
    ada.state("speaking")
    ada.context.set_offline(True)
    ada.state("connecting")
    ada.page.wait_for_timeout(2500)
    ada.context.set_offline(False)
    ada.page.wait_for_selector(".theirs.cut, .waterfall")
    ada.state("off")
    heard, answered = conversation(house, ada)
    assert [ada.page.inner_text(".said"), ada.page.inner_text(".theirs .text")] == [heard["content"], answered["content"]]
    assert (answered["status"] == "interrupted") == (ada.page.locator(".theirs.cut").count() == 1)
    assert ada.page.locator(".turn").count() == 1


def test_a_muted_microphone_sends_nothing_until_the_space_bar_is_held(caller):
    ada = caller()  # the browser's own beeps
    ada.page.click("#voice-call")
    ada.state("listening")
    ada.page.keyboard.press("m")
    ada.state("muted")
    ada.shoot("voice-muted")
    ada.page.evaluate(COUNT_FRAMES)
    ada.page.wait_for_timeout(500)
    assert ada.page.evaluate("window.sent") == 0
    ada.page.evaluate("document.activeElement.blur()")
    ada.page.keyboard.down("Space")
    ada.page.wait_for_timeout(500)
    ada.page.keyboard.up("Space")
    held = ada.page.evaluate("window.sent")
    assert held >= 10
    ada.page.wait_for_timeout(300)
    assert ada.page.evaluate("window.sent") == held


def test_hanging_up_gives_the_microphone_back(caller):
    ada = caller()
    ada.page.click("#voice-call")
    ada.state("listening")
    ada.page.evaluate("window.tracks = window.hearthVoice.call.mic.getTracks()")
    ada.page.click("#voice-call")
    ada.state("off")
    assert ada.page.evaluate("window.tracks.every((track) => track.readyState === 'ended')")


def test_a_microphone_that_goes_away_in_a_call_is_said_and_the_next_call_has_one(caller):
    ada = caller()
    ada.page.click("#voice-call")
    ada.state("listening")
    ada.page.evaluate("window.hearthVoice.call.mic.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    ada.page.wait_for_selector("#voice-trouble >> text=The microphone has gone.")
    ada.state("off")
    ada.page.click("#voice-call")
    ada.state("listening")
    assert ada.page.evaluate("window.hearthVoice.call.mic.active")


def test_a_second_window_takes_the_call_over_and_the_first_says_so(caller):
    ada = caller()
    ada.page.click("#voice-call")
    ada.state("listening")
    other = ada.context.new_page()
    other.goto(ada.page.url.partition("?")[0])
    other.wait_for_selector("#voice-documents")
    other.click("#voice-call")
    ada.page.wait_for_selector("#voice-trouble >> text=goes on in another window")
    ada.state("off")


def test_the_page_fits_a_phone_in_light_and_dark(caller):
    ada = caller(viewport={"width": 375, "height": 740})
    ada.shoot("voice-phone")
    ada.page.fill("#voice-typing input", "tell me something about the boiler in the cellar")
    ada.page.keyboard.press("Enter")
    ada.done()
    ada.page.click(".waterfall summary")
    ada.page.click("[data-theme]")
    ada.shoot("voice-phone-dark")
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ada.page.click("button[data-mode=talk]")
    ada.shoot("voice-phone-talk-dark")
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_speaks_the_language_of_its_user(caller):
    ada = caller(locale="de-DE")
    assert ada.page.inner_text("#voice-call") == "Anrufen"
    ada.page.evaluate("void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError'); })")
    ada.page.click("#voice-call")
    ada.page.wait_for_selector("#voice-trouble >> text=Es gibt kein Mikrofon.")
    ada.page.fill("#voice-typing input", "Wie alt ist der Kessel")
    ada.page.keyboard.press("Enter")
    ada.done()
    ada.page.click(".waterfall summary")
    ada.shoot("voice-german")
    assert "Erstes Wort" in ada.page.inner_text(".waterfall")
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_chosen_voice_and_language_are_the_users_from_then_on(house, caller):
    ada = caller()
    ada.page.select_option("#voice-voice", "low-tones")
    ada.page.select_option("#voice-language", "en")
    ada.page.wait_for_timeout(500)
    assert house.get("/v1/preferences")[1]["voice_id"] == "low-tones"
    ada.page.reload()
    ada.page.wait_for_selector("#voice-documents")
    assert ada.page.input_value("#voice-voice") == "low-tones"
    assert ada.page.input_value("#voice-language") == "en"
    ada.page.select_option("#voice-voice", "")
    ada.page.select_option("#voice-language", "")
    ada.page.wait_for_timeout(500)
    assert house.get("/v1/preferences")[1]["voice_id"] == ""


def test_what_an_answer_quotes_is_drawn_as_a_quotation(caller, tmp_path):
    ada, asked = caller(), "it says\n> Backups run every night. [1]\n>\n> They are kept. [2]\nand on"
    ada.page.click("#voice-call")
    ada.page.wait_for_selector("body[data-call=listening]")
    ada.page.evaluate("text => window.hearthVoice.call.say('conversation.item.create', { text })", asked)
    ada.done()
    assert ada.page.inner_text(".theirs .text blockquote") == "Backups run every night. [1]\n\nThey are kept. [2]"
    assert ada.page.inner_text(".theirs .text") == "You said: it says\nBackups run every night. [1]\n\nThey are kept. [2]\nand on"
    ada.shoot("voice-quotation")
    ada.page.click("button[data-mode=talk]")
    ada.page.click("#talk-audio button[aria-label='Upload file']")
    (tmp_path / "question.wav").write_bytes(recorded(asked).data)
    ada.page.set_input_files("#talk-audio input[type=file]", tmp_path / "question.wav")
    assert "They are kept" in ada.page.wait_for_selector("#talk-turn blockquote", timeout=60_000).inner_text()


def test_an_answer_shows_its_sources_where_its_time_went_and_plays_again(house, caller, tmp_path):
    ada, sent = caller(), []
    ada.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    ada.page.select_option("#voice-speed", "1.5")
    try:
        house.job_done(house.upload("boiler.md", b"# The boiler\n\nThe boiler in the cellar is serviced every October.\n")[1]["id"])
        ada.page.fill("#voice-typing input", "When is the boiler serviced?")
        ada.page.keyboard.press("Enter")
        ada.done()
        ada.quiet_again()
        assert "boiler" in ada.page.inner_text(".turn .chip")
        ada.page.click(".waterfall summary")
        assert {"Documents", "First word", "First sound", "Playback"} <= set(ada.page.locator(".waterfall th").all_inner_texts())
        ada.shoot("voice-sources")
        before = ada.loud().size
        ada.page.click(".turn .replay")
        ada.page.wait_for_function(f"window.tap.out.filter(([, level]) => level > 0.02).length > {before}")
        assert json.loads(next(frame for frame in sent if isinstance(frame, str)))["speed"] == 1.5
        ada.page.click("button[data-mode=talk]")
        ada.page.click("#talk-audio button[aria-label='Upload file']")
        (tmp_path / "question.wav").write_bytes(recorded("When is the boiler serviced?").data)
        ada.page.set_input_files("#talk-audio input[type=file]", tmp_path / "question.wav")
        assert "boiler" in ada.page.wait_for_selector("#talk-turn .chip", timeout=60_000).inner_text()
    finally:
        house.delete("/v1/collections/lab")
