"""The words, thresholds and tables that classification goes by: data, edited by users. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compass_ray.policy.lexicon import Lexicon
from compass_ray.types.routing import Accuracy, TaskType, Tier, Urgency


@dataclass(frozen=True, slots=True)
class KeywordRule:
    """Stage 1: one of `words` asks for `tier`."""

    tier: Tier
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class TaskRule:
    """A task type: its recommended tier, its words and how long its answers are.

    Expected output is `output_tokens` plus `output_per_input_token` times the input.
    """

    tier: Tier
    words: Sequence[str]
    output_tokens: int
    output_per_input_token: float = 0.0


@dataclass(frozen=True, slots=True)
class DomainRule:
    """A field of knowledge; one of its words scores 2 at most, two different ones `score`."""

    score: int
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class SizeRules:
    """Stage 1, in input tokens: below `fast_below` tier 3, above `premium_above` tier 1.

    Below `balanced_below` tier 2, and up to `premium_above` as well: the document leaves that
    range open.
    """

    fast_below: int
    balanced_below: int
    premium_above: int


@dataclass(frozen=True, slots=True)
class ComplexityRules:
    """Stage 2. A pair holds the least value that scores 2 and the least that scores 3."""

    raise_at: float
    """Mean score from which the tier is raised by one."""
    sentence_tokens: tuple[float, float]
    technical_share: tuple[float, float]
    """Technical words as a share of all words."""
    steps: tuple[float, float]
    """Different words that announce a step, and numbered lines."""
    context_tokens: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rules:
    """All of it, with its index. The order of `keywords` and `tasks` is their precedence."""

    read_chars: int
    """Characters read at each end of a text; tokens are estimated on all of it."""
    short_message_chars: int
    """A last message shorter than this is read together with all that came before."""
    size: SizeRules
    complexity: ComplexityRules
    keywords: Sequence[KeywordRule]
    urgency: Mapping[Urgency, Sequence[str]]
    accuracy: Mapping[Accuracy, Sequence[str]]
    tasks: Mapping[TaskType, TaskRule]
    domains: Mapping[str, DomainRule]
    technical: frozenset[str]
    step_words: Sequence[str]
    ignored: Sequence[str] = ()
    version: str = ""
    """Digest of the file: decisions name the rules that they went by."""
    lexicon: Lexicon = field(init=False, repr=False)
    task_groups: Mapping[str, tuple[int, TaskType]] = field(init=False, repr=False)
    """Name of a task's group in the lexicon, to the task and its precedence."""

    def __post_init__(self) -> None:
        groups: dict[str, Sequence[str]] = {"steps": self.step_words}
        groups |= {f"keyword {n}": rule.words for n, rule in enumerate(self.keywords)}
        groups |= {f"urgency {name}": words for name, words in self.urgency.items()}
        groups |= {f"accuracy {name}": words for name, words in self.accuracy.items()}
        tasks = {f"task {name}": (n, name) for n, name in enumerate(self.tasks)}
        groups |= {group: self.tasks[name].words for group, (_, name) in tasks.items()}
        object.__setattr__(self, "task_groups", tasks)
        groups |= {f"domain {name}": domain.words for name, domain in self.domains.items()}
        object.__setattr__(self, "lexicon", Lexicon(groups, self.ignored))
