"""From pydantic's findings to problems that name a place, in Compass's words. Pure."""

from collections.abc import Iterable
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from compass_ray.config.fields import PATTERNS, Section
from compass_ray.config.tree import KeyPath, Node, Problem, suggestion

_S = TypeVar("_S", bound=Section)

_KEY = "[key]"
"""Pydantic's last step on the way to a wrong key of a mapping."""

_MESSAGES = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "date_type": "must be a date: YYYY-MM-DD",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be one of {expected}",
    "string_unicode": "must be valid Unicode",
}


def validate(tree: Node, shape: type[_S]) -> tuple[_S | None, list[Problem]]:
    """Return the checked settings, or all that is wrong with their shape."""
    try:
        return shape.model_validate(tree.plain()), []
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_input=False)
        return None, [_problem(tree, shape, error) for error in found]


def _problem(tree: Node, shape: type[Section], error: ErrorDetails) -> Problem:
    path = error["loc"]
    if path and path[-1] == _KEY:
        path = path[:-1]
    return Problem(tree.nearest(path).place, path, _message(error, shape, path))


def _message(error: ErrorDetails, shape: type[Section], path: KeyPath) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{suggestion(str(path[-1]), _known(shape, path[:-1]))}"
    if kind == "string_pattern_mismatch":
        return PATTERNS[context["pattern"]]
    if kind == "value_error":
        return str(context["error"])
    template = _MESSAGES.get(kind)
    return template.format(**context) if template else error["msg"].lower()


def _known(whole: type[Section], path: KeyPath) -> Iterable[str]:
    """Return the keys that the section at `path` may have."""
    shape: Any = whole
    for step in path:
        if isinstance(shape, type) and issubclass(shape, BaseModel):
            shape = shape.model_fields[str(step)].annotation
        else:  # of a mapping or a list: the last argument is what it holds
            shape = get_args(shape)[-1]
        sections = [one for one in get_args(shape) if _is_section(one)]
        if sections and type(None) in get_args(shape):  # Section | None
            shape = sections[0]
    return shape.model_fields if _is_section(shape) else ()


def _is_section(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, BaseModel)
