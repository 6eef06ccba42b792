import json

import pytest

from compass_ray.training.solutions import Solution, read


def folder(tmp_path, rows, dataset="gsm"):
    (tmp_path / dataset).mkdir()
    (tmp_path / dataset / "some-model.json").write_text(json.dumps(rows))
    return tmp_path


def row(output, truth, **fields):
    return {"session_id": "q1", "question": "1 + 1?", "output": output, "answer": truth} | fields


def said(answer):
    return json.dumps({"reasoning": "…", "answer": answer})


def test_an_answer_is_read_with_its_question(tmp_path):
    (found,) = read(folder(tmp_path, [row([said("2")], "# 2")]))

    assert found == Solution("gsm", "q1", "some-model", "1 + 1?", said("2"), right=True)


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("18", "# 18", True),
        ("$18.00", "# 18", True),
        ("1,800 dollars", "# 1800", True),
        ("81", "# 18", False),
        ("\\frac12", "\\frac12", True),
        ("\\frac12", "\\frac13", False),
        ("x + 1", "x+1", True),
        ("", "# 18", False),
    ],
)
def test_an_answer_is_right_where_it_comes_to_the_same(tmp_path, answer, truth, right):
    (found,) = read(folder(tmp_path, [row([said(answer)], truth)]))

    assert found.right is right


def test_a_number_needs_no_quotes(tmp_path):
    (found,) = read(folder(tmp_path, [row(['{"answer": 18}'], "18")]))

    assert found.right


def test_an_answer_that_never_says_its_result_is_wrong(tmp_path):
    (found,) = read(folder(tmp_path, [row(["I do not know 18"], "# 18")]))

    assert not found.right


def test_outputs_are_unpacked_as_they_were_written(tmp_path):
    rows = [row(str([said("2")]), "2"), row("['broken", "2"), row([], "2"), row(None, "2")]

    assert [one.answer for one in read(folder(tmp_path, rows))] == [said("2"), "['broken"]


def test_a_problem_is_a_question_too(tmp_path):
    rows = [row([said("2")], "2", question=None, problem="1 + 1 = ?")]

    assert [one.question for one in read(folder(tmp_path, rows, "math-l5"))] == ["1 + 1 = ?"]


def test_a_folder_without_answers_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="gsm or math-l5"):
        list(read(tmp_path))
