import asyncio
import fcntl
import re
import socket
import time
from contextlib import closing

import pytest
from echo_house import echo_settings
from running_house import PASSWORD, command

from core.app import open_app
from core.errors import NotSignedIn
from core.settings import Settings
from ui import commands
from ui.cli import main

SECRET = "sk-do-not-show-this"


@pytest.fixture
def ada(hearth):
    assert hearth("user", "add", "ada", "--admin", typed=PASSWORD + "\n")[0] == 0


def inside(home, work):
    """What the house says about itself, asked through its own rooms."""

    async def ask():
        async with open_app(echo_settings(home)) as app:
            return await work(app)

    return asyncio.run(ask())


def row(table, name):
    """The cells of a printed row; two spaces and more part them."""
    return next(re.split(r"\s{2,}", line.strip()) for line in table.splitlines() if line.split()[:1] == [name])


# users and keys


def test_a_user_is_made_with_a_typed_password_and_can_sign_in(hearth, home):
    code, out, _ = hearth("user", "add", "ada", "--admin", "--premium", typed=PASSWORD + "\n")
    assert code == 0
    assert "ada can sign in" in out
    who = inside(home, lambda app: app.users.sign_in("ada", PASSWORD, ""))[0]
    assert (who.user.username, who.user.premium, who.user.role) == ("ada", True, "admin")
    assert PASSWORD not in out


def test_the_list_of_users_shows_what_was_changed(hearth, ada):
    assert "Nobody" not in hearth("user", "list")[1]
    assert hearth("user", "add", "bob", "--no-password")[0] == 0
    for action, shown in (("premium", "premium"), ("standard", "standard"), ("admin", "admin"), ("disable", "disabled")):
        assert hearth("user", action, "bob")[0] == 0
        assert shown in row(hearth("user", "list")[1], "bob")
    assert hearth("user", "enable", "bob")[0] == 0
    assert "disabled" not in hearth("user", "list")[1]


def test_an_empty_house_says_how_the_first_account_is_made(hearth):
    code, out, _ = hearth("user", "list")
    assert code == 0
    assert "`hearth up`" in out


def test_a_new_password_replaces_the_old_one(hearth, ada, home):
    assert hearth("user", "password", "ada", typed="another long password\n")[0] == 0
    assert inside(home, lambda app: app.users.sign_in("ada", "another long password", ""))
    with pytest.raises(NotSignedIn):
        inside(home, lambda app: app.users.sign_in("ada", PASSWORD, ""))


def test_a_key_is_printed_alone_and_once_and_works_until_its_user_is_disabled(hearth, ada, home):
    code, out, err = hearth("token", "--user", "ada", "--name", "backup script")
    assert code == 0
    assert re.fullmatch(r"hk_[\w-]{40,}\n", out)
    key = out.strip()
    assert key not in err
    assert key[:9] in err
    assert inside(home, lambda app: app.users.by_key(key)).user.username == "ada"
    assert hearth("token", "--user", "ada")[1] != out
    assert key.encode() not in (home / "hearth.db").read_bytes()
    assert "There must be an admin who can sign in." in hearth("user", "disable", "ada")[2]
    hearth("user", "add", "bob", "--admin", typed=PASSWORD + "\n")
    hearth("user", "disable", "ada")
    noted = inside(home, lambda app: app.audit.entries()).items
    assert [(e.act, e.subject) for e in noted[:3]] == [("changed", "user ada"), ("made", "user bob"), ("made", "user ada")]
    with pytest.raises(NotSignedIn):
        inside(home, lambda app: app.users.by_key(key))


WRONG = {
    "a name that is taken": (("user", "add", "ADA", "--no-password"), 73, "already a user named"),
    "a name with a slash": (("user", "add", "a/b", "--no-password"), 65, "user name has 1 to 60"),
    "a short password": (("user", "add", "bob"), 65, "at least 10 characters"),
    "nobody named": (("user", "disable"), 65, "Say which user"),
    "somebody unknown": (("user", "disable", "eve"), 66, "no user named 'eve'"),
    "a key for nobody": (("token", "--user", "eve"), 66, "no user named 'eve'"),
    "a file that is not there": (("ingest", "--collection", "lab", "/nowhere/x.md"), 66, "is not there"),
    "a model nobody knows": (("models", "fetch", "no-such-model"), 69, "no model named 'no-such-model'"),
    "a port that is none": (("up", "--port", "99999"), 78, "HEARTH_PORT"),
    "a server open to all": (("inference", "--host", "0.0.0.0"), 78, "needs a token"),
}


