"""The rules file is edited while the gateway runs: followed where sound, else refused."""

import asyncio
import os

import pytest

from compass_ray.rules import parse_rules, shipped_rules
from compass_ray.serving.replica import learner_settings
from compass_ray.serving.rules_watch import RulesWatch
from compass_ray.types.settings import RulesFile
from tests.gateway.conftest import Provider, answer
from tests.test_rules import TEXT

from .conftest import ADMIN_KEY, HELLO, error_of

EDITED = TEXT.replace("fast_below: 500", "fast_below: 400", 1)
BROKEN = TEXT.replace("fast_below: 500", "fast_below: 5000", 1)
BROKEN_LINE = BROKEN[: BROKEN.index("fast_below")].count("\n")
"""Of `size:`, whose numbers must rise."""
VERSION = parse_rules(EDITED, "").version


@pytest.fixture
def watched(tmp_path):
    """Build a watch of a file, and the list of the rules that it adopts."""
    file = tmp_path / "rules.yaml"
    file.write_text(TEXT)
    adopted = []
    watch = RulesWatch(RulesFile(str(file), TEXT), shipped_rules(), adopted.append, lambda: 7.0)
    return watch, file, adopted


@pytest.fixture
async def edited(rim, watched):
    """Build the application over that file."""
    watch, file, _ = watched
    r = rim(a=Provider(*[answer()] * 9))
    watch._adopt = r.world.gateway.adopt
    r.replica.rules = watch
    await r.learner.configure(learner_settings(r.settings))
    return r, file


async def test_the_file_as_it_was_read_at_first_is_no_news(watched):
    watch, _, adopted = watched

    for _ in range(2):
        await watch.look()

    assert adopted == []


async def test_an_edit_is_followed(watched):
    watch, file, adopted = watched
    await watch.look()
    file.write_text(EDITED)
    for _ in range(2):
        await watch.look()

    (rules,) = adopted
    assert (rules.size.fast_below, rules.version) == (400, VERSION)
    assert watch.health() == {"version": VERSION, "refused": False}


async def test_another_file_of_the_same_size_and_time_in_its_place_is_followed(watched):
    watch, file, adopted = watched
    await watch.look()
    before = file.stat()
    other = file.with_suffix(".new")
    other.write_text(EDITED)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    await watch.look()

    assert [rules.version for rules in adopted] == [VERSION]


async def test_what_is_not_sound_is_refused_with_its_line_and_said_once(watched, caplog):
    watch, file, adopted = watched
    file.write_text(BROKEN)
    for _ in range(3):
        await watch.look()

    assert adopted == []
    assert watch.health() == {"version": shipped_rules().version, "refused": True}
    (record,) = caplog.records
    assert f"{file}:{BROKEN_LINE + 1}" in record.getMessage()
    assert "must rise" in record.getMessage()


@pytest.mark.parametrize("put_right", [TEXT, EDITED])
async def test_what_is_put_right_is_no_longer_refused(watched, put_right):
    watch, file, adopted = watched
    file.write_text(BROKEN)
    await watch.look()
    file.write_text(put_right)
    await watch.look()

    assert watch.health()["refused"] is False
    assert len(adopted) == (put_right == EDITED)


async def test_a_file_that_is_gone_changes_nothing_until_it_is_back(watched, caplog):
    watch, file, adopted = watched
    file.unlink()
    for _ in range(3):
        await watch.look()
    refused = watch.health()["refused"]
    file.write_text(EDITED)
    await watch.look()

    assert refused
    assert len(caplog.records) == 1
    assert [rules.version for rules in adopted] == [VERSION]
    assert not watch.health()["refused"]


async def test_it_looks_by_itself(watched, monkeypatch):
    monkeypatch.setattr("compass_ray.serving.rules_watch._EVERY_SECONDS", 0.0)
    watch, file, _ = watched
    adopted = asyncio.Queue()
    watch._adopt = adopted.put_nowait
    task = asyncio.create_task(watch.run())
    file.write_text(EDITED)
    rules = await asyncio.wait_for(adopted.get(), 30)
    task.cancel()

    assert rules.version == VERSION


async def test_reloading_takes_effect_at_once_and_decisions_name_their_rules(edited):
    r, file = edited
    before = (await r.ask("POST", "/api/v1/route", json=HELLO)).json()["rules"]
    file.write_text(EDITED)
    response = await r.ask("POST", "/api/v1/rules/reload", ADMIN_KEY)
    chat = await r.chat()
    path = f"/api/v1/decisions/{chat.headers['x-compass-request-id']}"

    assert response.status_code == 200
    assert response.json() == {"version": VERSION, "file": str(file), "since": 7.0, "problem": None}
    assert before == shipped_rules().version
    assert (await r.ask("GET", path)).json()["rules"] == VERSION


async def test_reloading_what_is_not_sound_says_where_and_why_and_the_old_rules_stay(edited):
    r, file = edited
    file.write_text(BROKEN)

    response = await r.ask("POST", "/api/v1/rules/reload", ADMIN_KEY)
    told = (await r.ask("GET", "/api/v1/rules", ADMIN_KEY)).json()

    error = error_of(response)
    assert (response.status_code, error["code"]) == (400, "rules_refused")
    assert f"{file}:{BROKEN_LINE + 1}" in error["message"]
    assert told["problem"] == error["message"]
    assert told["version"] == shipped_rules().version
    assert (await r.ask("POST", "/api/v1/route", json=HELLO)).json()["rules"] == told["version"]


async def test_a_file_that_is_no_text_is_refused(edited):
    r, file = edited
    file.write_bytes(b"\xff\xfe")

    response = await r.ask("POST", "/api/v1/rules/reload", ADMIN_KEY)

    assert error_of(response)["message"] == f"{file}: is not utf-8"


async def test_only_an_admin_reloads_and_sees_the_reason(edited):
    r, _ = edited

    for method, path in (("POST", "/api/v1/rules/reload"), ("GET", "/api/v1/rules")):
        response = await r.ask(method, path)
        assert (response.status_code, error_of(response)["code"]) == (403, "not_an_admin")


async def test_without_a_file_there_is_nothing_to_reload(edited):
    r, _ = edited
    r.replica.rules = RulesWatch(None, shipped_rules(), r.world.gateway.adopt)

    response = await r.ask("POST", "/api/v1/rules/reload", ADMIN_KEY)
    told = (await r.ask("GET", "/api/v1/rules", ADMIN_KEY)).json()

    assert (response.status_code, error_of(response)["code"]) == (400, "no_rules_file")
    assert (told["file"], told["version"]) == (None, shipped_rules().version)
