"""`keep: best`: which weights are kept, when patience ends, and that a stop changes nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from lemore.config.code import declare_code
from lemore.config.jobs import FinetuneJob, read_job
from lemore.config.recipe_files import load_recipe
from lemore.reporting.tables.build import build_table
from lemore.runtime.checkpoint import Checkpoints, hash_tensors, load
from lemore.runtime.files import read_json
from lemore.runtime.process import Stopped
from lemore.stages.search import shorten
from lemore.trained.find import read_trained
from lemore.training import optim
from lemore.training.best import Best, agree
from lemore.training.loop import TrainingLoop
from tests import made_up
from tests.made_up import row_of

ROOT = Path(__file__).parents[2]
MODEL = "lraspp_mobilenet_v3_small"
ITERATIONS = 12


def make_loop(folder: Path, values: list, *, patience=0, iterations=ITERATIONS, **options):
    """A training that is validated after every second iteration, with made-up results."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    best = Best("val/mIoU", patience)
    loop = TrainingLoop(
        name="tiny",
        model=model,
        optimizer=optim.make_adamw(optim.group_parameters(model, 0.01, {}), (0.9, 0.999)),
        learning_rate=lambda i: 0.01 * (1 - i / ITERATIONS),
        batches=lambda start: ({"x": noise(i)} for i in range(start, iterations)),
        loss=lambda network, batch: network(batch["x"]).square().mean(),
        iterations=iterations,
        seed=3,
        checkpoints=Checkpoints(folder),
        checkpoint_every=5,
        record=lambda done, row: rows.append((done, row)),
        stop=options.get("stop", lambda: False),
        validate=lambda network: {"val/mIoU": values[(rows_of(loop) - 1) // 2]},
        validate_every=2,
        best=best,
    )
    rows: list = []
    return loop


def rows_of(loop: TrainingLoop) -> int:
    """The iteration that is being validated: that of the optimiser's steps."""
    first = next(iter(loop.optimizer.state.values()))
    return int(first["step"])


def noise(i: int) -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(i))


def weights_after(folder: Path, iterations: int) -> str:
    """The weights of a training that keeps the last ones and ends after so many iterations."""
    loop = replace(make_loop(folder, [], iterations=iterations), best=None, validate=None)
    loop.train()
    return hash_tensors(loop.model.state_dict())


VALUES = [0.2, None, 0.4, 0.4, 0.3, 0.1]


def run(loop: TrainingLoop) -> tuple[str, dict]:
    loop.train()
    assert loop.best is not None
    loop.best.restore(loop.kept)
    return hash_tensors(loop.kept.state_dict()), loop.best.describe()


@pytest.mark.parametrize(("patience", "trained"), [(0, 12), (1, 4), (2, 10), (3, 12)])
def test_the_first_of_the_best_is_kept_and_patience_ends_the_training(tmp_path, patience, trained):
    digest, chosen = run(make_loop(tmp_path / "a", VALUES, patience=patience))
    kept = 2 if patience == 1 else 6
    assert (chosen["iteration"], chosen["trained"]) == (kept, trained)
    assert digest == weights_after(tmp_path / "b", kept)
    assert f"weights of iteration {kept}" in chosen["text"] and "split val" in chosen["text"]
    assert max(int(path.stem[-8:]) for path in (tmp_path / "a").glob("*.pt")) == trained


@pytest.mark.parametrize("stop_at", [1, 6, 7, 9, 10, "killed"])
def test_a_stop_changes_nothing(tmp_path, stop_at):
    whole = run(make_loop(tmp_path / "whole", VALUES, patience=2))
    folder = tmp_path / "cut"
    if stop_at == "killed":  # the last checkpoint was still to be written
        run(make_loop(folder, VALUES, patience=2))
        for path in folder.glob("iteration_00000010.*"):
            path.unlink()
    else:
        steps = iter(range(1, 100))
        cut = make_loop(folder, VALUES, patience=2, stop=lambda: next(steps) == stop_at)
        if stop_at == 10:  # it is over with that step
            run(cut)
        else:
            with pytest.raises(Stopped):
                cut.train()
    again = make_loop(folder, VALUES, patience=2)
    assert run(again) == whole
    assert again.train().resumed_at == 10, "what is over does not go on"


def test_without_any_labelled_pixel_the_last_weights_are_kept(tmp_path):
    digest, chosen = run(make_loop(tmp_path / "a", [None] * 6))
    assert "since no label gave val/mIoU" in chosen["text"]
    assert digest == weights_after(tmp_path / "b", ITERATIONS) and chosen["iteration"] == ITERATIONS


def decide(rank: int, file: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{file}", rank=rank, world_size=2)
    decisions = [agree(decision, torch.device("cpu")) for decision in (rank == 0, rank == 1)]
    torch.distributed.destroy_process_group()
    assert decisions == [True, False]


def test_the_first_worker_decides(tmp_path):
    mp.spawn(decide, (str(tmp_path / "store"),), nprocs=2)


def test_a_training_records_what_it_kept_and_its_evaluation_where_it_was_chosen(tiny):
    changes = {"keep": "best", "keep_by": "aAcc", "patience": 1, "validate_every": 2, "threads": 1}
    config = tiny.finetune_job(MODEL, iterations=99, checkpoint_every=3, **changes)
    output = tiny.finetune(config, "best")
    record = read_json(output / "run.json")
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    text = json.dumps(rows)
    assert "val/aAcc" in text and "val/fwIoU" in text
    chosen = record["chosen"]
    assert chosen["measure"] == "val/aAcc" and chosen["iteration"] <= chosen["trained"] < 99
    trained = max(row["step"] for row in rows)
    assert record["iterations"] == chosen["trained"] == trained
    assert read_trained(output).record.iterations == trained
    evaluation = read_json(tiny.folder / evaluate(tiny, output))
    assert evaluation["chosen_on"] == "val" == evaluation["split"]
    assert (evaluation["iterations"], evaluation["most_iterations"]) == (trained, 99)
    assert hash_tensors(load(output / "weights.pt")["state_dict"]) == record["weights_sha256"]
    validation = "lemore.evaluation.segmentation"
    assert validation in declare_code("finetune", [validation])
    assert validation not in declare_code("finetune")
    assert finetune_modules(config)[-1] == validation
    shutil.rmtree(output)


def evaluate(tiny, output: Path) -> Path:
    tiny.lemore(*tiny.evaluate_command(output, tiny.evaluate_job()))
    return output / "evaluate.json"


def finetune_modules(config: Path) -> tuple[str, ...]:
    from lemore.stages.finetune import list_named_modules

    return list_named_modules(read_job(FinetuneJob, config))


def test_a_row_says_that_its_weights_were_chosen_on_the_split_it_reports():
    chosen = [
        made_up.evaluation("lemore", 0.4, chosen_on="val"),
        made_up.evaluation("topformer_t", 0.4, chosen_on="val", split="test"),
        made_up.evaluation("segformer_b0", 0.4),
    ]
    table = build_table("ade20k_scenes", chosen, [], [])
    notes = [row_of(table, model)["note"] for model in ("lemore", "topformer_t", "segformer_b0")]
    assert "weights chosen on val, the split reported here" in notes[0]
    assert "weights of the best validation on val" in notes[1]
    assert "chosen" not in notes[2] and "best" not in notes[2]


def test_seeds_that_patience_ended_at_several_iterations_are_one_configuration():
    ended = [
        made_up.evaluation("lemore", 0.4, seed=k, iterations=n, most_iterations=90)
        for k, n in enumerate((30, 50))
    ]
    assert row_of(build_table("ade20k_scenes", ended, [], []), "lemore")["seeds"] == 2
    whole = made_up.evaluation("lemore", 0.4, iterations=90)
    table = build_table("ade20k_scenes", [*ended, whole], [], [])
    notes = table[table["model"] == "lemore"]["note"].tolist()
    assert len(notes) == 2
    assert ["at most 90 iterations" in note for note in notes] == [True, False], notes


def test_what_cannot_be_kept_is_refused_and_a_search_keeps_the_last():
    folder = ROOT / "config/recipes/camvid"
    for change, words in (
        ({"keep": "best", "validate_every": 0}, "keep is best, but validate_every is 0"),
        ({"patience": 3}, "patience is 3, which needs keep: best"),
    ):
        with pytest.raises(ValueError, match=words):
            load_recipe(folder, "camvid", "lemore", {"train": change})
    best = {"train": {"keep": "best", "patience": 2}}
    short = shorten(load_recipe(folder, "camvid", "lemore", best)[0], 0.25)
    assert (short.keep, short.patience, short.validate_every) == ("last", 0, 0)
