"""Ways to make one loss of several: what they compute, that they balance, and that what is not known tells them nothing."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.tasks.weighting import INTERVAL, WEIGHTINGS, Fixed, GradientNorm, Uncertainty, Weighting

torch.set_num_threads(1)

BALANCED = ("uncertainty", "gradient_norm")
LOUD = 1000.0


def by_name(weighting: Weighting) -> dict[str, float]:
    return dict(zip(weighting.names, weighting.weights().tolist(), strict=True))


class Toy(nn.Module):
    """Two regressions on a shared layer; the loss of `loud` is a thousand times that of `quiet`."""

    def __init__(self, weighting: str) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.trunk = nn.Linear(8, 4)
            self.heads = nn.ModuleDict({"quiet": nn.Linear(4, 1), "loud": nn.Linear(4, 1)})
        self.weighting: Weighting = WEIGHTINGS[weighting](("quiet", "loud"))

    def losses(self, step: int, known: tuple[bool, ...] = (True, True)) -> tuple[dict[str, Tensor], list[Tensor]]:
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn((32, 8), generator=generator)
        noise = 0.2 * torch.randn((32, 2), generator=generator)
        truth = torch.stack([inputs[:, :4].mean(1) * 2, inputs[:, 4:].mean(1) * 2], 1) + noise
        shared = self.trunk(inputs)
        losses = {
            name: scale * yes * ((head(shared)[:, 0] - truth[:, number]) ** 2).mean()
            for number, ((name, head), scale, yes) in enumerate(
                zip(self.heads.items(), (1.0, LOUD), known, strict=True)
            )
        }
        return losses, list(self.trunk.parameters())

    def train_on(self, optimizer: torch.optim.Optimizer, step: int, known: tuple[bool, ...] = (True, True)) -> Tensor:
        losses, shared = self.losses(step, known)
        loss = self.weighting(losses, shared)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()


def remaining_losses(weighting: str, learning_rate: float, steps: int = 150) -> list[float]:
    """Share of each task's first loss that is left after training, infinite if it diverged."""
    toy = Toy(weighting)
    optimizer = torch.optim.SGD(toy.parameters(), lr=learning_rate)
    first, _ = toy.losses(10_000)
    for step in range(steps):
        toy.train_on(optimizer, step)
    last, _ = toy.losses(10_000)
    shares = [(last[name] / first[name]).item() for name in first]
    return [share if math.isfinite(share) else math.inf for share in shares]


@pytest.fixture(params=WEIGHTINGS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("weighting", BALANCED)
def test_tasks_of_very_different_scale_both_learn(weighting: str):
    assert max(remaining_losses(weighting, 0.1)) < 0.15


@pytest.mark.parametrize("learning_rate", [1e-1, 1e-2, 1e-3, 3e-4, 1e-4, 1e-5])
def test_weights_of_1_fail_one_of_them_at_any_learning_rate(learning_rate: float):
    assert max(remaining_losses("fixed", learning_rate)) > 0.8


def test_weights_by_hand_let_both_learn():
    toy = Toy("fixed")
    toy.weighting = Fixed(("quiet", "loud"), {"loud": 1 / LOUD})
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.1)
    first, _ = toy.losses(10_000)
    for step in range(150):
        toy.train_on(optimizer, step)
    last, _ = toy.losses(10_000)
    assert all(last[task] < 0.15 * first[task] for task in first)


def test_a_run_goes_on_from_its_state_to_the_same_bits(name: str):
    known = [(step % 3 != 1, step % 4 != 2) for step in range(24)]

    def train(toy: Toy, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
        return [toy.train_on(optimizer, step, known[step]).item() for step in steps]

    whole = Toy(name)
    optimizer = torch.optim.AdamW(whole.parameters(), lr=0.01)
    losses = train(whole, optimizer, range(24))

    first = Toy(name)
    optimizer = torch.optim.AdamW(first.parameters(), lr=0.01)
    begun = train(first, optimizer, range(10))
    second = Toy(name)
    second.load_state_dict(first.state_dict())
    resumed = torch.optim.AdamW(second.parameters(), lr=0.01)
    resumed.load_state_dict(optimizer.state_dict())
    assert begun + train(second, resumed, range(10, 24)) == losses
    for key, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[key], value)
    assert by_name(second.weighting) == by_name(whole.weighting)


def test_nothing_becomes_nan_whatever_is_known(name: str):
    for known in itertools.product([(True, True), (True, False), (False, True), (False, False)], repeat=3):
        toy = Toy(name)
        optimizer = torch.optim.AdamW(toy.parameters(), lr=0.01)
        for step, which in enumerate(known):
            assert toy.train_on(optimizer, step, which).isfinite()
        assert all(parameter.isfinite().all() for parameter in toy.parameters())
        assert all(math.isfinite(weight) and weight >= 0 for weight in by_name(toy.weighting).values())


