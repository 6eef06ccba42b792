"""How often the shipped model changes what is chosen, over the shipped catalogue.

    python -m benchmarks.routing_choices --data DIR [--prompts 1500] [--seed 1]

DIR is described in docs/routing.md. Prompts are taken by chance. Beside the rules alone: the
model as the accuracy column of the matrix alone, and as the gateway uses it, for the tier as well.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.routing_speed import RULES, asking, shipped_endpoints
from compass_ray.config.schema import Routing
from compass_ray.learned import shipped_model
from compass_ray.policy.classify import classify
from compass_ray.policy.select import Catalogue, Conditions, Weights, select
from compass_ray.policy.worth import worth_its_price
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Classification, Endpoint

ROOT = Path(__file__).resolve().parent.parent
WAYS = ("the accuracy column alone", "tier and column")


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=1_500)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.path.append(str(ROOT / ".train"))  # pyarrow, see the Makefile
    from compass_ray.training.rows import read  # noqa: PLC0415

    every = [str(prompt) for prompt in read(asked.data).prompt]
    some = random.Random(asked.seed).sample(every, min(asked.prompts, len(every)))
    print(f"of {len(some)} prompts, the learned model changes")
    for way, (tiers, endpoints) in changed(some).items():
        share = tiers / len(some), endpoints / len(some)
        print("  {}: the tier of {:.1%}, the endpoint of {:.1%}".format(way, *share))


def changed(prompts: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return by way in how many prompts tier and endpoint are others than by the rules alone."""
    catalogue, model = Catalogue(shipped_endpoints()), shipped_model()
    tiers: Counter[str] = Counter()
    endpoints: Counter[str] = Counter()
    for prompt in prompts:
        request = asking(prompt)
        seen = classify(request, RULES, model=model)
        worth = worth_its_price(request, seen, catalogue, Routing().frugality)
        ruled = _first(request, classify(request, RULES), catalogue)
        chosen = [_first(request, one, catalogue) for one in (seen, worth)]
        for way, one in zip(WAYS, chosen, strict=True):
            tiers[way] += one.tier is not ruled.tier
            endpoints[way] += one.id != ruled.id
    return {way: (tiers[way], endpoints[way]) for way in WAYS}


def _first(request: ChatRequest, seen: Classification, catalogue: Catalogue) -> Endpoint:
    return select(request, seen, catalogue, Conditions(), Weights()).endpoints[0]


if __name__ == "__main__":
    main()
