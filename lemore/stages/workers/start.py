"""The whole trained model, perhaps of other classes or another size, that a fine-tuning starts
from."""

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lemore.config.jobs import FinetuneJob
from lemore.data.store import Store
from lemore.models.network import Network
from lemore.runtime import checkpoint
from lemore.runtime.worker import Worker

if TYPE_CHECKING:
    from lemore.trained.checkpoint import Trained

log = logging.getLogger(__name__)
CLASSIFIER = "classifier."  # the tensors whose first axis is the classes begin with it in a head
DETECTS = "classification_head.cls_logits."  # rows of these are classes of an anchor each
SHOWN = 8  # names in a line


def load_start(model: Network, worker: Worker) -> dict[str, Any]:
    """Loads into `model` what fits of the checkpoint that `worker.init` names.

    Returns what run.json records: what is kept, what is not and why. ValueError if the file holds
    other weights than those of `worker.init_sha256`, or if nothing of it fits.
    """
    from lemore.trained.find import read_trained  # its code does not count: the digest does

    trained = read_trained(worker.init.partition(":")[2])
    digest = checkpoint.hash_tensors(trained.state_dict)
    if worker.init_sha256 and digest != worker.init_sha256:
        raise ValueError(f"{trained.source}: replaced since this training began; start it anew")
    record = fit_start(model, trained, Store(worker.data, "train").classes)
    if not worker.rank:
        log.info("%s", record["text"])
    return record | {"tensors_sha256": digest, "licences": list(trained.licences)}


def check_start(job: FinetuneJob, trained: "Trained") -> None:
    """Raises ValueError for another network's weights: their tensors would mean something else.
    A detector may begin with the backbone of a model that segments, and the other way round."""
    theirs, source = trained.job, trained.source
    pairs = {"backbone": (theirs.backbone.module, job.backbone.module)}
    if theirs.model.task == job.model.task:
        pairs |= {
            "decode head": (theirs.model.decode_head, job.model.decode_head),
            "detection head": (theirs.model.detection_head, job.model.detection_head),
        }
    fitting = job.model_name
    if job.model.task == "detection":
        fitting += f", or of a model that segments with the backbone {job.backbone.module}"
    for part, (found, wanted) in pairs.items():
        if found != wanted:
            raise ValueError(
                f"{source}: holds {theirs.model_name}, whose {part} is {found}, but "
                f"{job.model_name} has {wanted}; start from a checkpoint of {fitting}"
            )


def fit_start(model: Network, trained: "Trained", classes: Sequence[str]) -> dict[str, Any]:
    """Loads every tensor of `trained` that fits into `model`, whose classes are `classes`.

    A tensor fits if it has the same shape, or if its layer brings it to another size as mixing
    matrices do. Rows of the classifier are matched by their class's name, without regard to case;
    what follows the rows of the classes, such as PEM's "no object", is kept. All else stays as it
    was initialised. Returns a record, with a line of text; ValueError if nothing fits.
    """
    target = model.state_dict()
    named = trained.classes.names if trained.classes else ()
    rows = match_classes(named, classes)
    state, carried, anew = _match_tensors(model, trained, classes, rows)
    learned = [n for n in state if target[n].ndim and CLASSIFIER not in n]
    if not learned:
        raise ValueError(f"{trained.source}: no tensor of it fits {len(target)} tensors here")
    model.load_state_dict(state, strict=False)
    if not any(part in name for name in state for part in (CLASSIFIER, DETECTS)):
        rows = {}
    record: dict[str, Any] = {
        "source": trained.source,
        "model": trained.job.model_name,
        "dataset": trained.job.dataset,
        "kept": len(state),
        "of": len(target),
        "carried": carried,
        "anew": anew,
        "left": sorted(trained.state_dict.keys() - target.keys()),
        "classes_kept": [classes[i] for i in rows],
        "classes_new": [name for i, name in enumerate(classes) if i not in rows],
        "classes_named": trained.classes is not None,
    }
    return record | {"text": describe_start(record)}


def _match_tensors(
    model: Network, trained: "Trained", classes: Sequence[str], rows: dict[int, int]
) -> tuple[dict[str, Tensor], list[str], dict[str, str]]:
    """Matches tensors by name; `rows` are those of `match_classes`.

    Returns what fits, the names of what is carried over to another size, and why the rest is new.
    """
    named = trained.classes.names if trained.classes else ()
    old, new = trained.job.num_classes, len(classes)
    state: dict[str, Tensor] = {}
    carried, anew = [], {}
    for name, own in model.state_dict().items():
        found = trained.state_dict.get(name)
        if found is None:
            anew[name] = "the checkpoint has none"
        elif DETECTS in name and list(named) != list(classes):
            anew[name] = "it has other classes, or another order"
        elif CLASSIFIER in name and _leave_same(own, new, found, old):
            if rows or len(own) > new:
                state[name] = _take_rows(own, found, rows, old)
            else:
                anew[name] = "no class of the same name"
        elif found.shape == own.shape:
            state[name] = found
        elif _adapts(model, name, found):
            state[name] = found
            carried.append(name)
        else:
            anew[name] = f"{tuple(found.shape)} there, {tuple(own.shape)} here"
    return state, carried, anew


def _leave_same(own: Tensor, new: int, found: Tensor, old: int) -> bool:
    """Returns whether two classifiers are alike but for the rows of `new` and `old` classes."""
    return (len(own) - new, own.shape[1:]) == (len(found) - old, found.shape[1:])


def _take_rows(own: Tensor, found: Tensor, rows: dict[int, int], old: int) -> Tensor:
    """Returns `own` with the rows that `rows` names, and what follows those of the `old` classes,
    taken from `found`."""
    taken = own.clone()
    taken[list(rows)] = found[list(rows.values())]
    taken[len(own) - (len(found) - old) :] = found[old:]
    return taken


def match_classes(theirs: Sequence[str], ours: Sequence[str]) -> dict[int, int]:
    """Returns, for each of our classes that has a namesake, our train id -> theirs."""
    exact = {name: k for k, name in enumerate(theirs)}
    loose = {name.casefold(): k for k, name in reversed(list(enumerate(theirs)))}
    found = {i: exact.get(name, loose.get(name.casefold())) for i, name in enumerate(ours)}
    return {i: k for i, k in found.items() if k is not None}


def _adapts(model: nn.Module, name: str, tensor: Tensor) -> bool:
    """Returns whether the layer of a tensor takes it in another shape than its own."""
    place, _, leaf = name.rpartition(".")
    try:
        copy.deepcopy(model.get_submodule(place)).load_state_dict({leaf: tensor}, strict=False)
    except RuntimeError:  # torch's words for a shape that differs
        return False
    return True


def describe_start(record: dict[str, Any]) -> str:
    """Describes in a line what is kept of the start, what is not, and why."""
    parts = [
        f"starts from {record['model']} on {record['dataset']} ({record['source']}): "
        f"{record['kept']} of {record['of']} tensors are kept"
    ]
    if record["carried"]:
        parts += [f"{len(record['carried'])} of them are carried over to another size"]
    parts += [f"rows of the classifier kept for {_list(record['classes_kept'])}"]
    unnamed = "" if record["classes_named"] else " (the checkpoint holds no names of classes)"
    parts += [f"new for {_list(record['classes_new'])}{unnamed}"]
    if record["anew"]:
        parts += [f"not kept: {_list([f'{n} ({why})' for n, why in record['anew'].items()])}"]
    if record["left"]:
        parts += [f"without a place here: {_list(record['left'])}"]
    return "; ".join(parts)


def _list(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "none"