@pytest.mark.parametrize(("args", "code", "said"), WRONG.values(), ids=WRONG)
def test_what_can_not_be_done_is_said_in_sentences_on_standard_error(hearth, ada, args, code, said):
    ended, out, err = hearth(*args, typed="short\n")
    assert ended == code
    assert said in err
    assert err.startswith("hearth: ")
    assert "Traceback" not in err
    assert "hearth: " not in out


@pytest.mark.parametrize("args", [(), ("no-such-command",), ("user", "no-such-action"), ("ingest", "x.md"), ("token",), ("up", "--port", "many")], ids=str)
def test_a_command_that_was_mistyped_shows_how_it_is_used(hearth, args, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*args])
    assert ended.value.code == 2
    assert "usage: hearth" in capsys.readouterr().err


# settings


def test_settings_are_shown_with_where_they_come_from(hearth, home):
    code, out, _ = hearth("settings", "--home", home / "other", HEARTH_UPLOAD_MAX_MB="7", HEARTH_RERANKER_URL="")
    assert code == 0
    assert row(out, "HEARTH_HOME")[1:3] == [str(home / "other"), "flag"]
    assert row(out, "HEARTH_UPLOAD_MAX_MB")[1:3] == ["7", "environment"]
    assert row(out, "HEARTH_INFERENCE_PORT")[1:3] == ["8100", "default"]
    assert row(out, "HEARTH_RERANKER_URL")[1] == "default"
    shown = {line.split()[0] for line in out.splitlines() if line.startswith("HEARTH_")}
    assert shown == {f"HEARTH_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("HEARTH_LLM_API_KEY", SECRET, "********"),
        ("HEARTH_EMBEDDINGS_API_KEY", SECRET, "********"),
        ("HEARTH_RECORDS_URL", f"postgresql+psycopg://hearth:{SECRET}@db:5432/hearth", "postgresql+psycopg://hearth:********@db:5432/hearth"),
        ("HEARTH_OBJECTS_URL", f"s3://key:{SECRET}@minio:9000/bucket", "s3://key:********@minio:9000/bucket"),
        ("HEARTH_LLM_URL", f"http://:{SECRET}@gpu/v1#qwen3", "http://:********@gpu/v1#qwen3"),
        ("HEARTH_LLM_URL", f"http://user:{SECRET}@[::1]:8000/v1#qwen3", "http://user:********@[::1]:8000/v1#qwen3"),
        ("HEARTH_LLM_URL", f"http://user:{SECRET}@gpu:port/v1#qwen3", "http://user:********@gpu:port/v1#qwen3"),
        ("HEARTH_LLM_URL", f"http://user:{SECRET}@[bad/v1#qwen3", "http://user:********@[bad/v1#qwen3"),
        ("HEARTH_LLM_URL", f"http://user:{SECRET}@odd@gpu/v1#qwen3", "http://user:********@gpu/v1#qwen3"),
    ],
    ids=lambda v: v.replace(SECRET, "…"),
)
def test_secrets_are_masked_wherever_they_stand(hearth, name, value, shown):
    code, out, err = hearth("settings", **{name: value})
    assert code == 0
    assert row(out, name)[1:3] == [shown, "environment"]
    assert SECRET not in out + err


@pytest.mark.parametrize(
    "address", [f"gopher://key:{SECRET}@host/x", f"http://key:{SECRET}@[bad/v1#m", f"http://key:{SECRET}@gpu:port/v1#m", f"http://key:{SECRET}@gpu/v1"]
)
@pytest.mark.parametrize("name", ["HEARTH_RECORDS_URL", "HEARTH_OBJECTS_URL", "HEARTH_LLM_URL", "HEARTH_EMBEDDINGS_URL"])
def test_an_address_that_can_not_be_used_is_named_without_its_password(hearth, name, address):
    code, out, err = hearth("user", "list", **{name: address})
    assert code == 78
    assert name in err
    assert SECRET not in out + err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEARTH_HOEM", "/tmp", "HEARTH_HOEM is not a setting"),
        ("HEARTH_PORT", "many", "HEARTH_PORT has the value 'many'"),
        ("HEARTH_UPLOAD_MAX_MB", "0", "HEARTH_UPLOAD_MAX_MB has the value '0'"),
        ("HEARTH_LOG_LEVEL", "loud", "HEARTH_LOG_LEVEL has the value 'loud'"),
        ("HEARTH_CHAT_PAGE", "perhaps", "HEARTH_CHAT_PAGE has the value 'perhaps'"),
    ],
)
def test_a_setting_that_is_wrong_or_unknown_stops_every_command_and_is_named(hearth, name, value, said):
    for args in (("settings",), ("user", "list"), ("doctor",)):
        code, out, err = hearth(*args, **{name: value})
        assert (code, out) == (78, "")
        assert said in err
        assert "hearth settings" in err


