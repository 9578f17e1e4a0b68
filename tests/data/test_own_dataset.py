"""Images and masks in folders, described by YAML alone, in common layouts."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from lemore.cli import main
from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.config.read import build
from lemore.data.readers.folders import draw_split
from lemore.data.store import Store
from lemore.runtime.files import read_json
from tests.own_folders import put_ponds

ROOT = Path(__file__).parents[2]
SIZE = (12, 16)
NAMES = ["IMG 0007 (2)", "Süßwasser", "a.b", "x_L"]
BASE = {
    "title": "Ponds",
    "task": "segmentation",
    "num_classes": 3,
    "licence": "own photographs",
    "splits": {"train": None, "val": None},
    "classes": [
        {"name": "water", "color": [0, 0, 200]},
        {"name": "reed", "color": [0, 160, 40]},
        {"name": "bank", "color": [120, 80, 30]},
    ],
}


def train_ids(name: str) -> np.ndarray:
    label = np.random.default_rng(len(name)).integers(0, 3, SIZE).astype(np.uint8)
    label[0] = 255
    return label


def photo(name: str) -> np.ndarray:
    return np.random.default_rng(sum(name.encode())).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())


def colored(label: np.ndarray) -> np.ndarray:
    table = np.full((256, 3), 255, np.uint8)
    table[:3] = [row["color"] for row in BASE["classes"]]
    return table[label]


def index(label: np.ndarray) -> np.ndarray:
    return label


def place(folder: Path, images: str, masks: str, names: list[str], coded, split: str = "") -> None:
    for name in names:
        write(folder / images.format(name=name, split=split), photo(name))
        write(folder / masks.format(name=name, split=split), coded(train_ids(name)))


def run(tmp_path: Path, files: dict, **changes) -> tuple[int, Path]:
    """`lemore fetch` and `lemore prepare` on tmp_path/ponds; (exit code, prepared folder)."""
    config = tmp_path / "ponds.yaml"
    config.write_text(
        yaml.safe_dump(BASE | {"folder": str(tmp_path / "ponds")} | changes | {"files": files})
    )
    fetched, output = tmp_path / "fetched.json", tmp_path / "data/ponds"
    options = ["--dataset-config", str(config)]
    code = main(["fetch", *options, "--archives-dir", str(tmp_path), "--output", str(fetched)])
    if code:
        return code, output
    options += ["--fetched", str(fetched), "--output", str(output), "--workers", "1"]
    return main(["prepare", *options]), output


def assert_prepared(output: Path, split: str, names: list[str]) -> None:
    store = Store(output, split)
    assert sorted(store.name(i) for i in range(len(store))) == sorted(names)
    for i in range(len(store)):
        stem = store.name(i).rsplit("/", 1)[-1]
        image, label = store.read(i)
        assert (image == photo(stem)).all() and (label == train_ids(stem)).all()


COLOR = {"mask": "color", "ignore": [[255, 255, 255]]}
INDEX = {"mask": "index", "ignore": [255]}


@pytest.mark.parametrize(("kind", "coded"), [(COLOR, colored), (INDEX, index)])
def test_one_folder_per_split(tmp_path, kind, coded):
    layout = {"images": "{split}/photos/{name}.png", "masks": "{split}/truth/{name}.png"}
    place(tmp_path / "ponds", *layout.values(), NAMES[:3], coded, "train")
    place(tmp_path / "ponds", *layout.values(), NAMES[3:], coded, "validation")
    code, output = run(tmp_path, layout | kind | {"split_folders": {"val": "validation"}})
    assert code == 0
    assert_prepared(output, "train", NAMES[:3])
    assert_prepared(output, "val", NAMES[3:])
    assert Store(output, "val").classes == ["water", "reed", "bank"]
    assert Store(output, "val").read_colors()[0] == (0, 0, 200)


def test_the_digest_knows_names_order_masks_and_photos_but_no_times(tmp_path):
    """A training reruns when the digest of its data changes."""
    layout = {"images": "{split}/{name}.png", "masks": "{split}/{name}_L.png"}
    for split in ("train", "val"):
        place(tmp_path / "ponds", *layout.values(), NAMES[:2], colored, split)

    def prepare(**changes) -> tuple[str, str]:
        code, output = run(tmp_path, layout | COLOR, **changes)
        assert code == 0
        return read_json(output / "digest.json")["sha256"], read_json(tmp_path / "fetched.json")[
            "sha256"
        ]

    first, *others = BASE["classes"]
    seen = [prepare(), prepare(classes=[*others, first])]
    seen.append(prepare(classes=[first | {"name": "lake"}, *others]))
    mask, photo_file = (tmp_path / "ponds/val" / f"a.b{end}.png" for end in ("_L", ""))
    place(tmp_path / "ponds", *layout.values(), ["a.b"], colored, "val")
    seen.append(prepare())
    write(mask, colored(train_ids("a.b")[::-1].copy()))
    seen.append(prepare())
    write(photo_file, photo("a.b")[::-1])
    seen.append(prepare())
    assert len({digest for digest, _ in seen}) == 6
    assert len({fetched for _, fetched in seen}) == 4, "classes change nothing that is fetched"
    for path in (tmp_path / "ponds").rglob("*.png"):
        os.utime(path, (1, 1))
    assert prepare() == seen[-1]


def test_same_folder_with_a_suffix_and_lists(tmp_path):
    place(tmp_path / "ponds", "{name}.png", "{name}_mask.png", NAMES, index)
    (tmp_path / "ponds/train.txt").write_text("\n".join(NAMES[:2]) + "\n")
    (tmp_path / "ponds/test.txt").write_text(NAMES[2] + "\r\n\r\n")
    lists = {"lists": {"train": "train.txt", "val": "test.txt"}}
    layout = {"images": "{name}.png", "masks": "{name}_mask.png"}
    code, output = run(tmp_path, layout | INDEX | lists)
    assert code == 0
    assert_prepared(output, "train", NAMES[:2])
    assert_prepared(output, "val", NAMES[2:3])


def test_one_folder_per_class_and_drawn_splits(tmp_path):
    names = [f"{kind}/{i}" for kind in ("lake", "river") for i in range(20)]
    for name in names:
        kind, number = name.split("/")
        layout = f"{kind}/img/{number}.png", f"{kind}/gt/{number}.png"
        place(tmp_path / "ponds", *layout, [number], index)
    files = {"images": "{kind}/img/{name}.*", "masks": "{kind}/gt/{name}.png"}
    draw = {"seed": 4, "shares": {"train": 0.7, "val": 0.3}}
    code, output = run(tmp_path, files | INDEX | {"draw": draw})
    assert code == 0
    by_split = {
        s: [n for n in names if draw_split(n, draw["shares"], 4) == s] for s in ("train", "val")
    }
    assert 20 <= len(by_split["train"]) <= 35
    for split, chosen in by_split.items():
        assert_prepared(output, split, chosen)


def test_draws_keep_to_the_shares_and_to_the_names():
    shares = {"train": 0.8, "val": 0.15, "test": 0.05}
    names = [f"photo {i}" for i in range(20000)]
    drawn = [draw_split(name, shares, 0) for name in names]
    for split, share in shares.items():
        assert abs(drawn.count(split) / len(names) - share) < 0.01
    assert drawn != [draw_split(name, shares, 1) for name in names]


def test_binary_masks(tmp_path):
    folder, split = tmp_path / "ponds", "{split}/{name}.png"
    for part in ("train", "val"):
        write(folder / part / "a.png", photo("a"))
        gray = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint8)
        write(folder / part / "a_m.png", gray)
    files = {"images": split, "masks": "{split}/{name}_m.png", "mask": "binary", "threshold": 127}
    classes = [{"name": "other"}, {"name": "water"}]
    code, output = run(tmp_path, files, classes=classes, num_classes=2)
    assert code == 0
    assert (Store(output, "train").read_label(0) == (gray > 127)).all()


def test_several_values_of_one_class(tmp_path):
    folder = tmp_path / "ponds"
    raw = np.array([[7, 9, 40, 0]] * 3, np.uint8)
    for split in ("train", "val"):
        write(folder / split / "a.png", np.zeros((3, 4, 3), np.uint8) + (split == "val"))
        write(folder / split / "a_m.png", raw)
    files = {"images": "{split}/{name}.png", "masks": "{split}/{name}_m.png", "mask": "index"}
    classes = [{"name": "car", "values": [7, 9]}, {"name": "road", "values": [40]}]
    code, output = run(tmp_path, files | {"ignore": [0]}, classes=classes, num_classes=2)
    assert code == 0
    assert Store(output, "train").read_label(0).tolist() == [[0, 0, 1, 255]] * 3


def broken_color(folder: Path) -> None:
    mask = colored(train_ids("a.b"))
    mask[3, :2] = (1, 2, 3)
    write(folder / "train/a.b_L.png", mask)


def jpeg_mask(folder: Path) -> None:
    path = folder / "train/a.b_L.png"
    path.write_bytes(cv2.imencode(".jpg", colored(train_ids("a.b")))[1].tobytes())


def no_mask(folder: Path) -> None:
    (folder / "train/a.b_L.png").unlink()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (broken_color, ["a.b_L.png", "1 colours are in no class", "[1, 2, 3] (2 pixels)"]),
        (jpeg_mask, ["a.b_L.png", "is a JPEG", "changes the values"]),
        (no_mask, ["a.b.png", "image without an annotation"]),
    ],
)
def test_faults_are_named(tmp_path, capsys, harm, words):
    layout = {"images": "{split}/{name}.png", "masks": "{split}/{name}_L.png"}
    for split in ("train", "val"):
        place(tmp_path / "ponds", *layout.values(), NAMES[:3], colored, split)
    harm(tmp_path / "ponds")
    code, output = run(tmp_path, layout | COLOR)
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and not output.exists()
    assert all(word in error for word in words), error


def test_patterns_that_fit_nothing_show_what_is_there(tmp_path, capsys):
    place(tmp_path / "ponds", "{split}/{name}.png", "{split}/{name}_L.png", NAMES, colored, "train")
    code, _ = run(tmp_path, {"images": "{split}/{name}.jpg", "masks": "{split}/{name}.gif"} | COLOR)
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and "no file fits '{split}/{name}.jpg'" in error
    assert "train/IMG 0007 (2).png" in error


def test_it_explains_and_a_dry_run_writes_nothing(tmp_path, caplog):
    caplog.set_level("INFO")
    layout = {"images": "{split}/{name}.png", "masks": "{split}/{name}_L.png"}
    for split in ("train", "val"):
        place(tmp_path / "ponds", *layout.values(), NAMES[:3], colored, split)
    run(tmp_path, layout | COLOR)
    text = caplog.text
    assert "train: 3 images with their annotation" in text
    truth = np.concatenate([train_ids(name) for name in NAMES[:3]])
    assert f"water {100 * (truth == 0).mean():.1f} %" in text
    config, fetched = tmp_path / "ponds.yaml", tmp_path / "fetched.json"
    options = ["--dataset-config", str(config), "--fetched", str(fetched), "--dry-run"]
    elsewhere = ["--output", str(tmp_path / "elsewhere")]
    assert main(["prepare", *options, *elsewhere]) == 0
    for path in (tmp_path / "ponds/val").glob("*_L.png"):
        path.write_bytes(b"no PNG")
    caplog.clear()
    assert main(["prepare", *options, *elsewhere]) == 2
    assert "wrong: 3 of 3 samples that were read cannot be used" in caplog.text
    assert "ponds: has other files than" in caplog.text
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_classes": 4}, "3 different names, num_classes says 4"),
        (
            {"files": {"draw": {"seed": 0, "shares": {"train": 1.0}}, "images": "{split}/{name}"}},
            "one way",
        ),
        ({"files": {"lists": {"trian": "a.txt"}}}, "split 'trian' is not under splits"),
        ({"files": {"draw": {"seed": 0, "shares": {"train": 0.5}}}}, "add up to 1"),
        ({"files": {"mask": "binary", "draw": {"seed": 0, "shares": {"train": 1}}}}, "threshold"),
        ({"files": {"ignore": [3], "draw": {"seed": 0, "shares": {"train": 1}}}}, r"\[R, G, B\]"),
        ({"classes": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}, "need the color"),
    ],
)
def test_mistakes_in_the_yaml(changes, words):
    files = {"images": "{name}.jpg", "masks": "{name}.png", "mask": "color"}
    files |= changes.pop("files", {"lists": {"train": "a.txt"}})
    with pytest.raises(ValueError, match=words):
        build(DatasetConfig, BASE | changes | {"files": files}, "ponds.yaml")


def test_display_colours_differ():
    colors = [labels.choose_color(k) for k in range(60)]
    assert len(set(colors)) == 60


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tmp_path):
    for name in ("lemore", "workflow", "Snakefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    put_ponds(tmp_path)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
    environment |= {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/m.db"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    text = (ROOT / "docs/own_dataset.md").read_text()
    for commands in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if "--dry-run" in commands:
            assert "train: 10 images with their annotation" in done.stderr
            assert not (tmp_path / "resources/datasets/ponds").exists()
    rows = list(csv.DictReader((tmp_path / "results/ponds/tables/ponds.csv").open()))
    assert {row["model"] for row in rows} == {"lemore", "topformer_t"}
    assert all(0 < float(row["miou"]) <= 100 and row["params_m"] for row in rows)
    for kind in ("comparison", "cost", "classes"):
        assert (tmp_path / f"results/ponds/figures/{kind}_ponds.png").stat().st_size > 1000
    assert "Ponds" in (tmp_path / "results/ponds/report.html").read_text()
