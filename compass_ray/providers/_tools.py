"""The caller's tools, read once for the wires that write them differently. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from compass_ray.providers._fields import inexpressible
from compass_ray.providers._json import as_list, as_object, as_text
from compass_ray.types.errors import InvalidRequest

ToolMode = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class Tools:
    """`functions` are OpenAI's function objects; `name` is the one the model is forced to call."""

    functions: tuple[Mapping[str, Any], ...] = ()
    mode: ToolMode | None = None
    """None where the caller left the choice to the provider's default."""
    name: str | None = None

    @property
    def forced(self) -> bool:
        """Return whether the model must call a tool."""
        return self.mode == "required"


def read_tools(body: Mapping[str, Any]) -> Tools:
    """Return the tools the model may call; an allow-list in `tool_choice` is applied.

    Raises:
        InvalidRequest: a tool that is not a function, or a choice of an unknown kind.
    """
    functions = []
    for index, tool in enumerate(as_list(body.get("tools"))):
        if tool["type"] != "function":
            param = f"tools[{index}].type"
            raise inexpressible(param, f"{param}: the chosen provider knows functions only")
        functions.append(tool["function"])
    return _choose(tuple(functions), body.get("tool_choice"))


def _choose(functions: tuple[Mapping[str, Any], ...], choice: Any) -> Tools:
    if choice is None:
        return Tools(functions)
    if choice == "required" and not functions:
        raise InvalidRequest("tool_choice requires a tool, there is none", param="tool_choice")
    if choice in ("auto", "none", "required"):
        return Tools(functions, choice)
    match as_object(choice).get("type"):
        case "function":
            name = as_text(as_object(choice.get("function")).get("name"))
            _known(functions, name)
            return Tools(functions, "required", name)
        case "allowed_tools":
            return _allowed(functions, as_object(choice.get("allowed_tools")))
    raise inexpressible("tool_choice")


def _allowed(functions: tuple[Mapping[str, Any], ...], wish: Mapping[str, Any]) -> Tools:
    mode = wish.get("mode")
    names = {
        as_text(as_object(as_object(tool).get("function")).get("name"))
        for tool in as_list(wish.get("tools"))
    }
    if mode not in ("auto", "required"):
        raise InvalidRequest(
            "tool_choice.allowed_tools.mode must be auto or required",
            param="tool_choice.allowed_tools.mode",
        )
    return Tools(tuple(one for one in functions if one["name"] in names), mode)


def _known(functions: tuple[Mapping[str, Any], ...], name: str) -> None:
    if name not in {function["name"] for function in functions}:
        raise InvalidRequest(f"tool_choice names {name!r}, which is no tool", param="tool_choice")
