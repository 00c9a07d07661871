"""The page's dialogs as HTML: settings of a conversation, sharing and export, the keyboard. static/chat.js fills and saves them over the API."""

from ui.icons import icon

KEYS = (
    ("Enter", "send"),
    ("Shift + Enter", "a new line"),
    ("Ctrl + Shift + O", "a new chat"),
    ("Ctrl + K", "search your conversations"),
    ("/", "write"),
    ("Esc", "stop the answer, close what is open"),
    ("?", "this help"),
)
_CLOSE = f'<button type="button" class="icon" data-dialog-close aria-label="Close">{icon("close")}</button>'


def _dialog(name: str, title: str, body: str) -> str:
    return f'<dialog id="dialog-{name}" aria-labelledby="dialog-{name}-title"><header><h2 id="dialog-{name}-title">{title}</h2>{_CLOSE}</header>{body}</dialog>'


_SETTINGS = """<form data-form="settings">
<label>Model<select name="model"><option value="">As the house has it</option></select></label>
<label>Ask a second model too, and read both side by side<select name="beside"><option value="">No</option></select></label>
<label>Temperature <output name="warmth"></output><input name="temperature" type="range" min="-0.1" max="2" step="0.1" value="-0.1"></label>
<label>Longest answer, in tokens<input name="max_tokens" type="number" min="1" max="32768" placeholder="as the house has it"></label>
<label>System prompt<textarea name="system_prompt" rows="5" maxlength="20000" placeholder="What the model should know, how it should answer"></textarea></label>
<label>Tags, with commas between them<input name="tags" list="known-tags" autocomplete="off"><datalist id="known-tags"></datalist></label>
<p class="said-of" role="status"></p><footer><button class="primary">Save</button></footer></form>
<h3>Saved prompts</h3><ul class="prompts"></ul>
<form data-form="prompt" class="line"><input name="name" placeholder="Name for what stands in the box" maxlength="100" required>
<button>Save the text</button></form>"""
_SHARE = """<p>Anybody with a link can read this conversation as far as it is shown now, until you revoke the link. Documents stay closed.</p>
<footer><button type="button" class="primary" data-share="make">Make a link</button></footer>
<p class="said-of" role="status"></p><ul class="shares"></ul>
<h3>Export</h3><p class="exports"><a data-export="markdown" download>Markdown</a><a data-export="json" download>JSON</a></p>"""
_HELP = "<table>" + "".join(f"<tr><th><kbd>{keys}</kbd></th><td>{what}</td></tr>" for keys, what in KEYS) + "</table>"

ALL = _dialog("settings", "This conversation", _SETTINGS) + _dialog("share", "Share or export", _SHARE) + _dialog("help", "Keyboard", _HELP)
