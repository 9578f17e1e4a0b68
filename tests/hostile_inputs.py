"""Malformed and hostile inputs, one function each, and the message that each must get.

`python -m tests.hostile_inputs` prints them as the table of docs/hostile_inputs.md.
"""

import functools
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import safetensors.torch
import torch
from PIL import Image

from lemore.cli import main
from lemore.config.dataset import Archive, DatasetConfig
from lemore.config.read import dump, load
from lemore.data.archives.images import PNG
from lemore.data.readers import rle
from lemore.runtime.files import write_json
from lemore.scenes.archives import pack_mat, pack_tar, pack_zip
from lemore.trained.predict.video import open_video
from tests.trained_models import make_content, make_settings

ROOT = Path(__file__).parents[1]
SIZE = (20, 30)
JPEG = cv2.imencode(".jpg", np.full((*SIZE, 3), 90, np.uint8))[1].tobytes()
JPEG2 = cv2.imencode(".jpg", np.full((*SIZE, 3), 91, np.uint8))[1].tobytes()
MASK = cv2.imencode(".png", np.full(SIZE, 3, np.uint8))[1].tobytes()
PHOTO, LABEL = "ADE/images/training/ADE_train_1.jpg", "ADE/annotations/training/ADE_train_1.png"
SOUND = [
    (PHOTO, JPEG),
    (LABEL, MASK),
    ("ADE/images/validation/ADE_val_1.jpg", JPEG2),
    ("ADE/annotations/validation/ADE_val_1.png", MASK),
]


@dataclass(frozen=True)
class Case:
    """`make(folder)` writes the input and returns the command; `words`: what the error says."""

    title: str
    make: Callable[[Path], list[str]]
    words: str


CASES: list[Case] = []


