"""What /metrics says."""

import pytest
from echo_house import ask, finished

pytestmark = pytest.mark.anyio


async def test_stages_have_their_percentiles_under_the_names_of_the_console(app, ada, api):
    await finished(await app.chat.send(ada, ask("hello there")))
    lines = (await api.get("/metrics")).text.splitlines()
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("hearth_stage_milliseconds{")}
    for stage in ("first_token", "writing", "whole"):
        half, most = (found[f'hearth_stage_milliseconds{{quantile="{q}",stage="{stage}"}}'] for q in ("0.5", "0.95"))
        assert 0 <= half <= most
    assert "hello" not in "\n".join(lines)
