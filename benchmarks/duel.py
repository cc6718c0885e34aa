"""How often the duel of params.yaml promotes a model that is better, equal or worse: its operating curve.

`python -m benchmarks.duel [--duels 500]` reads params.yaml and the size of the test set that `dvc repro` left
(reports/), draws pairs of models whose true F1 is as far apart as told, and prints a Markdown table. Its
seeds are fixed. A model's logit of a message is the message's own plus noise of the model: the weaker the
logits of two correlate, the more of their errors are their own.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pipeline.core.cli import run_stage
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params, read_yaml
from pipeline.core.tables import read_csv
from pipeline.evaluation import bootstrap, champion_challenger
from pipeline.registry import promotion

Flags = NDArray[np.bool_]  # (duels, messages)
Pair = tuple[Flags, Flags]  # labelled spam by the champion and by the challenger

CONFUSION = Path("reports/plots/confusion.csv")
TRUTHS = {
    "equal": 0.0,
    "better by 0.02": 0.02,
    "worse by 0.01": -0.01,
}  # of F1 at the fixed threshold
SIZES = (1, 2, 3, 4)  # times our test set
VERDICTS = ("promote", "tie", "keep")
POPULATION = 2_000_000  # messages of a class, by which the true figures are taken


@dataclass(frozen=True)
class Kind:
    """The logits of a class: some of its messages are hard."""

    hard_share: float
    hard: tuple[float, float]  # mean, deviation
    easy: tuple[float, float]

    @property
    def mean(self) -> float:
        return self.hard_share * self.hard[0] + (1 - self.hard_share) * self.easy[0]

    @property
    def deviation(self) -> float:
        apart = self.hard_share * (1 - self.hard_share) * (self.hard[0] - self.easy[0]) ** 2
        within = self.hard_share * self.hard[1] ** 2 + (1 - self.hard_share) * self.easy[1] ** 2
        return float(np.sqrt(apart + within))

    def logits(
        self, rng: np.random.Generator, size: tuple[int, ...], correlation: float
    ) -> NDArray:
        """(2, *size): of two models; `correlation` is that of the two."""
        hard = rng.random(size) < self.hard_share
        own = np.where(hard, rng.normal(*self.hard, size), rng.normal(*self.easy, size)) - self.mean
        noise = rng.normal(0, self.deviation * np.sqrt(1 - correlation), (2, *size))
        return self.mean + np.sqrt(correlation) * own + noise


# Fitted to the logits of three networks of params.yaml that differ in their seed alone, on the 1,318 messages
# of val and test, by maximum likelihood, where a score's clip at 1e-7 (18 % of the spam) is a censored one.
# Measured: ham -9.3 to -10.2 with deviations of 2.4 to 3.3, spam 10.2 to 12.5 with 5.1; two networks'
# logits correlate by 0.94 to 0.95 on ham, by 0.97 to 0.99 on spam; on test they have 0 to 2 errors apart.
HAM = Kind(0.0035, (1.2, 1.7), (-9.7, 2.5))
SPAM = Kind(0.049, (-4.0, 2.4), (12.4, 4.65))
CORRELATIONS = {  # of ham, of spam
    "as of two seeds": (0.95, 0.97),
    "less alike": (0.8, 0.8),
}


@dataclass(frozen=True)
class World:
    """Where messages come from, and the threshold at which both models label them."""

    correlations: tuple[float, float]
    threshold: float
    spam_share: float
    f1: float  # the champion's
    shift: float  # of the challenger's spam logits, which makes it better or worse

    @classmethod
    def of(
        cls, correlations: tuple[float, float], budget: float, spam_share: float, apart: float
    ) -> "World":
        """That in which the challenger's F1 is `apart` from the champion's, who loses `budget` of the ham."""
        rng = np.random.default_rng(0)
        ham = HAM.logits(rng, (POPULATION,), correlations[0])
        champion, challenger = SPAM.logits(rng, (POPULATION,), correlations[1])
        threshold = float(np.quantile(ham, 1 - budget))
        lost = budget * (1 - spam_share) / spam_share  # ham lost for a spam
        recall = float(np.mean(champion >= threshold))
        f1 = 2 * recall / (recall + lost + 1)
        wanted = (f1 + apart) * (1 + lost) / (2 - (f1 + apart))
        shift = threshold - float(np.quantile(challenger, 1 - wanted))
        return cls(correlations, threshold, spam_share, f1, shift)

    def labelled(self, rng: np.random.Generator, duels: int, ham: int, spam: int) -> Pair:
        """A test set for each duel, its ham first."""
        of_ham = HAM.logits(rng, (duels, ham), self.correlations[0])
        of_spam = SPAM.logits(rng, (duels, spam), self.correlations[1])
        of_spam[1] += self.shift
        champion, challenger = np.concatenate([of_ham, of_spam], axis=2) >= self.threshold
        return champion, challenger


# ---- the duel, many at a time


def verdicts(
    challengers: Flags, champions: Flags, ham: int, rule: champion_challenger.Rule
) -> NDArray[np.str_]:
    """(duels,): what `duel.compared` says of each by F1, on the same resamples. Of the rows, ham come first.

    A resample depends on the rows' labels alone: counted once, it serves all duels, by a product of matrices.
    """
    rows = champions.shape[1]
    draws = bootstrap._resampled(np.arange(rows) >= ham, rule.resamples, rule.seed)
    times = np.array([np.bincount(index, minlength=rows) for index in draws], np.float32)

    def f1(
        flags: Flags,
    ) -> NDArray[np.float64]:  # (resamples, duels); whole numbers are exact in float32
        flagged = (times @ flags.T.astype(np.float32)).astype(np.float64)
        caught = (times[:, ham:] @ flags[:, ham:].T.astype(np.float32)).astype(np.float64)
        return 2 * caught / (flagged + rows - ham)

    apart = f1(challengers) - f1(champions)
    better, worse = (
        np.mean(apart > rule.margin, axis=0),
        np.mean(apart < min(rule.margin, 0), axis=0),
    )
    return np.where(
        better >= rule.confidence, "promote", np.where(worse >= rule.confidence, "keep", "tie")
    )


# ---- the table


def share(k: int, n: int) -> str:
    """Per cent, with the exact binomial 95 % interval."""
    interval = binomtest(k, n).proportion_ci()
    return f"{100 * k / n:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def lines(
    duels: int, ham: int, spam: int, budget: float, rule: champion_challenger.Rule
) -> Iterator[str]:
    """The table, a line for each pair of models and size of the test set."""
    yield f"| errors | champion's F1 | challenger | messages | {' | '.join(f'{v}, %' for v in VERDICTS)} |"
    yield "|---" * 7 + "|"
    for errors, correlations in CORRELATIONS.items():
        for truth, apart in TRUTHS.items():
            world = World.of(correlations, budget, spam / (ham + spam), apart)
            for times in SIZES:
                pair = world.labelled(
                    np.random.default_rng(times), duels, times * ham, times * spam
                )
                said = verdicts(pair[1], pair[0], times * ham, rule)
                shares = " | ".join(
                    share(int(np.sum(said == verdict)), duels) for verdict in VERDICTS
                )
                yield f"| {errors} | {world.f1:.3f} | {truth} | {times * (ham + spam):,} | {shares} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.duel", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--duels", type=int, default=500, help="of each line of the table (default: 500)"
    )
    duels = parser.parse_args().duels
    rule = read_params(promotion.Params, "register").duel
    if rule.criterion != "f1":
        raise PipelineError(
            f"params.yaml: register.duel.criterion: {rule.criterion}; this table is of f1"
        )
    budget = read_yaml()["evaluate"]["lost_ham_budget"]
    actual = read_csv(CONFUSION)["actual"]
    for line in lines(duels, actual.count("ham"), actual.count("spam"), budget, rule):
        print(line, flush=True)


if __name__ == "__main__":
    run_stage(main)
