"""Several workers equal one: synchronised BatchNorm, averaged gradients, equal weights."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lemore.runtime.checkpoint import check_alike
from lemore.training import losses, sync_batch_norm
from lemore.training.step import add_gradient

WORLD, SAMPLES, STEPS = 2, 4, 3


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 5, 1), nn.BatchNorm2d(5)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def batch(part: slice = slice(None)) -> dict[str, Tensor]:
    """Images far from zero, so that a careless variance would show."""
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.randn(SAMPLES, 3, 17, 17, generator=generator) + 20
    label = torch.randint(0, 5, (SAMPLES, 64, 64), generator=generator, dtype=torch.uint8)
    return {"x": x.contiguous(memory_format=torch.channels_last)[part], "label": label[part]}


def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    logits = model(batch["x"].to(next(model.parameters()).dtype))
    return losses.compute_segmentation_loss(logits, batch["label"], "all_pixels", fused=True)


def train(model: nn.Module, called: nn.Module, part: slice = slice(None)) -> list[Tensor]:
    """Some steps of gradient descent; their losses."""
    optimizer, values = torch.optim.SGD(model.parameters(), lr=0.5), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        values.append(add_gradient(loss, called, batch(part), 0, GradScaler(enabled=False)))
        optimizer.step()
    return values


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=WORLD)
    share = SAMPLES // WORLD
    part = slice(rank * share, (rank + 1) * share)
    model = sync_batch_norm.convert(network())
    called = nn.parallel.DistributedDataParallel(model, forward_sync_buffers=False)
    found = {"output": model(batch(part)["x"])}
    model.load_state_dict(network().state_dict())
    add_gradient(loss, called, batch(part), 0, GradScaler(enabled=False))
    found["gradients"] = [p.grad.clone() for p in model.parameters()]
    found["buffers"] = [b.clone() for b in model.buffers()]
    model.load_state_dict(network().state_dict())
    found["losses"] = train(model, called, part)
    found["state"] = model.state_dict()
    found["told"] = [refusal(0, rank, model), refusal(rank, 0, model), refusal(0, 0, model)]
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def refusal(iteration: int, weight: int, model: nn.Module) -> str:
    """What a worker says that begins there, with its first tensor filled so."""
    state = dict(model.state_dict())
    state["0.weight"] = torch.full_like(state["0.weight"], weight)
    try:
        check_alike(Path("/local"), iteration, state)
    except ValueError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def workers(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("workers")
    multiprocessing.spawn(worker, (str(folder),), WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def test_batch_norm_is_that_of_the_whole_batch(workers):
    """torch's own BatchNorm in float64, on all samples in one process."""
    model = network().double()
    output = copy.deepcopy(model)(batch()["x"].double())
    joined = torch.cat([found["output"] for found in workers])
    assert joined.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(joined, output.float(), rtol=1e-4, atol=2e-5)
    loss(model, batch()).backward()
    for found in workers:
        for ours, parameter in zip(found["gradients"], model.parameters(), strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(ours, parameter.grad.float(), rtol=1e-4, atol=1e-6)
        for ours, buffer in zip(found["buffers"], model.buffers(), strict=True):
            torch.testing.assert_close(ours, buffer.to(ours.dtype), rtol=1e-5, atol=1e-5)


def test_a_training_by_two_workers_is_that_by_one(workers):
    model = network()
    alone = torch.stack(train(model, model))
    first, second = (found["state"] for found in workers)
    for name, expected in model.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=1e-3, atol=1e-5)
    mean = torch.stack([torch.stack(found["losses"]) for found in workers]).mean(0)
    torch.testing.assert_close(mean, alone, rtol=1e-5, atol=1e-6)
    assert alone[-1] < alone[0] - 0.01


def test_workers_that_find_different_checkpoints_say_so(workers):
    for found in workers:
        weights, iterations, alike = found["told"]
        assert "from iteration 0, worker 1 on " in weights and "from 0 with other" in weights
        assert "/local: worker 0 on " in iterations and "from 1 with other" in iterations
        assert alike == ""


def test_evaluation_needs_no_other_worker():
    model, x = sync_batch_norm.convert(network()).eval(), batch()["x"]
    torch.testing.assert_close(model(x), network().eval()(x))
    assert model.state_dict().keys() == network().state_dict().keys()