def case(title: str, words: str):
    """Adds the decorated function to the list."""

    def add(make: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
        CASES.append(Case(title, make, words))
        return make

    return add


# --- how an input reaches the program


def prepared(folder: Path, name: str, files: list[tuple[str, bytes]], **changes) -> list[str]:
    """`lemore prepare` of a dataset whose archives hold these bytes."""
    config = load(DatasetConfig, ROOT / f"config/datasets/{name}.yaml")
    archives = tuple(Archive(file, ()) for file, _ in files)
    splits = {split: 1 for split in config.splits}
    config = replace(config, archives=archives, splits=splits, archives_folder=None, **changes)
    (folder / f"{name}.yaml").write_text(dump(config))
    records = []
    for file, content in files:
        path = folder / "archives" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        records.append({"file": file, "path": str(path), "bytes": len(content), "sha256": ""})
    write_json(folder / "fetched.json", {"dataset": name, "archives": records, "sha256": ""})
    return prepare_command(folder, name)


def prepare_command(folder: Path, name: str) -> list[str]:
    options = ["--dataset-config", f"{folder}/{name}.yaml", "--fetched", f"{folder}/fetched.json"]
    return ["prepare", *options, "--output", f"{folder}/out/{name}", "--workers", "1"]


def ade(folder: Path, content: bytes) -> list[str]:
    return prepared(folder, "ade20k", [("ADEChallengeData2016.zip", content)])


def ade_with(folder: Path, *changed: tuple[str, bytes | None]) -> list[str]:
    """A sound ADE20K archive with members replaced, added, or left out (None)."""
    files = dict(SOUND) | dict(changed)
    return ade(folder, pack_zip([(name, data) for name, data in files.items() if data is not None]))


def ade_zip(folder: Path, name: str, **attributes) -> list[str]:
    """A sound archive with one more member, whose entry has these attributes."""
    buffer = io.BytesIO(pack_zip(SOUND))
    with zipfile.ZipFile(buffer, "a") as archive:
        entry = zipfile.ZipInfo(name)
        for key, value in attributes.items():
            setattr(entry, key, value)
        archive.writestr(entry, b"target")
    return ade(folder, buffer.getvalue())


def voc_tar(folder: Path, *entries: tarfile.TarInfo, content: bytes = b"") -> list[str]:
    """PASCAL Context with these entries in the tar of photos."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return voc(folder, buffer.getvalue(), json.dumps(DOCUMENT).encode())


def voc(folder: Path, tar: bytes, document: bytes) -> list[str]:
    files = [("VOCtrainval_03-May-2010.tar", tar), ("trainval_merged.json", document)]
    return prepared(folder, "pascal_context_59", files)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


PHOTOS = pack_tar([(f"VOCdevkit/VOC2010/JPEGImages/2008_00000{i}.jpg", JPEG) for i in (1, 2)])
RUNS = rle.encode(np.ones(SIZE, bool))
DOCUMENT = {
    "images": [
        {"image_id": i, "file_name": f"2008_00000{i}.jpg", "phase": phase}
        for i, phase in ((1, "train"), (2, "val"))
    ],
    "annos_segmentation": [{"image_id": i, "category_id": 2, "segmentation": RUNS} for i in (1, 2)],
}


def voc_with(folder: Path, **changes) -> list[str]:
    """Sound photos, and a document whose first annotation is changed."""
    first = DOCUMENT["annos_segmentation"][0] | changes
    rest = DOCUMENT["annos_segmentation"][1:]
    document = DOCUMENT | {"annos_segmentation": [first, *rest]}
    return voc(folder, PHOTOS, json.dumps(document).encode())


def coco(folder: Path, mat: bytes, train: bytes = b"a\n") -> list[str]:
    sound = pack_mat({"S": np.full(SIZE, 1, np.uint8)})
    files = [("images/a.jpg", JPEG), ("images/b.jpg", JPEG2), ("annotations/a.mat", mat)]
    files += [("annotations/b.mat", sound)]
    files += [("imageLists/train.txt", train), ("imageLists/test.txt", b"b\n")]
    return prepared(folder, "coco_stuff_10k", [("cocostuff-10k-v1.1.zip", pack_zip(files))])


def dataset_yaml(folder: Path, text: str) -> list[str]:
    (folder / "odd.yaml").write_text(text)
    write_json(folder / "fetched.json", {"dataset": "odd", "archives": [], "sha256": ""})
    return prepare_command(folder, "odd")


def fetched_in_place(folder: Path, content: bytes, **archive) -> list[str]:
    """`lemore fetch` of an archive placed by hand."""
    config = load(DatasetConfig, ROOT / "config/datasets/ade20k.yaml")
    made = Archive("ADEChallengeData2016.zip", (), **archive)
    (folder / "ade20k.yaml").write_text(dump(replace(config, archives=(made,))))
    path = folder / "archives/ade20k/ADEChallengeData2016.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    options = ["--dataset-config", f"{folder}/ade20k.yaml", "--archives-dir", f"{folder}/archives"]
    return ["fetch", *options, "--output", f"{folder}/out/fetched.json"]


def png_claiming(height: int, width: int, colour: int = 2) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return PNG + b"".join(chunk(*part) for part in parts)


# --- zip


@case("zip: member `../../evil.png`", "climbs out of its folder")
def zip_up(folder: Path) -> list[str]:
    return ade_with(folder, ("../../evil.png", b"x"))


@case("zip: member with an absolute path", "absolute or foreign path")
def zip_absolute(folder: Path) -> list[str]:
    return ade_with(folder, (f"{folder}/evil.png", b"x"))


@case("zip: member with backslashes", "absolute or foreign path")
def zip_backslash(folder: Path) -> list[str]:
    return ade_with(folder, ("..\\..\\evil.png", b"x"))


@case("zip: member on another drive", "absolute or foreign path")
def zip_drive(folder: Path) -> list[str]:
    return ade_with(folder, ("C:/evil.png", b"x"))


@case("zip: symbolic link", "is a link or device")
def zip_link(folder: Path) -> list[str]:
    return ade_zip(folder, "ADE/link", create_system=3, external_attr=0o120777 << 16)


@case("zip: character device", "is a link or device")
def zip_device(folder: Path) -> list[str]:
    return ade_zip(folder, "ADE/tty", create_system=3, external_attr=0o020666 << 16)


@case("zip: two members of one name", "occurs twice")
def zip_twice(folder: Path) -> list[str]:
    return ade(folder, pack_zip([*SOUND, SOUND[0]]))


@case("zip: encrypted member", "is encrypted")
def zip_encrypted(folder: Path) -> list[str]:
    data = bytearray(pack_zip(SOUND))
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    return ade(folder, bytes(data))


@case("zip: bomb, 64 MiB of zeros in 64 KiB", "unpacks to 67108864 bytes")
def zip_bomb(folder: Path) -> list[str]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ADE/zeros", bytes(64 << 20))
    return ade(folder, buffer.getvalue())


@case("zip: member that claims 4 GiB", "unpacks to 4294967290 bytes")
def zip_claims(folder: Path) -> list[str]:
    data = bytearray(pack_zip(SOUND))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 0xFFFFFFFA)
    return ade(folder, bytes(data))


@case("zip: member longer than its header says", "damaged in the archive")
def zip_lies(folder: Path) -> list[str]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in SOUND:
            archive.writestr(name, content)
    data = bytearray(buffer.getvalue())
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 100)
    return ade(folder, bytes(data))


@case("zip: one byte of a member flipped", "damaged in the archive")
def zip_flipped(folder: Path) -> list[str]:
    data = bytearray(pack_zip(SOUND))
    data[data.index(JPEG) + len(JPEG) // 2] ^= 1
    return ade(folder, bytes(data))


@case("zip: cut in the middle", "not a whole zip file")
def zip_cut(folder: Path) -> list[str]:
    data = pack_zip(SOUND)
    return ade(folder, data[: len(data) // 2])


@case("zip: random bytes", "not a whole zip file")
def zip_noise(folder: Path) -> list[str]:
    return ade(folder, np.random.default_rng(0).bytes(5000))


@case("zip: name that says it is UTF-8 and is not", "not a whole zip file")
def zip_name(folder: Path) -> list[str]:
    data = pack_zip([*SOUND, ("ADE/ü.txt", b"x")])
    return ade(folder, data.replace("ü".encode(), b"\xff\xfe"))


@case("zip: of another dataset", "split 'train' has 0 images, expected 1")
def zip_other(folder: Path) -> list[str]:
    return ade(folder, pack_zip([("readme.txt", b"hello")]))


@case("zip: the full ADE20K release", "full ADE20K release")
def zip_full(folder: Path) -> list[str]:
    return ade(folder, pack_zip([("ADE20K_2021_17_01/index_ade20k.pkl", b"x")]))


@case("archive placed by hand: a web page", "a web page, not the archive")
def placed_page(folder: Path) -> list[str]:
    return fetched_in_place(folder, b"<!DOCTYPE html><html>please log in</html>")


@case("archive placed by hand: empty", "not a whole file of its kind")
def placed_empty(folder: Path) -> list[str]:
    return fetched_in_place(folder, b"")


@case("archive placed by hand: other bytes than published", "published is")
def placed_other(folder: Path) -> list[str]:
    return fetched_in_place(folder, pack_zip(SOUND), checksum="md5:" + "0" * 32)


@case("archive placed by hand: other size than published", "bytes, expected 7")
def placed_size(folder: Path) -> list[str]:
    return fetched_in_place(folder, pack_zip(SOUND), bytes=7)


@case("archive changed since it was fetched", "bytes, ")
def changed_since(folder: Path) -> list[str]:
    command = ade(folder, pack_zip(SOUND))
    with open(folder / "archives/ade20k/ADEChallengeData2016.zip", "ab") as file:
        file.write(b"more")
    return command


# --- tar


@case("tar: member `../evil.jpg`", "climbs out of its folder")
def tar_up(folder: Path) -> list[str]:
    return voc_tar(folder, entry("../evil.jpg"))


@case("tar: member with an absolute path", "absolute or foreign path")
def tar_absolute(folder: Path) -> list[str]:
    return voc_tar(folder, entry(f"{folder}/evil.jpg"))


@case("tar: symbolic link", "is a link or device")
def tar_symlink(folder: Path) -> list[str]:
    return voc_tar(folder, entry("VOC2010/JPEGImages/a.jpg", tarfile.SYMTYPE, "/etc/passwd"))


@case("tar: hard link", "is a link or device")
def tar_hardlink(folder: Path) -> list[str]:
    return voc_tar(folder, entry("VOC2010/JPEGImages/a.jpg", tarfile.LNKTYPE, "../../secret"))


@case("tar: named pipe", "is a link or device")
def tar_fifo(folder: Path) -> list[str]:
    return voc_tar(folder, entry("VOC2010/JPEGImages/a.jpg", tarfile.FIFOTYPE))


@case("tar: block device", "is a link or device")
def tar_device(folder: Path) -> list[str]:
    return voc_tar(folder, entry("VOC2010/JPEGImages/a.jpg", tarfile.BLKTYPE))


@case("tar: two members of one name", "occurs twice")
def tar_twice(folder: Path) -> list[str]:
    return voc_tar(folder, entry("VOC2010/a.jpg"), entry("VOC2010/a.jpg"), content=b"x")


@case("tar: name that is not UTF-8", "is not UTF-8")
def tar_name(folder: Path) -> list[str]:
    return voc_tar(folder, entry("VOC2010/\udcff\udcfe.jpg"), content=b"x")


@case("tar: member that claims 8 GiB", "claims 8589934591 bytes")
def tar_claims(folder: Path) -> list[str]:
    info = entry("VOC2010/JPEGImages/a.jpg")
    info.size = 8**11 - 1
    return voc(folder, info.tobuf() + bytes(1024), json.dumps(DOCUMENT).encode())


@case("tar: cut in the middle", "not a whole tar file")
def tar_cut(folder: Path) -> list[str]:
    return voc(folder, PHOTOS[: len(PHOTOS) // 8], json.dumps(DOCUMENT).encode())


@case("tar: random bytes", "not a whole tar file")
def tar_noise(folder: Path) -> list[str]:
    noise = np.random.default_rng(1).bytes(20480)
    return voc(folder, noise, json.dumps(DOCUMENT).encode())


def original_labels(folder: Path, content: bytes) -> list[str]:
    lists = [(f"VOC2010/ImageSets/Main/{s}.txt", b"2008_000001\n") for s in ("train", "val")]
    tar = pack_tar([("VOC2010/JPEGImages/2008_000001.jpg", JPEG), *lists])
    files = [("VOCtrainval_03-May-2010.tar", tar), ("trainval.tar.gz", content)]
    return prepared(folder, "pascal_context_59", files)


@case("tar.gz: bomb, 300 MB of zeros in 300 KB", "unpack it by hand")
def gzip_bomb(folder: Path) -> list[str]:
    info = entry("zeros")
    info.size = 300_000_000
    return original_labels(folder, gzip.compress(info.tobuf() + bytes(info.size), 1))


@case("tar.gz: cut in the middle", "not a whole tar file")
def gzip_cut(folder: Path) -> list[str]:
    noise = np.random.default_rng(2).bytes(50000)
    return original_labels(folder, gzip.compress(pack_tar([("a.mat", noise)]))[:20000])


# --- photos


@case("photo: no image at all", "is not a whole JPEG, PNG, WebP, BMP or TIFF file")
def photo_noise(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, b"not an image"))


@case("photo: a web page", "a web page")
def photo_page(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, b"<html>404</html>"))


@case("photo: empty", "is empty")
def photo_empty(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, b""))


@case("photo: JPEG cut short", "cut JPEG")
def photo_cut(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, JPEG[:-30]))


@case("photo: JPEG with its head alone", "cut JPEG")
def photo_head(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, JPEG[:3]))


@case("photo: JPEG without its tables", "cannot be decoded")
def photo_tables(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, b"\xff\xd8\xff\xda\x00\x02abc\xff\xd9"))


@case("photo: PNG cut short", "cut PNG")
def photo_png_cut(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, png_claiming(*SIZE)[:60]))


@case("photo: PNG that claims 100,000 x 100,000 pixels", "more than 100,000,000")
def photo_bomb(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, png_claiming(100_000, 100_000)))


@case("photo: JPEG that claims 65,000 x 65,000 pixels", "more than 100,000,000")
def photo_jpeg_bomb(folder: Path) -> list[str]:
    frame = JPEG.index(b"\xff\xc0")
    size = struct.pack(">HH", 65000, 65000)
    return ade_with(folder, (PHOTO, JPEG[: frame + 5] + size + JPEG[frame + 9 :]))


@case("photo: turned by EXIF, its mask not", "EXIF orientation 6")
def photo_turned(folder: Path) -> list[str]:
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0) + bytes(4)
    body = b"Exif\0\0" + tiff
    exif = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    return ade_with(folder, (PHOTO, JPEG[:2] + exif + JPEG[2:]))


@case("photo without mask", "image without an annotation")
def photo_alone(folder: Path) -> list[str]:
    return ade_with(folder, (LABEL, None))


@case("mask without photo", "annotation without an image")
def mask_alone(folder: Path) -> list[str]:
    return ade_with(folder, (PHOTO, None))


# --- masks


def mask(folder: Path, pixels: np.ndarray, kind: str = ".png") -> list[str]:
    return ade_with(folder, (LABEL, cv2.imencode(kind, pixels)[1].tobytes()))


@case("mask: value outside the table", "label values 200 are in no class")
def mask_value(folder: Path) -> list[str]:
    return mask(folder, np.full(SIZE, 200, np.uint8))


@case("mask: in colours", "RGB image of 8 bits")
def mask_colour(folder: Path) -> list[str]:
    return mask(folder, np.zeros((*SIZE, 3), np.uint8))


@case("mask: 16 bits", "of 16 bits")
def mask_16(folder: Path) -> list[str]:
    return mask(folder, np.zeros(SIZE, np.uint16))


@case("mask: other size than the photo", "label is (20, 29), image (20, 30)")
def mask_size(folder: Path) -> list[str]:
    return mask(folder, np.zeros((20, 29), np.uint8))


@case("mask: a JPEG with the name of a PNG", "is not a PNG")
def mask_jpeg(folder: Path) -> list[str]:
    return mask(folder, np.zeros(SIZE, np.uint8), ".jpg")


@case("mask: PNG of eight bytes", "cut PNG")
def mask_short(folder: Path) -> list[str]:
    return ade_with(folder, (LABEL, PNG))


@case("mask: claims 100,000 x 100,000 pixels", "more than 100,000,000")
def mask_bomb(folder: Path) -> list[str]:
    return ade_with(folder, (LABEL, png_claiming(100_000, 100_000, colour=0)))


# --- annotations as JSON and .mat


@case("merged JSON: no JSON", "not the merged annotation file")
def json_noise(folder: Path) -> list[str]:
    return voc(folder, PHOTOS, b"{nonsense")


@case("merged JSON: a list", "not the merged annotation file")
def json_list(folder: Path) -> list[str]:
    return voc(folder, PHOTOS, b"[]")


@case("merged JSON: nested 100,000 deep", "not the merged annotation file")
def json_deep(folder: Path) -> list[str]:
    return voc(folder, PHOTOS, b"[" * 100_000)


@case("merged JSON: unknown category", "category id 1 is none of the 59")
def json_category(folder: Path) -> list[str]:
    return voc_with(folder, category_id=1)


@case("merged JSON: mask of 100,000 x 100,000", "mask is (100000, 100000)")
def json_size(folder: Path) -> list[str]:
    return voc_with(folder, segmentation={"size": [100_000, 100_000], "counts": [10**10]})


@case("merged JSON: runs that do not fill the mask", "run lengths add up to")
def json_runs(folder: Path) -> list[str]:
    return voc_with(folder, segmentation={"size": list(SIZE), "counts": [5, 10**9]})


@case("merged JSON: run of 10^30 pixels", "run lengths are no list of whole numbers")
def json_huge(folder: Path) -> list[str]:
    return voc_with(folder, segmentation={"size": list(SIZE), "counts": [10**30]})


@case("merged JSON: mask that is none", "not a run-length mask")
def json_text(folder: Path) -> list[str]:
    return voc_with(folder, segmentation="everything")


@case(".mat: random bytes", "cannot be read as a .mat file")
def mat_noise(folder: Path) -> list[str]:
    return coco(folder, np.random.default_rng(3).bytes(1000))


@case(".mat: bomb, 128 MiB of zeros in 128 KiB", "unpacks to more than 67108864 bytes")
def mat_bomb(folder: Path) -> list[str]:
    packer = zlib.compressobj(9)
    stream = b"".join(packer.compress(bytes(1 << 20)) for _ in range(128)) + packer.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    return coco(folder, header + struct.pack("<II", 15, len(stream)) + stream)


@case(".mat: without its field", "cannot be read as a .mat file with S")
def mat_field(folder: Path) -> list[str]:
    return coco(folder, pack_mat({"T": np.zeros(SIZE)}))


@case(".mat: field of text", "expected H x W numbers")
def mat_text(folder: Path) -> list[str]:
    return coco(folder, pack_mat({"S": "text"}))


@case(".mat: three dimensions", "expected H x W numbers")
def mat_dimensions(folder: Path) -> list[str]:
    return coco(folder, pack_mat({"S": np.zeros((*SIZE, 2))}))


@case(".mat: fractions", "not whole numbers")
def mat_fractions(folder: Path) -> list[str]:
    return coco(folder, pack_mat({"S": np.full(SIZE, 1.5)}))


@case(".mat: value of an unused class", "label values 12 are in no class")
def mat_unused(folder: Path) -> list[str]:
    return coco(folder, pack_mat({"S": np.full(SIZE, 12, np.uint8)}))


@case("list of names: not UTF-8", "is not text in UTF-8")
def list_bytes(folder: Path) -> list[str]:
    return coco(folder, pack_mat({"S": np.ones(SIZE)}), b"\xff\xfe\n")


@case("list of names: `../../etc/passwd`", "no images/../../etc/passwd.jpg")
def list_up(folder: Path) -> list[str]:
    return coco(folder, pack_mat({"S": np.ones(SIZE)}), b"../../etc/passwd\n")


@case("list of names: a name twice", "two samples of split 'train' are called 'a'")
def list_twice(folder: Path) -> list[str]:
    return coco(folder, pack_mat({"S": np.ones(SIZE)}), b"a\na\n")


# --- configuration and records


@case("dataset YAML: Python object", "not valid YAML")
def yaml_object(folder: Path) -> list[str]:
    return dataset_yaml(folder, f"title: !!python/object/apply:os.system ['touch {folder}/evil']")


@case("dataset YAML: a billion laughs", "title is [")
def yaml_laughs(folder: Path) -> list[str]:
    lines = ["a0: &a0 [ha]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)
    ]
    text = (ROOT / "config/datasets/ade20k.yaml").read_text().replace("title: ADE20K", "")
    return dataset_yaml(folder, "title: " + "".join(_nested(lines)) + text)


def _nested(lines: list[str]) -> list[str]:
    """The anchors within one value, so that no other key is needed."""
    values = [line.split(": ", 1)[1] for line in lines]
    return ["\n"] + [f"  - {value}\n" for value in values]


@case("dataset YAML: a key twice", "key 'title' is given twice")
def yaml_twice(folder: Path) -> list[str]:
    return dataset_yaml(folder, "title: a\ntitle: b\n")


@case("dataset YAML: unknown key", "unknown key 'titel'; did you mean 'title'?")
def yaml_key(folder: Path) -> list[str]:
    text = (ROOT / "config/datasets/ade20k.yaml").read_text()
    return dataset_yaml(folder, text.replace("title:", "titel:"))


@case("dataset YAML: archive outside its folder", "expected a plain file name")
def yaml_path(folder: Path) -> list[str]:
    text = (ROOT / "config/datasets/ade20k.yaml").read_text()
    return dataset_yaml(folder, text.replace("file: ADE", "file: ../../ADE"))


@case("record of fetch: no JSON", "not valid JSON")
def record_noise(folder: Path) -> list[str]:
    command = ade(folder, pack_zip(SOUND))
    (folder / "fetched.json").write_text("{")
    return command


@case("record of fetch: another file", "not written by `lemore fetch`")
def record_other(folder: Path) -> list[str]:
    command = ade(folder, pack_zip(SOUND))
    (folder / "fetched.json").write_text("[]")
    return command


@case("folder: file name that is not UTF-8", "is not UTF-8")
def folder_name(folder: Path) -> list[str]:
    command = ade(folder, pack_zip(SOUND))
    place = folder / "archives/unpacked"
    place.mkdir()
    with open(os.fsencode(place) + b"/\xff\xfe.jpg", "wb"):
        pass
    record = {"dataset": "ade20k", "archives": [], "folder": str(place), "sha256": ""}
    write_json(folder / "fetched.json", record)
    return command


# --- trained models


class Executed(Exception):
    """Unpickling this object would touch a file."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return (os.system, (f"touch {self.folder}/evil",))


@functools.cache
def sound_model() -> dict[str, Any]:
    return make_content(make_settings(dataset="tiny", classes=3))


def predict_with(folder: Path, checkpoint: str) -> list[str]:
    """`lemore predict` of a sound photo with a checkpoint in the folder."""
    (folder / "photo.jpg").write_bytes(JPEG)
    return predict_on(folder, checkpoint, f"{folder}/photo.jpg")


def predict_on(folder: Path, checkpoint: str, *inputs: str) -> list[str]:
    options = ["--checkpoint", f"{folder}/{checkpoint}", "--output", f"{folder}/out"]
    return ["predict", *options, "--data-dir", f"{folder}/none", "--index", *inputs]


def weights_bytes(folder: Path, content: bytes) -> list[str]:
    (folder / "weights.pt").write_bytes(content)
    return predict_with(folder, "weights.pt")


def weights(folder: Path, content: Any) -> list[str]:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return weights_bytes(folder, buffer.getvalue())


def weights_with(folder: Path, name: str, tensor: Any) -> list[str]:
    """A sound checkpoint with one tensor replaced, added, or left out (None)."""
    state = sound_model()["state_dict"] | {name: tensor}
    kept = {key: value for key, value in state.items() if value is not None}
    return weights(folder, sound_model() | {"state_dict": kept})


def weights_saying(folder: Path, key: str, value: Any) -> list[str]:
    """A sound checkpoint whose configuration says something else at `key`."""
    return weights(folder, sound_model() | {"config": changed(sound_model()["config"], key, value)})


def changed(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a dotted key."""
    first, _, rest = key.partition(".")
    return values | {first: changed(values[first], rest, value) if rest else value}


def mit(depths: list[int]) -> dict[str, Any]:
    arguments = {"dims": [32, 64, 160, 256], "depths": depths}
    return {"module": "mit", "arguments": arguments, "init": "none"}


LAST = "decode_head.classifier.weight"
BIAS = "decode_head.classifier.bias"


@case("weights.pt: pickled call of `os.system`", "not a readable checkpoint of plain tensors")
def weights_call(folder: Path) -> list[str]:
    return weights(folder, {"state_dict": Executed(folder), "config": {}})


@case("weights.pt: pickle without an archive, with the same call", "not a readable checkpoint")
def weights_pickle(folder: Path) -> list[str]:
    return weights_bytes(folder, pickle.dumps(Executed(folder)))


@case("weights.pt: random bytes", "not a readable checkpoint")
def weights_noise(folder: Path) -> list[str]:
    return weights_bytes(folder, np.random.default_rng(4).bytes(5000))


@case("weights.pt: empty", "not a readable checkpoint")
def weights_empty(folder: Path) -> list[str]:
    return weights_bytes(folder, b"")


@case("weights.pt: cut in the middle", "not a readable checkpoint")
def weights_cut(folder: Path) -> list[str]:
    buffer = io.BytesIO()
    torch.save(sound_model(), buffer)
    return weights_bytes(folder, buffer.getvalue()[:100_000])


@case("weights.pt: bomb, 256 MB of zeros in 256 KB", "is compressed")
def weights_bomb(folder: Path) -> list[str]:
    buffer, bomb = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": {"zeros": torch.zeros(1 << 26)}, "config": {}}, buffer)
    with zipfile.ZipFile(buffer) as sound, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
        for name in sound.namelist():
            made.writestr(name, sound.read(name))
    return weights_bytes(folder, bomb.getvalue())


@case("weights.pt: a list", "holds no 'state_dict' and 'config'")
def weights_list(folder: Path) -> list[str]:
    return weights(folder, [1, 2])


@case("weights.pt: tensors alone, of another program", "import-weights")
def weights_alone(folder: Path) -> list[str]:
    return weights(folder, sound_model()["state_dict"])


@case("weights.pt: a pretrained backbone", "not a segmentation model")
def weights_backbone(folder: Path) -> list[str]:
    return weights(folder, {"state_dict": {}, "config": {"backbone_name": "lemore"}})


@case("weights.pt: tensor that claims 4 TB in 4 bytes", "is no plain tensor")
def weights_claims(folder: Path) -> list[str]:
    return weights_with(folder, LAST, torch.zeros(1).expand(10**6, 10**6))


@case("weights.pt: sparse tensor", "is no plain tensor")
def weights_sparse(folder: Path) -> list[str]:
    return weights_with(folder, LAST, torch.zeros(3, 128, 1, 1).to_sparse())


@case("weights.pt: tensor of another shape", f"{LAST} (4, 128, 1, 1) instead of (3,")
def weights_shape(folder: Path) -> list[str]:
    return weights_with(folder, LAST, torch.zeros(4, 128, 1, 1))


@case("weights.pt: unknown tensor", "1 tensors unknown: decode_head.extra")
def weights_unknown(folder: Path) -> list[str]:
    return weights_with(folder, "decode_head.extra", torch.zeros(1))


@case("weights.pt: tensor left out", f"1 tensors missing: {BIAS}")
def weights_missing(folder: Path) -> list[str]:
    return weights_with(folder, BIAS, None)


@case("weights.pt: NaN in a tensor", "holds NaN or infinity")
def weights_nan(folder: Path) -> list[str]:
    return weights_with(folder, BIAS, torch.full((3,), torch.nan))


@case("weights.pt: backbone `../../evil`", "module is '../../evil', expected a name")
def weights_module(folder: Path) -> list[str]:
    return weights_saying(folder, "backbone.module", "../../evil")


@case("weights.pt: dataset `../../etc`", "dataset is '../../etc', expected a name")
def weights_dataset(folder: Path) -> list[str]:
    return weights_saying(folder, "dataset", "../../etc")


@case("weights.pt: 10^9 classes", "num_classes is 1000000000")
def weights_classes(folder: Path) -> list[str]:
    return weights_saying(folder, "num_classes", 10**9)


@case("weights.pt: training crop of 10^9 x 10^9", "crop_size[0] is 1000000000")
def weights_crop(folder: Path) -> list[str]:
    return weights_saying(folder, "train.crop_size", [10**9, 10**9])


@case("weights.pt: test size of 10^9 x 10^9", "img_scale[0] is 1000000000")
def weights_scale(folder: Path) -> list[str]:
    return weights_saying(folder, "train.img_scale", [10**9, 10**9])


@case("weights.pt: a billion blocks", "arguments is {'depths': [1000000000, ")
def weights_blocks(folder: Path) -> list[str]:
    arguments = {"dims": [32, 64, 160, 256], "depths": [10**9, 2, 2, 2]}
    return weights_saying(
        folder, "backbone", {"module": "mit", "arguments": arguments, "init": "none"}
    )


@case("weights.pt: backbone and head that do not fit", "describes no model")
def weights_misfit(folder: Path) -> list[str]:
    arguments = {"dims": [32, 64, 160, 256], "depths": [2, 2, 2, 2]}
    return weights_saying(
        folder, "backbone", {"module": "mit", "arguments": arguments, "init": "none"}
    )


@case("weights.pt: unknown key", "unknown key 'config.modle'; did you mean 'model'?")
def weights_key(folder: Path) -> list[str]:
    config = dict(sound_model()["config"])
    config["modle"] = config.pop("model")
    return weights(folder, sound_model() | {"config": config})


def onnx_bytes(folder: Path, content: bytes) -> list[str]:
    (folder / "model.onnx").write_bytes(content)
    return predict_with(folder, "model.onnx")


@case("weights.pt: licence of its start that moves the cursor", "expected text in one line")
def weights_licence(folder: Path) -> list[str]:
    return weights(folder, sound_model() | {"start_licences": ["free\x1b[2J"]})


@case("model.onnx: random bytes", "not a whole ONNX file")
def onnx_noise(folder: Path) -> list[str]:
    return onnx_bytes(folder, np.random.default_rng(3).bytes(5000))


@case("model.onnx: of another program", "does not say which model it holds")
def onnx_other(folder: Path) -> list[str]:
    return onnx_bytes(folder, onnx.helper.make_model(onnx.GraphProto()).SerializeToString())


@case("checkpoint: a named pipe", "neither a file nor a folder")
def checkpoint_fifo(folder: Path) -> list[str]:
    os.mkfifo(folder / "weights.pt")
    return predict_with(folder, "weights.pt")


@case("checkpoint: a folder without a model", "holds neither config.json")
def checkpoint_folder(folder: Path) -> list[str]:
    (folder / "model").mkdir()
    return predict_with(folder, "model")


def shared(folder: Path) -> tuple[Path, dict[str, Any]]:
    """A sound model folder, and what its config.json says."""
    command = weights(folder, sound_model())
    options = ["--checkpoint", command[2], "--output", f"{folder}/model"]
    with redirect_stdout(io.StringIO()):
        assert main(["share", *options, "--data-dir", f"{folder}/none"]) == 0
    return folder / "model", json.loads((folder / "model/config.json").read_text())


def shared_with(folder: Path, name: str, content: bytes) -> list[str]:
    """A sound model folder with one file replaced."""
    (shared(folder)[0] / name).write_bytes(content)
    return predict_with(folder, "model")


def shared_saying(folder: Path, key: str, value: Any) -> list[str]:
    model, values = shared(folder)
    (model / "config.json").write_text(json.dumps(changed(values, key, value)))
    return predict_with(folder, "model")


def shared_tensors(folder: Path, **changes: torch.Tensor) -> list[str]:
    state = sound_model()["state_dict"]
    return shared_with(folder, "model.safetensors", safetensors.torch.save(state | changes))


@case("model.safetensors: random bytes", "its header claims")
def safetensors_noise(folder: Path) -> list[str]:
    return shared_with(folder, "model.safetensors", np.random.default_rng(5).bytes(5000))


@case("model.safetensors: header of 10^15 bytes", "its header claims 1,000,000,000,000,000 bytes")
def safetensors_header(folder: Path) -> list[str]:
    return shared_with(folder, "model.safetensors", struct.pack("<Q", 10**15) + b"{}")


@case("model.safetensors: empty", "not a whole safetensors file")
def safetensors_empty(folder: Path) -> list[str]:
    return shared_with(folder, "model.safetensors", b"")


@case("model.safetensors: cut in the middle", "not a whole safetensors file")
def safetensors_cut(folder: Path) -> list[str]:
    data = safetensors.torch.save(sound_model()["state_dict"])
    return shared_with(folder, "model.safetensors", data[: len(data) // 2])


@case("model.safetensors: tensor beyond the end of the file", "not a whole safetensors file")
def safetensors_offsets(folder: Path) -> list[str]:
    header = {"x": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}}
    text = json.dumps(header).encode()
    return shared_with(folder, "model.safetensors", struct.pack("<Q", len(text)) + text)


@case("model.safetensors: a pickle", "its header claims")
def safetensors_pickle(folder: Path) -> list[str]:
    return shared_with(folder, "model.safetensors", pickle.dumps(Executed(folder)))


@case("model.safetensors: tensor of another shape", "instead of (3, 128, 1, 1)")
def safetensors_shape(folder: Path) -> list[str]:
    return shared_tensors(folder, **{LAST: torch.zeros(3, 64, 1, 1)})


@case("model.safetensors: other weights than config.json records", "holds other weights")
def safetensors_other(folder: Path) -> list[str]:
    return shared_tensors(folder, **{BIAS: torch.zeros(3)})


@case("config.json: no JSON", "not valid JSON")
def description_noise(folder: Path) -> list[str]:
    return shared_with(folder, "config.json", b"{nonsense")


@case("config.json: nested 100,000 deep", "not valid JSON")
def description_deep(folder: Path) -> list[str]:
    return shared_with(folder, "config.json", b"[" * 100_000)


@case("config.json: 2 MB", "larger than 1,048,576 bytes")
def description_long(folder: Path) -> list[str]:
    return shared_with(folder, "config.json", b" " * (2 << 20))


@case("config.json: NaN", "NaN is no number")
def description_nan(folder: Path) -> list[str]:
    return shared_saying(folder, "config.train.lr", float("nan"))


@case("config.json: 10^400", "is no number")
def description_infinite(folder: Path) -> list[str]:
    model, values = shared(folder)
    text = json.dumps(changed(values, "config.train.lr", 12345))
    (model / "config.json").write_text(text.replace("12345", "1e400"))
    return predict_with(folder, "model")


@case("config.json: a key twice", "a key is given twice")
def description_twice(folder: Path) -> list[str]:
    return shared_with(folder, "config.json", b'{"format": "lemore-1", "format": "lemore-1"}')


@case("config.json: a name for the file of the weights", "unknown key 'weights'")
def description_path(folder: Path) -> list[str]:
    return shared_saying(folder, "weights", "../../../etc/passwd")


@case("config.json: of another program", "format is 'pytorch', expected one of lemore-1")
def description_format(folder: Path) -> list[str]:
    return shared_saying(folder, "format", "pytorch")


@case("config.json: class name that moves the cursor", "is no printable name")
def description_escape(folder: Path) -> list[str]:
    return shared_saying(folder, "classes.names", ["a", "b", "\x1b[2Jc"])


@case("config.json: more classes than the model has", "4 classes, config.num_classes says 3")
def description_classes(folder: Path) -> list[str]:
    classes = {"names": list("abcd"), "colors": [[0, 0, 0]] * 4}
    return shared_saying(folder, "classes", classes)


@case("config.json: colour of 10^9", "expected values of 0 to 255")
def description_color(folder: Path) -> list[str]:
    return shared_saying(folder, "classes.colors", [[0, 0, 0], [1, 1, 1], [0, 0, 10**9]])


@case("config.json: licence that moves the cursor", "licence is")
def description_licence(folder: Path) -> list[str]:
    return shared_saying(folder, "licence", "free\x1b[2J")


@case("config.json: licence of 100,000 characters", "at most 1000 characters")
def description_long_licence(folder: Path) -> list[str]:
    return shared_saying(folder, "licence", "free " * 20_000)


@case("config.json: windows that never move on", "test.stride")
def description_stride(folder: Path) -> list[str]:
    model, values = shared(folder)
    test = values["test"] | {"mode": "slide", "stride": [0, 0]}
    (model / "config.json").write_text(json.dumps(values | {"test": test}))
    return predict_with(folder, "model")


# --- images and videos to predict on


def input_file(folder: Path, name: str, content: bytes) -> list[str]:
    (folder / name).write_bytes(content)
    return input_path(folder, f"{folder}/{name}")


def input_path(folder: Path, *inputs: str) -> list[str]:
    weights(folder, sound_model())
    return predict_on(folder, "weights.pt", *inputs)


@case("image: a web page", "it is a web page")
def image_page(folder: Path) -> list[str]:
    return input_file(folder, "x.jpg", b"<html>404</html>")


@case("image: SVG that reads a file", "is not a whole JPEG, PNG, WebP, BMP or TIFF file")
def image_svg(folder: Path) -> list[str]:
    return input_file(folder, "x.png", b'<svg><image href="file:///etc/passwd"/></svg>')


@case("image: empty", "is empty")
def image_empty(folder: Path) -> list[str]:
    return input_file(folder, "x.jpg", b"")


@case("image: cut JPEG", "is a cut JPEG")
def image_cut(folder: Path) -> list[str]:
    return input_file(folder, "x.jpg", JPEG[:-40])


@case("image: HEIC", "it is HEIC or AVIF")
def image_heic(folder: Path) -> list[str]:
    return input_file(folder, "x.jpg", b"\0\0\0\x18ftypheic" + bytes(100))


@case("image: PNG that claims 100,000 x 100,000 pixels", "more than 100,000,000")
def image_bomb(folder: Path) -> list[str]:
    return input_file(folder, "x.png", png_claiming(100_000, 100_000))


@case("image: BMP that claims 30,000 x 30,000 pixels", "pixels")
def image_bmp(folder: Path) -> list[str]:
    data = bytearray(cv2.imencode(".bmp", np.zeros((*SIZE, 3), np.uint8))[1].tobytes())
    data[18:26] = struct.pack("<ii", 30_000, 30_000)
    return input_file(folder, "x.bmp", bytes(data))


@case("image: WebP that claims 16,000 x 16,000 pixels", "pixels")
def image_webp(folder: Path) -> list[str]:
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x7f\x3e\0" * 2
    chunk = b"VP8L" + struct.pack("<I", 10) + bytes(10)
    body = b"WEBP" + head + chunk
    return input_file(folder, "x.webp", b"RIFF" + struct.pack("<I", len(body)) + body)


@case("image: cut TIFF", "cannot be decoded")
def image_tiff(folder: Path) -> list[str]:
    noise = np.random.default_rng(6).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "TIFF")
    return input_file(folder, "x.tif", buffer.getvalue()[:-600])


@case("image: line break and escape in its name", "a\\x1b[2Jb c.jpg: is a cut JPEG")
def image_name(folder: Path) -> list[str]:
    return input_file(folder, "a\x1b[2Jb\nc.jpg", JPEG[:-40])


@case("image: name that is not UTF-8", "x\\udcff\\udcfe.jpg: is a cut JPEG")
def image_bytes(folder: Path) -> list[str]:
    return input_file(folder, os.fsdecode(b"x\xff\xfe.jpg"), JPEG[:-40])


@case("image: a named pipe in a folder", "is no regular file")
def image_fifo(folder: Path) -> list[str]:
    (folder / "photos").mkdir()
    os.mkfifo(folder / "photos/x.jpg")
    return input_path(folder, f"{folder}/photos")


@case("image: link to a device", "is no regular file")
def image_device(folder: Path) -> list[str]:
    (folder / "photos").mkdir()
    (folder / "photos/x.jpg").symlink_to("/dev/zero")
    return input_path(folder, f"{folder}/photos")


@case("image: link to nowhere", "No such file")
def image_dangling(folder: Path) -> list[str]:
    (folder / "photos").mkdir()
    (folder / "photos/x.jpg").symlink_to("/nowhere")
    return input_path(folder, f"{folder}/photos")


@case("folder: links to itself, and no image", "no image or video in this folder")
def folder_loop(folder: Path) -> list[str]:
    (folder / "photos").mkdir()
    for name in "ab":
        (folder / "photos" / name).symlink_to(folder / "photos")
    return input_path(folder, f"{folder}/photos", f"{folder}/photos/**/*.jpg")


@case("output: a link in it leads elsewhere", "a link leads outside of")
def output_link(folder: Path) -> list[str]:
    (folder / "elsewhere").mkdir()
    (folder / "out").mkdir()
    (folder / "out/index").symlink_to(folder / "elsewhere")
    return input_file(folder, "x.jpg", JPEG)


@case("output: the folder of a video's frames leads elsewhere", "a link leads outside of")
def output_frames(folder: Path) -> list[str]:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/000000.png").write_bytes(b"precious")
    (folder / "out/index").mkdir(parents=True)
    (folder / "out/index/x").symlink_to(folder / "elsewhere")
    return [*input_file(folder, "x.mp4", b"\0\0\0\x18ftypisom" + bytes(12)), "--overwrite"]


@case("output: would replace the input", "is one of the inputs")
def output_input(folder: Path) -> list[str]:
    (folder / "out/index").mkdir(parents=True)
    (folder / "out/index/x.png").write_bytes(cv2.imencode(".png", np.zeros(SIZE))[1].tobytes())
    (folder / "y").mkdir()
    (folder / "y/x.png").symlink_to(folder / "out/index/x.png")
    return [*input_path(folder, f"{folder}/y/x.png"), "--overwrite"]


@case("video: random bytes", "is no MP4, MOV, MKV, WebM or AVI")
def video_noise(folder: Path) -> list[str]:
    return input_file(folder, "x.mp4", b"\0" + np.random.default_rng(7).bytes(5000))


@case("video: playlist that leads to other files", "is no MP4, MOV, MKV, WebM or AVI")
def video_playlist(folder: Path) -> list[str]:
    (folder / "secret").write_bytes(b"secret")
    return input_file(folder, "x.mp4", f"#EXTM3U\n#EXTINF:1,\nfile://{folder}/secret\n".encode())


@case("video: list of files to join", "is no MP4, MOV, MKV, WebM or AVI")
def video_concat(folder: Path) -> list[str]:
    return input_file(folder, "x.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n")


@case("video: header alone", "cannot be decoded as a video")
def video_header(folder: Path) -> list[str]:
    return input_file(folder, "x.mp4", b"\0\0\0\x18ftypisom" + bytes(12))


@case("video: cut, its index lost", "cannot be decoded as a video")
def video_cut(folder: Path) -> list[str]:
    with open_video(folder / "sound.mp4", 10, (80, 112)) as write:
        for k in range(5):
            write(np.full((80, 112, 3), 40 * k, np.uint8))
    data = (folder / "sound.mp4").read_bytes()
    return input_file(folder, "x.mp4", data[: len(data) // 2])


@case("video: AVI that claims frames of 60,000 x 60,000", "as a video")
def video_claims(folder: Path) -> list[str]:
    path = folder / "sound.avi"
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 10, (112, 80))
    writer.write(np.zeros((80, 112, 3), np.uint8))
    writer.release()
    data = path.read_bytes()
    for form in ("<II", ">HH"):  # of the container, and of the JPEG in it
        for size in ((112, 80), (80, 112)):
            data = data.replace(struct.pack(form, *size), struct.pack(form, 60_000, 60_000))
    return input_file(folder, "x.avi", data)


# --- photos and annotations that `lemore train` is to understand


def own(folder: Path, *files: tuple[str, str]) -> list[str]:
    """`lemore train` of a photo and these files."""
    (folder / "pond").mkdir()
    (folder / "pond/x.jpg").write_bytes(JPEG)
    for name, content in files:
        (folder / "pond" / name).write_text(content)
    return ["train", f"{folder}/pond", "--output", f"{folder}/out/pond", "--dry-run"]


def own_coco(folder: Path, **changed: Any) -> list[str]:
    """A sound COCO file with these of its lists replaced."""
    content = {
        "images": [{"id": 1, "file_name": "x.jpg"}],
        "categories": [{"id": 2, "name": "lily"}],
        "annotations": [{"id": 3, "image_id": 1, "category_id": 2, "segmentation": [[1, 1] * 3]}],
    }
    return own(folder, ("coco.json", json.dumps(content | changed)))


def own_names(folder: Path, name: str, content: str) -> list[str]:
    """YOLO's polygons of a class, with this file of names."""
    return own(folder, ("x.txt", "1 0.1 0.1 0.9 0.1 0.5 0.9\n"), (name, content))


@case("own photos: COCO annotation without category_id", "pond/coco.json: not a COCO annotation")
def own_no_category(folder: Path) -> list[str]:
    return own_coco(folder, annotations=[{"id": 3, "image_id": 1}])


@case(
    "own photos: COCO annotations null", "pond/coco.json: not a COCO annotation file (there is no"
)
def own_no_annotations(folder: Path) -> list[str]:
    return own_coco(folder, annotations=None)


@case("own photos: COCO categories that are texts", "pond/coco.json: not a COCO annotation file")
def own_text_categories(folder: Path) -> list[str]:
    return own_coco(folder, categories=["lily", "reed"])


@case("own photos: COCO ids of several kinds", "pond/coco.json: not a COCO annotation file")
def own_mixed_ids(folder: Path) -> list[str]:
    categories = [{"id": 2, "name": "lily"}, {"id": "3", "name": "reed"}]
    annotations = [{"id": k, "image_id": 1, "category_id": c} for k, c in enumerate((2, "3"))]
    return own_coco(folder, categories=categories, annotations=annotations)


@case("own photos: LabelMe shape that is no mapping", "pond/x.json: shape 1: it has no label")
def own_text_shape(folder: Path) -> list[str]:
    return own(folder, ("x.json", '{"shapes": ["lily"]}'))


@case("own photos: LabelMe shapes null", "pond/x.json: not a LabelMe file")
def own_no_shapes(folder: Path) -> list[str]:
    return own(folder, ("x.json", '{"shapes": null}'))


@case("own photos: data.yaml with an error of syntax", "pond/data.yaml: not valid YAML")
def own_yaml_syntax(folder: Path) -> list[str]:
    return own_names(folder, "data.yaml", "names: [reed")


@case("own photos: data.yaml with a list as a key", "pond/data.yaml: not valid YAML")
def own_yaml_key(folder: Path) -> list[str]:
    return own_names(folder, "data.yaml", "? [names]\n: reed\n")


@case("own photos: data.yaml without names", "pond/data.yaml: names is None, expected a list")
def own_yaml_empty(folder: Path) -> list[str]:
    return own_names(folder, "data.yaml", "names:\n")


@case("own photos: data.yaml with a name for class 7 alone", "data.yaml: names is {7: 'reed'}")
def own_yaml_numbers(folder: Path) -> list[str]:
    return own_names(folder, "data.yaml", "names: {7: reed}\n")


@case("own photos: data.yaml that is a list", "pond/data.yaml: expected 'key: value' lines")
def own_yaml_list(folder: Path) -> list[str]:
    return own_names(folder, "data.yaml", "[reed, lily]\n")


@case("own photos: an empty line in classes.txt", "pond/classes.txt: line 2 is empty")
def own_empty_line(folder: Path) -> list[str]:
    return own_names(folder, "classes.txt", "reed\n\nlily\n")


# --- what they get


def attempt(chosen: Case, folder: Path) -> tuple[int, list[str], str | None]:
    """(exit code, lines on stderr, what was touched that must not be) of a case."""
    command = chosen.make(folder)
    before = snapshot(folder)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(command)
    return code, err.getvalue().splitlines(), difference(before, snapshot(folder))


def last_error(lines: list[str]) -> str:
    """The error among the lines on stderr, which may have progress after it."""
    return [line for line in lines if ": error: " in line][-1]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file around the case's folder, but for what its output folder holds."""
    files = [p for p in folder.parent.rglob("*") if p.is_file() and folder / "out" not in p.parents]
    return {os.fsdecode(path): path.read_bytes() for path in files}


def difference(before: dict[str, bytes], after: dict[str, bytes]) -> str | None:
    changed = [name for name in after if after[name] != before.get(name)]
    gone = [name for name in before if name not in after]
    return f"{changed + gone}" if changed or gone else None


def table() -> str:
    """All cases and their messages as Markdown."""
    rows = ["| input | exit | message |", "|---|---|---|"]
    for chosen in CASES:
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "case"
            folder.mkdir()
            code, lines, _ = attempt(chosen, folder)
            message = last_error(lines).replace(f"{folder}/", "").replace("|", "\\|")
        rows.append(f"| {chosen.title} | {code} | `{message[:300]}` |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table())