def test_a_task_that_is_not_known_gets_no_gradient(name: str):
    toy = Toy(name)
    for step, known in enumerate([(True, True), (False, True)]):
        toy.zero_grad()
        losses, shared = toy.losses(step, known)
        toy.weighting(losses, shared).backward()
    assert all((parameter.grad == 0).all() for parameter in toy.heads["quiet"].parameters())
    assert any((parameter.grad != 0).any() for parameter in toy.heads["loud"].parameters())


def test_logs_are_the_weights_by_which_the_gradients_are_multiplied(name: str):
    toy = Toy(name)
    losses, shared = toy.losses(0)
    total = toy.weighting(losses, shared)
    logs = by_name(toy.weighting)
    for task, head in toy.heads.items():
        alone = torch.autograd.grad(losses[task], head.weight, retain_graph=True)[0]
        weighted = torch.autograd.grad(total, head.weight, retain_graph=True)[0]
        torch.testing.assert_close(weighted, alone * logs[task])


def test_one_task_alone_is_trained(name: str):
    weighting = WEIGHTINGS[name](("only",))
    value = torch.tensor([2.0], requires_grad=True)
    total = weighting({"only": (value**2).sum()}, [value])
    assert torch.autograd.grad(total, value)[0].item() > 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"quit": 1.0}, "did you mean 'quiet'"),
        ({"quiet": -1.0}, "no number from 0 up"),
        ({"quiet": math.nan}, "no number from 0 up"),
        ({"quiet": 0.0, "loud": 0.0}, "every task has the weight 0"),
    ],
)
def test_impossible_weights_are_refused(name: str, weights: dict[str, float], message: str):
    with pytest.raises(UsageError, match=message):
        WEIGHTINGS[name](("quiet", "loud"), weights)


def test_fixed_weights_add_the_losses_up():
    losses = {"a": torch.tensor(3.0), "b": torch.tensor(5.0)}
    assert Fixed(("a", "b"))(losses) == 8
    assert Fixed(("a", "b"), {"b": 0.5})(losses) == 5.5
    assert by_name(Fixed(("a", "b"), {"b": 0.5})) == {"a": 1.0, "b": 0.5}


def test_uncertainty_is_the_formula_of_the_paper_and_starts_in_its_optimum():
    weighting = Uncertainty(("a", "b"), {"b": 2.0})
    losses = {"a": torch.tensor(3.0), "b": torch.tensor(500.0)}
    weighting(losses).backward()
    torch.testing.assert_close(weighting.log_variances.detach(), torch.tensor([6.0, 1000.0]).log())
    torch.testing.assert_close(weighting.log_variances.grad, torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.tensor(list(by_name(weighting).values())), torch.tensor([1 / 6, 2 / 1000]))

    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([0.7, -0.4]))
    expected = math.exp(-0.7) * 3 + 0.35 + 2 * (math.exp(0.4) * 500 - 0.2)
    assert weighting(losses).item() == pytest.approx(expected)


def test_uncertainty_for_regression_in_the_paper_differs_by_a_constant_only():
    log_variance, loss = torch.tensor(0.3), torch.tensor(2.0)
    paper = (-log_variance).exp() / 2 * loss + log_variance / 2
    weighting = Uncertainty(("a",)).eval()
    with torch.no_grad():
        weighting.log_variances.fill_(log_variance + math.log(2))
    torch.testing.assert_close(weighting({"a": loss}) - math.log(2) / 2, paper)


def test_an_unknown_task_does_not_move_its_variance():
    weighting = Uncertainty(("a", "b"))
    weighting({"a": torch.tensor(3.0), "b": torch.tensor(4.0)})
    before = weighting.log_variances.detach().clone()
    weighting({"a": torch.tensor(9.0), "b": torch.tensor(0.0)}).backward()
    assert weighting.log_variances.grad[1] == 0
    assert weighting.log_variances.grad[0] < 0
    assert torch.equal(weighting.log_variances, before)


def test_a_task_that_is_first_known_later_starts_then():
    weighting = Uncertainty(("a", "b"))
    weighting({"a": torch.tensor(3.0), "b": torch.tensor(0.0)})
    assert weighting.log_variances[1] == 0
    weighting({"a": torch.tensor(5.0), "b": torch.tensor(4.0)})
    torch.testing.assert_close(weighting.log_variances.detach(), torch.tensor([6.0, 8.0]).log())


