import asyncio

import pytest

from core.rag.folders import Watch
from ui.commands import _watch


@pytest.mark.anyio
async def test_a_watched_folder_keeps_its_collection_up_to_date_and_removes_nothing(app, ada, tmp_path, capsys):
    async def ready(*expected):
        while True:
            page = await app.library.documents(ada.user, "lab") if (await app.library.collections(ada.user)).items else None
            if page and sorted((d.name, d.version, d.status.value) for d in page.items) == sorted((*e, "ready") for e in expected):
                return
            await asyncio.sleep(0.05)

    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("The lamp is green.")
    watching = asyncio.create_task(_watch(app, ada.user, "lab", Watch([folder]), every_s=0.05))
    try:
        async with asyncio.timeout(30):
            await ready(("notes/a.md", 1))
            (folder / "a.md").write_text("The lamp is red.")
            (folder / "b.md").write_text("The port is 8443.")
            await ready(("notes/a.md", 2), ("notes/b.md", 1))
            (folder / "a.md").unlink()
            while "notes/a.md is gone" not in capsys.readouterr().out:
                await asyncio.sleep(0.05)
            await ready(("notes/a.md", 2), ("notes/b.md", 1))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
