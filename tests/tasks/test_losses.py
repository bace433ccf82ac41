"""Losses of maps and numbers: their values, and that what is not known has no influence."""

import pytest
import torch
from torch.nn import functional

from eofuse.data.targets import IGNORE
from eofuse.tasks.losses import (
    REGRESSION_LOSSES,
    SEGMENTATION_LOSSES,
    composition_loss,
    cross_entropy,
    dice,
    focal,
    regression_loss,
    segmentation_loss,
)

HEADS, PATCHES, CLASSES, SIZE = 2, 4, 5, 6
ALL = torch.ones(PATCHES, dtype=torch.bool)
MASKED = torch.tensor([True, False, True, True])
COMPOSITION_LOSSES = ("cross_entropy", *REGRESSION_LOSSES)


def numbers(*shape: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def a_map(seed: int = 0) -> torch.Tensor:
    """Classes 0 to 2 of 5, and ignored pixels."""
    truth = torch.randint(3, (PATCHES, SIZE, SIZE), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    truth[:, :2] = 255
    return truth


def logits() -> torch.Tensor:
    return numbers(HEADS, PATCHES, CLASSES, SIZE, SIZE).requires_grad_()


def gradient(loss: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, of, retain_graph=True)[0]


@pytest.fixture(params=SEGMENTATION_LOSSES)
def segmentation_name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_cross_entropy_is_that_of_torch_over_the_known_pixels():
    output, truth = logits(), a_map()
    loss = segmentation_loss(["cross_entropy"], output, truth, MASKED)
    reference = [functional.cross_entropy(head[MASKED], truth[MASKED].long(), ignore_index=255) for head in output]
    torch.testing.assert_close(loss, torch.stack(reference).mean())


def test_class_weights_weigh_the_pixels_without_changing_by_what_the_sum_is_divided():
    output, truth, weights = logits(), a_map(), torch.tensor([2.0, 0.5, 1.0, 0.0, 3.0])
    loss = segmentation_loss(["cross_entropy"], output, truth, MASKED, weights)
    sums = [
        functional.cross_entropy(head[MASKED], truth[MASKED].long(), weight=weights, ignore_index=255, reduction="sum")
        for head in output
    ]
    torch.testing.assert_close(loss, torch.stack(sums).mean() / (truth[MASKED] != 255).sum())


def test_focal_loss_is_its_formula_over_the_known_pixels():
    output, truth, weights = logits(), a_map(), torch.tensor([2.0, 0.5, 1.0, 0.0, 3.0])
    loss = segmentation_loss(["focal"], output, truth, MASKED, weights)
    counted = truth[MASKED] != 255
    classes = truth[MASKED][counted].long()
    values = []
    for head in output:
        likely = head[MASKED].permute(0, 2, 3, 1)[counted].softmax(1).gather(1, classes[:, None])[:, 0]
        values.append((-weights[classes] * (1 - likely) ** 2 * likely.log()).mean())
    torch.testing.assert_close(loss, torch.stack(values).mean())


@pytest.mark.parametrize("weights", [None, torch.tensor([2.0, 0.5, 1.0, 0.0, 3.0])])
def test_focal_loss_with_gamma_0_is_cross_entropy(weights: torch.Tensor | None):
    output, truth = logits(), a_map().long()
    log_probabilities = output.log_softmax(2)
    plain = cross_entropy(log_probabilities, truth, weights)
    without = focal(log_probabilities, truth, weights, gamma=0.0)
    torch.testing.assert_close(without, plain)
    torch.testing.assert_close(gradient(without, output), gradient(plain, output))


def test_dice_is_its_formula_averaged_over_the_classes_that_occur():
    output, truth = logits(), a_map()
    loss = segmentation_loss(["dice"], output, truth, MASKED)
    counted = truth[MASKED] != 255
    classes = truth[MASKED][counted]
    values = []
    for head in output:
        likely = head[MASKED].permute(0, 2, 3, 1)[counted].softmax(1)
        for number in range(3):
            true = (classes == number).float()
            values.append(1 - 2 * (likely[:, number] * true).sum() / (likely[:, number].sum() + true.sum()))
    torch.testing.assert_close(loss, torch.stack(values).mean())


def test_dice_agrees_with_segmentation_models_pytorch_but_for_the_classes_that_do_not_occur():
    from segmentation_models_pytorch.losses import DiceLoss

    output, truth = logits(), a_map()
    loss = segmentation_loss(["dice"], output[:1], truth, ALL)
    theirs = DiceLoss("multiclass", ignore_index=255)(output[0], truth)
    torch.testing.assert_close(loss, theirs * CLASSES / 3)
    torch.testing.assert_close(gradient(loss, output), gradient(theirs, output) * CLASSES / 3)


def test_perfect_maps_have_no_loss(segmentation_name: str):
    truth = a_map()
    right = functional.one_hot(truth.long() % 255, CLASSES).permute(0, 3, 1, 2)[None] * 1000.0
    assert segmentation_loss([segmentation_name], right, truth, ALL) == 0


def test_dice_of_maps_that_are_wrong_everywhere_is_1():
    truth = a_map()
    wrong = functional.one_hot((truth.long() + 1) % 255 % CLASSES, CLASSES).permute(0, 3, 1, 2)[None] * 1000.0
    assert segmentation_loss(["dice"], wrong, truth, ALL) == 1


def test_several_names_are_summed():
    output, truth = logits(), a_map()
    parts = [segmentation_loss([name], output, truth, MASKED) for name in SEGMENTATION_LOSSES]
    together = segmentation_loss(list(SEGMENTATION_LOSSES), output, truth, MASKED)
    torch.testing.assert_close(together, torch.stack(parts).sum())


def test_maps_that_are_not_known_have_no_influence_whatever_they_hold(segmentation_name: str):
    output, truth = logits(), a_map()
    loss = segmentation_loss([segmentation_name], output, truth, MASKED)
    slope = gradient(loss, output)
    unknown = (truth == 255) | ~MASKED[:, None, None]
    assert (slope.permute(0, 1, 3, 4, 2)[:, unknown] == 0).all()
    assert (slope.permute(0, 1, 3, 4, 2)[:, ~unknown] != 0).any()

    for other in (numbers(*output.shape, seed=1), torch.tensor(torch.nan), torch.tensor(torch.inf)):
        varied = torch.where(unknown[:, None], other, output.detach()).requires_grad_()
        relabelled = truth.clone()
        relabelled[~MASKED] = 4
        again = segmentation_loss([segmentation_name], varied, relabelled, MASKED)
        assert torch.equal(again, loss)
        assert torch.equal(gradient(again, varied), slope)


@pytest.mark.parametrize("case", ["no patch", "no pixel"])
def test_without_a_known_pixel_the_loss_is_0_with_a_gradient_of_zeros(segmentation_name: str, case: str):
    output, truth = logits(), a_map()
    known = torch.zeros_like(ALL) if case == "no patch" else ALL
    if case == "no pixel":
        truth[:] = 255
    loss = segmentation_loss([segmentation_name], output, truth, known, torch.ones(CLASSES))
    assert loss == 0
    assert torch.equal(gradient(loss, output), torch.zeros_like(output))


def test_gradients_of_maps_are_right(segmentation_name: str):
    small = numbers(1, 2, 3, 2, 2).double().requires_grad_()
    truth = torch.tensor([[[0, 1], [255, 1]], [[1, 1], [0, 255]]])
    function = {"cross_entropy": cross_entropy, "dice": dice, "focal": focal}[segmentation_name]
    assert torch.autograd.gradcheck(lambda values: function(values.log_softmax(2), truth), small)


def test_extreme_logits_give_finite_gradients(segmentation_name: str):
    output = (logits().detach() * 1e4).requires_grad_()
    loss = segmentation_loss([segmentation_name], output, a_map(), ALL)
    assert loss.isfinite()
    assert gradient(loss, output).isfinite().all()


def test_losses_of_bfloat16_outputs_are_computed_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        coarse = logits().detach().bfloat16()
        mapped = segmentation_loss(list(SEGMENTATION_LOSSES), coarse, a_map(), MASKED)
        number = regression_loss("mse", coarse, numbers(*coarse.shape[1:]), MASKED)
        composed = composition_loss("cross_entropy", coarse[..., 0, 0], torch.full((PATCHES, CLASSES), 0.2), MASKED)
    assert mapped.dtype == number.dtype == composed.dtype == torch.float32
    assert torch.equal(mapped, segmentation_loss(list(SEGMENTATION_LOSSES), coarse.float(), a_map(), MASKED))
    assert torch.equal(number, regression_loss("mse", coarse.float(), numbers(*coarse.shape[1:]), MASKED))


@pytest.mark.parametrize("name", REGRESSION_LOSSES)
@pytest.mark.parametrize("pixels", [(), (SIZE, SIZE)], ids=["numbers", "pixels"])
def test_regression_losses_are_means_over_known_entries(name: str, pixels: tuple[int, ...]):
    output = numbers(HEADS, PATCHES, 3, *pixels).requires_grad_()
    truth = numbers(PATCHES, 3, *pixels, seed=1)
    truth[0, 1] = torch.nan
    loss = regression_loss(name, output, truth, MASKED)
    counted = MASKED.view(-1, *[1] * (truth.ndim - 1)) & ~truth.isnan()
    error = (output - truth)[:, counted]
    formulas = {
        "mse": error**2,
        "l1": error.abs(),
        "huber": torch.where(error.abs() < 1, error**2 / 2, error.abs() - 0.5),
    }
    torch.testing.assert_close(loss, formulas[name].mean())
    slope = gradient(loss, output)
    assert (slope[:, ~counted] == 0).all()
    assert (slope[:, counted] != 0).all()

    other = torch.where(counted, output.detach(), numbers(*output.shape, seed=2)).requires_grad_()
    again = regression_loss(name, other, torch.where(MASKED.view(-1, *[1] * (truth.ndim - 1)), truth, 7.0), MASKED)
    assert torch.equal(again, loss)
    assert torch.equal(gradient(again, other), slope)


def test_numbers_can_be_known_one_by_one():
    output, truth = numbers(HEADS, PATCHES, 3), numbers(PATCHES, 3, seed=1)
    known = torch.rand((PATCHES, 3), generator=torch.Generator().manual_seed(0)) < 0.5
    expected = ((output - truth)[:, known] ** 2).mean()
    torch.testing.assert_close(regression_loss("mse", output, truth, known), expected)


@pytest.mark.parametrize("name", REGRESSION_LOSSES)
def test_without_a_known_number_the_loss_is_0_with_a_gradient_of_zeros(name: str):
    output = numbers(HEADS, PATCHES, 1, SIZE, SIZE).requires_grad_()
    loss = regression_loss(name, output, torch.full((PATCHES, 1, SIZE, SIZE), torch.nan), ALL)
    assert loss == 0
    assert torch.equal(gradient(loss, output), torch.zeros_like(output))


@pytest.mark.parametrize("name", COMPOSITION_LOSSES)
def test_composition_losses_look_at_the_shares_of_known_patches_only(name: str):
    output = numbers(HEADS, PATCHES, CLASSES).requires_grad_()
    shares = numbers(PATCHES, CLASSES, seed=1).softmax(1)
    loss = composition_loss(name, output, shares, MASKED)
    told, true = output[:, MASKED], shares[MASKED].expand(HEADS, -1, -1)
    error = told.softmax(2) - true
    formulas = {
        "cross_entropy": functional.cross_entropy(told.flatten(0, 1), true.flatten(0, 1)),
        "mse": (error**2).mean(),
        "l1": error.abs().mean(),
        "huber": (error**2).mean() / 2,
    }
    torch.testing.assert_close(loss, formulas[name])
    slope = gradient(loss, output)
    assert (slope[:, ~MASKED] == 0).all()

    for other in (0.0, torch.nan):
        varied = output.detach().clone()
        varied[:, ~MASKED] = other
        varied.requires_grad_()
        again = composition_loss(name, varied, shares.where(MASKED[:, None], other), MASKED)
        assert torch.equal(again, loss)
        assert torch.equal(gradient(again, varied), slope)


@pytest.mark.parametrize("name", COMPOSITION_LOSSES)
def test_compositions_lead_to_the_shares(name: str):
    output = numbers(1, PATCHES, CLASSES, scale=0.5).requires_grad_()
    shares = numbers(PATCHES, CLASSES, seed=1, scale=1.0).softmax(1)
    optimizer = torch.optim.Adam([output], lr=0.05)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
        optimizer.zero_grad()
        composition_loss(name, output, shares, ALL).backward()
        optimizer.step()
    torch.testing.assert_close(output[0].softmax(1), shares, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", COMPOSITION_LOSSES)
def test_without_known_shares_the_loss_is_0_with_a_gradient_of_zeros(name: str):
    output = numbers(HEADS, PATCHES, CLASSES).requires_grad_()
    loss = composition_loss(name, output, torch.full((PATCHES, CLASSES), torch.nan), ALL)
    assert loss == 0
    assert torch.equal(gradient(loss, output), torch.zeros_like(output))


@pytest.mark.parametrize("weighted", [False, True])
def test_smoothed_cross_entropy_is_that_of_torch_over_the_known_pixels(weighted: bool):
    torch.manual_seed(0)
    logits, truth = torch.randn(1, 2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4)).to(torch.uint8)
    truth[0, 0] = IGNORE
    weights = torch.tensor([0.5, 2.0, 1.0]) if weighted else None
    known = torch.ones(2, dtype=torch.bool)
    found = segmentation_loss(["cross_entropy"], logits, truth, known, weights, smoothing=0.2)
    each = functional.cross_entropy(
        logits[0], truth.long(), weight=weights, ignore_index=IGNORE, reduction="sum", label_smoothing=0.2
    )
    torch.testing.assert_close(found, each / (truth != IGNORE).sum())
