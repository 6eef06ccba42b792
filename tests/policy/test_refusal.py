from compass_ray.policy.refusal import refusal
from compass_ray.types.errors import InvalidRequest, NoEndpoint


def test_what_is_out_of_service_may_work_later():
    error = refusal(
        [("openai/a", "circuit open: timeouts"), ("local/b", "cannot do vision")],
        {"openai/a": "circuit open: timeouts"},
    )

    assert isinstance(error, NoEndpoint)
    assert "openai/a: circuit open: timeouts" in error.message


def test_what_no_endpoint_can_do_is_the_caller_s_to_change():
    error = refusal([("local/b", "cannot do vision")], {})

    assert isinstance(error, InvalidRequest)
    assert error.message == "no endpoint can do this: local/b: cannot do vision"


def test_models_that_were_not_asked_for_are_not_mentioned():
    error = refusal(
        [("openai/a", "not the model asked for, b"), ("local/b", "cannot do tools")],
        {"openai": "no key"},
    )

    assert isinstance(error, InvalidRequest)
    assert "openai" not in error.message
