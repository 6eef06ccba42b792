import numpy as np

from compass_ray.policy.quality import SCORES, expect
from compass_ray.rules import shipped_rules
from compass_ray.training.boost import Boosting, boost
from compass_ray.training.fit import fit
from compass_ray.training.rows import read
from compass_ray.types.routing import Tier

RULES = shipped_rules()
LITTLE = Boosting(trees=30, depth=2, rate=0.2, penalty=2.0)
SCORED = dict.fromkeys(SCORES, 1)
SUM, THEOREM = "What is 4 plus 80?", "Prove the theorem of manifold 4 over the ring 80."


def test_what_is_learned_is_who_needs_strength(folder):
    model = fit(read(folder), RULES, seed=0, how=LITTLE)
    easy, hard = (expect(text, SCORED, model) for text in (SUM, THEOREM))

    assert hard.need > easy.need + 0.4
    assert easy.quality[Tier.FAST] > 0.7
    assert hard.quality[Tier.FAST] < 0.3
    assert hard.quality[Tier.PREMIUM] > 0.9
    assert (easy.field, hard.field) == ("math", "proof")


def test_the_same_seed_gives_the_same_model(folder):
    rows = read(folder)
    one, other = (fit(rows, RULES, seed=3, how=LITTLE) for _ in range(2))

    assert (one.weights == other.weights).all()
    assert (one.forest.leaves == other.forest.leaves).all()


def test_trees_learn_what_a_line_cannot():
    chance = np.random.default_rng(0)
    x = chance.random((2_000, 3))
    y = ((x[:, 0] > 0.5) != (x[:, 1] > 0.5)).astype(float)[:, None]
    how = Boosting(depth=2, rate=0.3, penalty=1.0, share_of_features=1.0, importance=(1.0,))
    forest = boost(x, y, np.ones_like(y), how, seed=0)

    said = np.array([forest.predict(row)[0] for row in x.astype(np.float32)])
    assert ((said > 0.5) == y[:, 0]).mean() > 0.97


def test_an_output_learns_nothing_from_rows_where_it_is_unknown():
    x = np.linspace(0, 1, 200)[:, None]
    y = np.column_stack([(x[:, 0] > 0.5), np.full(200, np.nan)]).astype(float)
    y[:50, 1] = 0.25
    how = Boosting(trees=40, depth=1, rate=0.3, penalty=1.0, importance=(1.0, 1.0))
    forest = boost(x, y, (~np.isnan(y)).astype(float), how, seed=0)

    assert np.allclose([forest.predict(row)[1] for row in x.astype(np.float32)], 0.25)
