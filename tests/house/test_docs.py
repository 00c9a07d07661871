"""The documents say what the code does: settings, decisions, commands and the Makefile's targets."""

import re
from pathlib import Path

import pytest

from core.settings import INTERNAL, PREFIX, Settings
from ui.cli import main
from ui.commands import BESIDE_SETTINGS, settings_page

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("core", "inference", "ui", "tests", "scripts", ".ci", "docs")
LOOSE = ("pyproject.toml", "Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
TEXT = {".py", ".toml", ".md", ".css", ".js", ".html", ".mako", ""}
OF_THE_TESTS = "HEARTH_TEST_"


def texts():
    """(path from the root, text) of every file that people write."""
    files = [ROOT / name for name in LOOSE]
    files += [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in TEXT and "__pycache__" not in path.parts]
    return [(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in files if path.is_file()]


def documents():
    return "\n".join(text for path, text in texts() if path == "README.md" or path.startswith("docs/"))


def targets():
    return re.findall(r"^([a-z][\w-]*):(?!=)(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def commands(capsys):
    """What can be typed after `hearth`, as its help lists it."""
    with pytest.raises(SystemExit):
        main(["--help"])
    return re.findall(r"^ {4}(\w[\w-]*)(?: |$)", capsys.readouterr().out, re.MULTILINE)


def test_the_settings_page_is_the_one_the_settings_make():
    assert (ROOT / "docs/settings.md").read_text("utf-8") == settings_page(), "run `hearth settings --markdown > docs/settings.md`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_in_a_sentence_what_it_means(name):
    description = Settings.model_fields[name].description or ""
    assert description[:1].isupper()
    assert description.endswith(".")


def test_every_variable_that_is_named_anywhere_can_be_set():
    # A hint that names a variable which doesn't exist is worse than none: setting it is an error.
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    known = settings | INTERNAL | BESIDE_SETTINGS.keys()
    # Tests also try names that don't exist, and decisions speak of what could have been.
    product = [(path, text) for path, text in texts() if not path.startswith(("tests/", "docs/adr/"))]
    named = {(name, path) for path, text in product for name in re.findall(r"\bHEARTH_[A-Z0-9_]*[A-Z0-9]\b(?!_)", text)}
    assert sorted((name, path) for name, path in named if name not in known and not name.startswith(OF_THE_TESTS)) == []


def test_every_document_that_is_mentioned_is_there():
    decisions = {path.name[:4]: path.name for path in (ROOT / "docs/adr").glob("[0-9][0-9][0-9][0-9]-*.md")}
    mentioned = {(name, path) for path, text in texts() for name in re.findall(r"\bdocs/adr/(\d{4})", text)}
    assert sorted(f"docs/adr/{number}, in {path}" for number, path in mentioned if number not in decisions) == []
    mentioned = {(name, path) for path, text in texts() for name in re.findall(r"\bdocs/(?!adr/NNNN)[\w/-]+\.md\b", text)}
    assert sorted(f"{name}, in {path}" for name, path in mentioned if not (ROOT / name).is_file()) == []


def test_decisions_have_numbers_of_their_own():
    numbers = [path.name[:4] for path in (ROOT / "docs/adr").glob("*.md") if path.name[:1].isdigit()]
    assert numbers
    assert len(set(numbers)) == len(numbers)


def test_every_command_is_explained_in_the_documents(capsys):
    found, text = commands(capsys), documents()
    assert {"up", "ingest", "doctor"} <= set(found)
    assert [name for name in found if not re.search(rf"\bhearth {name}\b", text)] == []


def test_every_command_that_a_sentence_names_exists(capsys):
    found = set(commands(capsys))
    named = {(name, path) for path, text in texts() for name in re.findall(r"`(?:\.venv/bin/)?hearth ([a-z]\w*)", text)}
    assert sorted(f"hearth {name}, in {path}" for name, path in named if name not in found) == []


def test_every_make_target_says_what_it_does():
    assert targets()
    assert [name for name, rest in targets() if not re.search(r"## \S", rest)] == []
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(phony[1].split()) == {name for name, _ in targets()}
