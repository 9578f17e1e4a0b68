"""Made-up results, in the form that the stages write them."""

import json
from pathlib import Path

CLASSES = ["sky", "road & path", "person"]


def evaluation(
    model, miou, *, seed=0, dataset="ade20k_scenes", stands_for: str | None = "ade20k", **changes
):
    label = {"lemore": "LeMoRe", "segformer_b0": "SegFormer", "topformer_t": "TopFormer-T"}
    return {
        "stage": "evaluate", "run": "scenes", "dataset": dataset, "stands_for": stands_for,
        "scenes": stands_for is not None, "model": model, "label": label.get(model, model),
        "encoder": "Ours", "seed": seed, "split": "val", "images": 8, "num_classes": 3,
        "classes": CLASSES, "miou": miou, "aacc": 0.9, "macc": 0.5, "fwiou": 0.8,
        "iou": [miou, miou, None], "acc": [0.5, 0.5, None],
        "confusion": [[9, 1, 0, 0], [1, 4, 0, 0], [0, 0, 0, 0]], "train_crop": [128, 128],
        "test_mode": "whole", "iterations": 100, "recipe": "common recipe", "device": "cpu",
        "mlflow_run_id": f"e{seed}{model}", "finetune_run_id": f"f{seed}{model}",
        "pretrain_run_id": "p0", "command": "lemore evaluate <x>", "code": "c0de",
        "predictions": {},
    } | changes  # fmt: skip


def profile(model, macs, *, params=1_600_000, dataset="ade20k", size=(512, 512), **changes):
    latency = {
        "p50_ms": 20.25, "p95_ms": 24.5, "repetitions": 9, "warmup": 3, "threads": 1,
        "upsample": True, "protocol": "median of 9",
    }  # fmt: skip
    cell = {
        "dataset": dataset, "num_classes": 150, "size": list(size), "params": params,
        "params_with_aux": None, "macs": macs, "fvcore_total": macs + 10_000_000,
        "latency": latency,
    }  # fmt: skip
    return {
        "stage": "profile", "run": "scenes", "model": model, "label": model, "encoder": "enc_x",
        "device": "cpu, 1 thread", "torch": "2", "cells": [cell | changes.pop("cell", {})],
        "mlflow_run_id": "m0", "command": "lemore profile", "code": "c0de",
    } | changes  # fmt: skip


def pretraining(backbone, top1):
    return {
        "stage": "pretrain", "run": "scenes", "backbone": backbone, "dataset": "imagenet_scenes",
        "stands_for": "imagenet_1k", "scenes": True, "input_size": [64, 64], "top1": top1,
        "top5": 0.9, "iterations": 10, "weights_sha256": "ab", "mlflow_run_id": "p0",
        "command": "lemore pretrain", "code": "c0de",
    }  # fmt: skip


def row_of(rows, model, **wanted):
    wanted["model"] = model
    records = rows.to_dict("records")
    found = [row for row in records if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows of {wanted}"
    return found[0]


def write_results(folder: Path, results) -> list[str]:
    paths = []
    for i, result in enumerate(results):
        path = folder / f"{result['stage']}{i}.json"
        path.write_text(json.dumps(result))
        paths.append(str(path))
    return paths
