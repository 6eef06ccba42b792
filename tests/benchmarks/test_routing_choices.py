from benchmarks.routing_choices import WAYS, changed


def test_as_the_gateway_uses_it_the_model_changes_more_than_as_a_column_alone():
    column, whole = map(
        changed(["What is 2 + 2?", "Prove that there are infinitely many primes.", "hi"]).get, WAYS
    )

    assert column[0] <= whole[0]
    assert 0 < whole[0] <= whole[1] <= 3