def test_the_page_of_settings_tells_each_with_its_meaning(hearth):
    code, out, _ = hearth("settings", "--markdown", HEARTH_PORT="9999")
    assert code == 0
    assert out == commands.settings_page()
    assert out.count("\n## HEARTH_") == len(Settings.model_fields)
    assert "9999" not in out


def test_a_home_that_can_not_be_made_is_said_so(hearth, tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, err = hearth("user", "list", "--home", tmp_path / "file")
    assert code == 74
    assert "can't be written" in err


# models, doctor, up


def test_the_models_are_listed_with_their_state_and_which_are_used(hearth):
    code, out, _ = hearth("models", "list")
    assert code == 0
    assert row(out, "echo")[-2:] == ["built in", "yes"]
    assert row(out, "smollm2-135m")[-1] == "missing"
    assert hearth("models")[1] == out


def test_models_that_are_here_are_not_fetched_again(hearth):
    assert "Every model that the settings need is here." in hearth("models", "fetch")[1]
    assert "echo is here" in hearth("models", "fetch", "echo")[1]


def test_a_model_of_the_hub_is_fetched_for_the_service_that_a_setting_or_the_command_names(hearth, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # otherwise it tries for twenty seconds
    reference = "hf:owner/name@" + "a" * 40
    assert "Nobody has said what" in hearth("models", "fetch", reference)[2]
    for given, setting in ((("--service", "llm"), {}), ((), {"HEARTH_LLM_MODEL": reference})):
        code, _, said = hearth("models", "fetch", reference, *given, **setting)
        assert (code != 0, "The model hub could not be reached" in said) == (True, True)
    assert "The model hub could not be reached" in hearth("models", "fetch", HEARTH_LLM_MODEL=reference)[2]


def test_the_doctor_checks_every_part_for_real(hearth):
    code, out, err = hearth("doctor", "--port", "0")
    assert (code, err) == (0, "")
    checked = [line.split()[1].strip(":") for line in out.splitlines()]
    assert checked == ["python", "home", "port", "torch", "models", "records", "objects", "argo", "kubeflow", "llm", "embeddings", "reranker", "stt", "tts"]
    assert all(line.startswith("✓") for line in out.splitlines())


def test_the_doctor_names_what_is_broken_and_fails(hearth):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        code, out, err = hearth("doctor", "--port", taken.getsockname()[1], HEARTH_EMBEDDINGS_URL="http://127.0.0.1:9/v1#none")
    assert code == 78
    assert "2 of 14 checks failed" in err
    assert sorted(line.split()[1].strip(":") for line in out.splitlines() if line.startswith("✗")) == ["embeddings", "port"]
    assert "can't be reached" in out


def test_a_port_that_is_taken_is_said_before_anything_starts(hearth):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        code, _, err = hearth("up", "--port", taken.getsockname()[1])
    assert code == 78
    assert "--port" in err


def test_a_second_hearth_on_the_same_home_is_refused(hearth, home):
    home.mkdir()
    with (home / "up.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        code, _, err = hearth("up", "--port", "0")
    assert code == 78
    assert "Another Hearth already runs" in err
    assert "4711" in err


# ingest


@pytest.fixture
def folder(tmp_path):
    papers = tmp_path / "papers"
    for name, content in {
        "guide.md": "# Guide\n\nBackups are kept for 35 days.",
        "deep/er/notes.txt": "The machine is descaled on Fridays.",
        "twice.md": "# Guide\n\nBackups are kept for 35 days.",
        ".hidden.md": "hidden",
        ".git/config": "hidden",
        "node_modules/x.js": "hidden",
    }.items():
        (papers / name).parent.mkdir(parents=True, exist_ok=True)
        (papers / name).write_text(content)
    (papers / "link.md").symlink_to("/etc/hostname")
    return papers


def documents(home):
    async def listed(app):
        page = await app.library.documents(await app.users.named("ada"), "lab")
        return sorted((d.title, d.status.value) for d in page.items)

    return inside(home, listed)


def test_a_folder_is_taken_in_once_however_often_the_command_runs(hearth, ada, home, folder):
    code, out, err = hearth("ingest", "--collection", "lab", folder)
    assert (code, err) == (0, "")
    assert "3 files are ready in 'lab'" in out
    there = documents(home)
    assert there == [("Guide", "ready"), ("notes", "ready")]
    (folder / "more.txt").write_text("One more text.")
    assert hearth("ingest", "--collection", "lab", folder)[0] == 0
    assert documents(home) == sorted([*there, ("more", "ready")])
    assert len([p for p in (home / "objects").rglob("*") if p.is_file()]) == 3


def test_files_that_can_not_be_read_are_named_and_the_others_are_ready(hearth, ada, home, folder):
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    (folder / "empty.txt").write_text("")
    code, out, err = hearth("ingest", "--collection", "lab", "--user", "ada", folder)
    assert code == 65
    assert "2 of 5 files could not be taken in" in err
    assert "photo.png: " in out
    assert "empty.txt: " in out
    assert [d for d in documents(home) if d[1] == "ready"] == [("Guide", "ready"), ("notes", "ready")]


@pytest.mark.parametrize(
    ("users", "args", "code", "said"), [(0, (), 66, "Nobody has an account"), (2, (), 65, "--user NAME"), (2, ("--user", "eve"), 66, "'eve'")]
)
def test_documents_need_an_owner_that_is_clear(hearth, folder, users, args, code, said):
    for name in ("ada", "bob")[:users]:
        hearth("user", "add", name, "--no-password")
    ended, _, err = hearth("ingest", "--collection", "lab", *args, folder)
    assert ended == code
    assert said in err


def test_a_folder_without_files_is_said_so(hearth, ada, tmp_path):
    (tmp_path / "none").mkdir()
    code, _, err = hearth("ingest", "--collection", "lab", tmp_path / "none")
    assert code == 65
    assert "no file" in err


# the real process


def test_the_installed_command_ends_with_its_exit_code_and_nothing_but_sentences(home):
    done = command("user", "disable", "eve", home=home)
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr.splitlines() == ["hearth: There is no user named 'eve'.", "        `hearth user list` shows all."]


# backups


def test_a_backup_is_restored_into_a_new_home_and_nowhere_else(hearth, ada, home, tmp_path):
    code, said, _ = hearth("backup", tmp_path / "all.zip")
    assert (code, "all.zip" in said, "stays in it" in said) == (0, True, True)
    code, _, told = hearth("backup", tmp_path / "all.zip")
    assert code != 0
    assert "overwrites nothing" in told
    code, _, told = hearth("restore", tmp_path / "all.zip")
    assert code != 0
    assert "has something in it" in told
    code, said, told = hearth("restore", tmp_path / "all.zip", "--home", tmp_path / "new" / "home")
    assert (code, told) == (0, "")
    assert "Everybody signs in again." in said
    assert row(hearth("user", "list", "--home", tmp_path / "new" / "home")[1], "ada")[1] == "admin"
    assert "no backup of Hearth" in hearth("restore", home / "hearth.db", "--home", tmp_path / "other")[2]


def test_backups_in_the_folder_are_rotated(hearth, ada, home):
    for _ in range(3):
        while hearth("backup", HEARTH_BACKUP_KEEP="2")[0] != 0:  # a name has the second in it
            time.sleep(0.1)
    assert len(list((home / "backups").glob("hearth-*.zip"))) == 2
    assert (home / "backups").stat().st_mode & 0o077 == 0
    assert next((home / "backups").iterdir()).stat().st_mode & 0o077 == 0


def test_there_is_nothing_to_back_up_before_there_is_a_house(hearth):
    code, _, told = hearth("backup")
    assert code != 0
    assert "There is nothing to back up" in told


def test_the_console_alone_wants_somebody_who_may_look(hearth, home):
    code, _, told = hearth("admin", "--port", "0")
    assert code != 0
    assert "hearth user add NAME --admin" in told
