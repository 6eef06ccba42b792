"""`python -m compass_ray.config` in this process."""

from compass_ray.config.__main__ import main


def test_a_good_configuration_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    assert main() == 0
    assert capsys.readouterr().out.startswith("ok: 4 providers, ")


def test_a_mistake_is_told_with_exit_status_2(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPASS_CONFIG", "mine.yaml")
    (tmp_path / "mine.yaml").write_text("server: {max_n: 0}")

    assert main() == 2
    assert capsys.readouterr() == ("", "mine.yaml:1: server.max_n: must be at least 1\n")