def test_variances_have_no_weight_decay():
    from eofuse.learning.loop import TrainOptions, make_optimizer

    weighting = Uncertainty(("a", "b"))
    groups = make_optimizer(weighting, TrainOptions()).param_groups
    assert [group["weight_decay"] for group in groups if group["params"]] == [0.0]


def two_losses(scales: tuple[float, float]) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Losses on a shared vector and map, of which the second looks at the map only."""
    vector = torch.ones(3, 4, requires_grad=True) * 1.0
    level = torch.ones(3, 2, 5, 5, requires_grad=True) * 2.0
    return {"a": scales[0] * (vector**2).sum() + level.sum(), "b": scales[1] * (level**2).sum()}, [vector, level]


def norm_on(loss: Tensor, shared: list[Tensor]) -> float:
    gradients = torch.autograd.grad(loss, shared, retain_graph=True, materialize_grads=True)
    return math.hypot(*(each.norm().item() for each in gradients))


def test_gradients_get_equal_norms_times_the_weights_by_hand():
    weighting = GradientNorm(("a", "b"), {"b": 3.0})
    losses, shared = two_losses((1.0, LOUD))
    weighting(losses, shared)
    logs = by_name(weighting)
    assert sum(logs.values()) == pytest.approx(2)
    weighted = {task: logs[task] * norm_on(loss, shared) for task, loss in losses.items()}
    assert weighted["b"] == pytest.approx(3 * weighted["a"])


def test_norms_are_smoothed_and_kept_while_a_task_is_not_known():
    weighting = GradientNorm(("a", "b"))
    first, shared = two_losses((1.0, LOUD))
    weighting(first, shared)
    norms = [norm_on(first["a"], shared), norm_on(first["b"], shared)]
    torch.testing.assert_close(weighting.norms, torch.tensor(norms))
    second, shared = two_losses((4.0, 0.0))
    for _ in range(INTERVAL):
        torch.testing.assert_close(weighting.norms, torch.tensor(norms))
        weighting(second, shared)
    expected = [0.5 * norms[0] + 0.5 * norm_on(second["a"], shared), norms[1]]
    torch.testing.assert_close(weighting.norms, torch.tensor(expected))


def test_a_norm_is_measured_as_soon_as_its_task_is_known():
    weighting = GradientNorm(("a", "b"))
    for scale in (0.0, 0.0, LOUD):
        assert weighting.norms[1] == 0
        losses, shared = two_losses((1.0, scale))
        weighting(losses, shared)
    assert weighting.norms[1].item() == pytest.approx(norm_on(losses["b"], shared))


def test_weights_do_not_depend_on_which_tasks_a_batch_knows():
    weighting = GradientNorm(("a", "b"))
    losses, shared = two_losses((1.0, LOUD))
    weighting(losses, shared)
    logs = by_name(weighting)
    for _ in range(INTERVAL):
        weighting({"a": losses["a"] * 0, "b": losses["b"]}, shared)
    assert by_name(weighting) == pytest.approx(logs)


def test_norms_of_any_magnitude_give_finite_weights():
    weighting = GradientNorm(("a", "b", "c"), {"c": 0.0})
    for norms in ([1e-38, 1e38, 1.0], [1e-45, 1e-45, 0.0], [0.0, 1e38, 1e-45]):
        weighting.norms.copy_(torch.tensor(norms))
        weights = weighting.weights()
        assert weights.isfinite().all()
        assert weights[2] == 0
        assert weights.sum() > 0


def test_without_a_gradient_on_the_features_the_weights_are_those_by_hand():
    weighting = GradientNorm(("a", "b"), {"b": 3.0})
    frozen = torch.ones(4)
    head = torch.ones(4, requires_grad=True)
    losses = {"a": (frozen * head).sum(), "b": (head**2).sum()}
    assert weighting(losses, [frozen]) == 4 + 3 * 4
    assert weighting(losses, [frozen, torch.ones(4, requires_grad=True)]) == 4 + 3 * 4
    assert by_name(weighting) == {"a": 1.0, "b": 3.0}


@pytest.mark.parametrize("mode", ["evaluation", "no gradient"])
def test_looking_at_the_loss_changes_no_state(name: str, mode: str):
    toy = Toy(name)
    before = {key: value.clone() for key, value in toy.state_dict().items()}
    if mode == "evaluation":
        toy.eval()
    with torch.set_grad_enabled(mode == "evaluation"):
        losses, shared = toy.losses(0)
        toy.weighting(losses, shared)
    assert all(torch.equal(toy.state_dict()[key], value) for key, value in before.items())
