"""The page's dialogs as HTML: settings, sharing, adding documents, asking again, the keyboard. static/chat.js fills and saves them over the API."""

from core.rag.model import MAX_TOP_K
from ui.icons import icon
from ui.words import N_, _

KEYS = (
    ("Enter", N_("send")),
    ("Shift + Enter", N_("a new line")),
    ("Ctrl + Shift + O", N_("a new chat")),
    ("Ctrl + K", N_("search your conversations")),
    ("/", N_("write")),
    ("Esc", N_("stop the answer, close what is open")),
    ("?", N_("this help")),
)


def _dialog(name: str, title: str, body: str) -> str:
    close = f'<button type="button" class="icon" data-dialog-close aria-label="{_("Close")}">{icon("close")}</button>'
    return f'<dialog id="dialog-{name}" aria-labelledby="dialog-{name}-title"><header><h2 id="dialog-{name}-title">{title}</h2>{close}</header>{body}</dialog>'


def _settings() -> str:
    return f"""<form data-form="settings">
<label>{_("Model")}<select name="model"><option value="">{_("As the house has it")}</option></select></label>
<label>{_("Ask a second model too, and read both side by side")}<select name="beside"><option value="">{_("No")}</option></select></label>
<label>{_("Temperature")} <output name="warmth"></output><input name="temperature" type="range" min="-0.1" max="2" step="0.1" value="-0.1"></label>
<label>{_("Longest answer, in tokens")}<input name="max_tokens" type="number" min="1" max="32768" placeholder="{_("as the house has it")}"></label>
<label>{_("System prompt")}<textarea name="system_prompt" rows="5" maxlength="20000"
placeholder="{_("What the model should know, how it should answer")}"></textarea></label>
<label>{_("Tags, with commas between them")}<input name="tags" list="known-tags" autocomplete="off"><datalist id="known-tags"></datalist></label>
<p class="said-of" role="status"></p><footer><button class="primary">{_("Save")}</button></footer></form>
<h3>{_("Saved prompts")}</h3><ul class="prompts"></ul>
<form data-form="prompt" class="line"><input name="name" placeholder="{_("Name for what stands in the box")}" maxlength="100" required>
<button>{_("Save the text")}</button></form>"""


def _share() -> str:
    return f"""<p>{_("Anybody with a link can read this conversation as far as it is shown now, until you revoke the link. Documents stay closed.")}</p>
<footer><button type="button" class="primary" data-share="make">{_("Make a link")}</button></footer>
<p class="said-of" role="status"></p><ul class="shares"></ul>
<h3>{_("Export")}</h3><p class="exports"><a data-export="markdown" download>Markdown</a><a data-export="json" download>JSON</a></p>"""


def _add(*, addresses: bool) -> str:
    page = f"""<form data-form="address"><h3>{_("A page by its address")}</h3><div class="line"><input name="url" type="url" required
placeholder="https://" aria-label="{_("Address")}"><button>{_("Add the page")}</button></div></form>"""
    off = f"""<h3>{_("A page by its address")}</h3><p class="soft">{_("Switched off here. Whoever runs this Hearth can set HEARTH_URL_INGEST=true.")}</p>"""
    return f"""<label>{_("Collection")}<input name="collection" list="known-collections" maxlength="100" autocomplete="off"></label>
<datalist id="known-collections"></datalist><footer><button type="button" class="primary" data-add="files">{_("Choose files")}</button></footer>
<form data-form="text"><h3>{_("Paste text")}</h3><label>{_("Title")}<input name="title" maxlength="200" required></label>
<label>{_("Text")}<textarea name="text" rows="6" required></textarea></label><footer><button>{_("Add the text")}</button></footer></form>
{page if addresses else off}<p class="said-of" role="status"></p>"""


def _again() -> str:
    return f"""<form data-form="again"><input type="hidden" name="id">
<label>{_("Passages to find")}<input name="top_k" type="number" min="1" max="{MAX_TOP_K}" value="5" required></label>
<label class="check"><input name="rerank" type="checkbox" checked> {_("Read them together with the question, and keep the best")}</label>
<label>{_("Passages to keep")}<input name="rerank_top_k" type="number" min="1" max="{MAX_TOP_K}" value="3" required></label>
<fieldset><legend>{_("Collections")}</legend><div class="checks"></div></fieldset>
<p class="said-of" role="status"></p><footer><button class="primary">{_("Ask again")}</button></footer></form>"""


def every(*, addresses: bool) -> str:
    """All of them; each is shown when it is asked for.   addresses: whether pages are taken in by their address here."""
    keys = "".join(f"<tr><th><kbd>{pressed}</kbd></th><td>{_(what)}</td></tr>" for pressed, what in KEYS)
    return (
        _dialog("settings", _("This conversation"), _settings())
        + _dialog("share", _("Share or export"), _share())
        + _dialog("add", _("Add documents"), _add(addresses=addresses))
        + _dialog("again", _("Ask again with other settings"), _again())
        + _dialog("help", _("Keyboard"), f"<table>{keys}</table>")
    )
