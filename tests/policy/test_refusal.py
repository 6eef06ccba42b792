from compass_ray.policy.refusal import refusal
from compass_ray.types.errors import InvalidRequest, NoEndpoint
from compass_ray.types.routing import Exclusion

DOWN = Exclusion("openai/a", "unavailable", "circuit open: timeouts")
UNFIT = Exclusion("local/b", "unfit", "cannot do vision")
UNASKED = Exclusion("openai/c", "unasked", "not the model asked for, b")


def test_what_is_out_of_service_may_work_later():
    error = refusal([DOWN, UNFIT])

    assert isinstance(error, NoEndpoint)
    assert "openai/a: circuit open: timeouts" in error.message


def test_what_no_endpoint_can_do_is_the_caller_s_to_change():
    error = refusal([UNFIT])

    assert isinstance(error, InvalidRequest)
    assert error.message == "no endpoint can do this: local/b: cannot do vision"


def test_models_that_were_not_asked_for_are_not_mentioned():
    error = refusal([UNASKED, UNFIT])

    assert isinstance(error, InvalidRequest)
    assert "openai" not in error.message


def test_of_many_reasons_the_first_are_told():
    error = refusal([UNFIT] * 7)

    assert error.message.count("cannot do vision") == 5
    assert error.message.endswith("; and 2 more")
