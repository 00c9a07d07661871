"""What a person can throw at the page, by accident or on purpose: it is contained, it is said, and nothing of theirs is lost."""

import pytest

pytestmark = pytest.mark.timeout(240)

SCRIPTS = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<svg onload=\"document.title='owned'\"><script>document.title='owned'</script></svg>",
    "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    "<details open ontoggle=\"document.title='owned'\">x</details>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=document.title=&quot;owned&quot;&gt;'>",
    "[a](javascript:document.title='owned') [b](data:text/html,<script>1</script>)",
    "![tracked](http://evil.test/pixel.gif) ![svg](data:image/svg+xml,<svg onload=alert(1)>)",
    "<link rel=stylesheet href=//evil.test/x.css> <style>*{background:url(//evil.test/x)}</style> <base href=//evil.test/>",
    "<form action=//evil.test><input name=q autofocus onfocus=\"document.title='owned'\"></form>",
    "$\\href{javascript:alert(1)}{x}$ $\\unicode{<img src=x onerror=alert(1)>}$ $$\\def\\a{\\a\\a}\\a$$",
    '```mermaid\ngraph TD; A["<img src=x onerror=document.title=\'owned\'>"]-->B; click A href "javascript:alert(1)"\n```',
    "```svg\n<svg onload=\"document.title='owned'\"/>\n```",
    "${document.title='owned'} {{constructor.constructor('document.title=1')()}}",
    '[1](http://evil.test) [^1]: <button data-act="delete" data-id="x">press</button>',
]
SENT = ("written in the first tab", "written in the second tab")


def test_a_hostile_answer_runs_nothing_loads_nothing_and_can_still_be_read(ada):
    said = []
    ada.page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    ada.ask("so\n\n" + "\n\n".join(SCRIPTS))
    ada.page.wait_for_timeout(1500)
    assert ada.page.title() != "owned"
    assert said == []
    answer = ada.page.locator(".message.theirs").last
    for tag in (
        "script",
        "iframe",
        "svg:not(.drawn):not(.waterfall svg)",
        "form",
        "style",
        "link",
        "base",
        "input",
        "[onerror]",
        "[onload]",
        "[data-act=delete]",
    ):
        assert answer.locator(f".text {tag}").count() == 0, tag
    assert all(picture.startswith("data:image/svg+xml") for picture in answer.locator(".text img").evaluate_all("all => all.map((i) => i.src)"))
    assert "evil.test" in answer.locator("a.outside").first.inner_text()
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ada.shoot("chat-hostile")


@pytest.mark.parametrize("megabytes", [1, 5])
def test_a_text_too_long_for_a_question_is_said_to_be_and_stays(ada, megabytes):
    text = "All work and no play. " * (megabytes * 1_000_000 // 22)
    box = ada.page.locator("#text textarea")
    ada.page.evaluate(
        "text => { const box = document.querySelector('#text textarea'); box.value = text; box.dispatchEvent(new Event('input', {bubbles: true})); }", text
    )
    box.press("Enter")
    ada.page.wait_for_selector("text=Put long text into a document")
    assert box.input_value() == text
    ada.shoot(f"chat-long-paste-{megabytes}")
    box.fill("a short one instead")
    box.press("Enter")
    ada.page.wait_for_selector(".message.theirs:not(.growing) >> text=You said: a short one instead")


def test_two_tabs_that_answer_the_same_message_make_two_branches(ada):
    ada.ask("opened twice")
    first, second = ada.page, ada.context.new_page()
    second.goto(first.url)
    second.wait_for_selector(".message.theirs .figures")
    for page, text in zip((first, second), SENT, strict=True):
        page.fill("#text textarea", text)
        page.keyboard.press("Enter")
        page.wait_for_selector(f".message.theirs:not(.growing) >> text=You said: {text}")
    first.reload()
    first.wait_for_selector(".message.mine .branch >> text=2/2")
    assert SENT[1] in first.locator(".message.mine").last.inner_text()
    first.click(".message.mine [aria-label='The one before']")
    first.wait_for_selector(f".message.theirs >> text=You said: {SENT[0]}")


def test_three_hundred_files_at_once_are_all_taken_and_the_page_goes_on(ada, tmp_path):
    page, paths = ada.page, [tmp_path / f"note-{n:03}.md" for n in range(300)]
    for n, path in enumerate(paths):
        path.write_text(f"# Note {n}\n\nLamp {n} hangs in room {n}.\n")
    ada.upload(*paths)
    page.wait_for_selector("#jobs-sending .job >> text=/ 300")
    page.wait_for_selector("#jobs .job.all >> text=documents on their way")
    ada.shoot("chat-many-files")
    page.click("#use input")
    ada.ask("meanwhile")
    page.click("#use input")
    page.wait_for_selector("#jobs-sending .job", state="detached", timeout=120_000)
    taken = page.request.get(f"{page.url.partition('/chat')[0]}/v1/collections").json()["items"][0]["counts"]
    assert (taken["documents"], taken["failed"]) == (300, 0)
    page.click("#jobs [data-job=pause]")
    page.wait_for_selector("#jobs .job.all >> text=paused")
    page.click("#jobs [data-job=resume]")
    page.wait_for_selector("#jobs .job.all [data-job=pause]")
    assert ada.problems == []
