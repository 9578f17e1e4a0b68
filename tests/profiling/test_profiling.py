"""Counters against PyTorch's and fvcore's, published counts of others, and the clock."""

import csv
import json
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lemore.cli import main
from lemore.models.fold import fold
from lemore.profiling import backends, latency, memory
from lemore.profiling.counts import count
from lemore.profiling.latency import measure
from lemore.stages import profile
from lemore.stages.count import make_job
from tests.networks import awaken, images, on_meta, segmentor

ADE, CITY = (512, 512), (1024, 2048)
# Measured on the original code (column library_or_config) with PyTorch's counter and fvcore's.
MEASURED = list(
    csv.DictReader((Path(__file__).parent / "measured_counts.csv").read_text().splitlines())
)
# These heads inherit a classifier that they never call; ours do without it.
NEVER_CALLED = ("metaseg", "feedformer", "umixformer")
# fvcore alone counted PEM there, and its rule for einsum is another; PyTorch's counter on the
# original code, deformable convolutions added, gives these.
PEM_AT_CITY = {"macs_core_g": 91.669, "fvcore_total_g": 92.086}


def label(row: dict[str, str]) -> str:
    return f"{row['model']}-{row['input']}-{row['classes']}"


@pytest.mark.parametrize("row", MEASURED, ids=map(label, MEASURED))
def test_counts_of_the_originals(row):
    size, classes = tuple(map(int, row["input"].split("x"))), int(row["classes"])
    name = row["model"]
    params, macs, fvcore = (
        float(row[key]) for key in ("params_m", "macs_core_g", "fvcore_total_g")
    )
    pixels = size[0] * size[1]
    if name.startswith(NEVER_CALLED):
        params -= 129 * classes / 1e6  # 128 weights and a bias a class
    if (name, size) == ("pem_stdc1", CITY):
        macs, fvcore = PEM_AT_CITY.values()
    if name.startswith("pem"):  # that count ends before 100 masks are mixed into class scores
        mixing = 100 * classes * pixels / 16e9
        macs, fvcore = macs + mixing, fvcore + mixing
    if name.startswith("lraspp"):  # that code also resizes the logits to the image
        fvcore -= 4 * classes * pixels / 1e9
    measured = count(on_meta(name, size, classes), size)
    assert measured.params / 1e6 == pytest.approx(params, abs=0.001)
    assert measured.macs / 1e9 == pytest.approx(macs, rel=5e-3)
    assert measured.fvcore_total / 1e9 == pytest.approx(fvcore, rel=1e-2)
    if row["params_with_aux_m"]:
        trained = on_meta(name, size, classes, auxiliary=True)
        params = sum(parameter.numel() for parameter in trained.parameters())
        assert params / 1e6 == pytest.approx(float(row["params_with_aux_m"]), abs=0.001)


def test_the_table_of_all_models(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[2])
    assert main(["count", "--csv", str(tmp_path / "counts.csv")]) == 0
    rows = {r["model"]: r for r in csv.DictReader((tmp_path / "counts.csv").open())}
    assert sorted(rows) == sorted(path.stem for path in Path("config/models").glob("*.yaml"))
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(rows) + 1 and printed[-1].startswith("pspnet_mobilenet_v2")
    row = rows["pspnet_mobilenet_v2"]  # as counted on the original code
    measured = [float(row[key]) for key in ("params_m", "params_m_with_aux", "gmacs")]
    assert measured == pytest.approx([13.461, 13.721, 52.688], rel=1e-4)


def test_a_model_with_an_auxiliary_head_by_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    command = ["profile", "--model", "fcn_mobilenet_v2", "--size", "64", "64", "--seconds", "0.1"]
    assert main(command) == 0
    assert " classes: 9559" in capsys.readouterr().out  # 9.559 M, as the original


def test_reduced_mobilenet_v2_has_the_count_of_its_paper():
    """Searching for MobileNetV3, Table 7, row 4: 0.98 M and 12.57 GMACs."""
    measured = count(on_meta("lraspp_mobilenet_v2", CITY, 19), CITY)
    assert measured.params / 1e6 == pytest.approx(0.98, abs=0.01)
    assert measured.macs / 1e9 == pytest.approx(12.57, rel=0.03)


@pytest.mark.parametrize("name", ["lemore", "topformer_t", "segformer_b0"])
def test_macs_are_half_of_flop_counter_mode(name):
    model = on_meta(name, (128, 160), 5).eval()
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model(torch.empty(1, 3, 128, 160, device="meta"))
    assert count(model, (128, 160)).macs * 2 == flops.get_total_flops()


@pytest.mark.parametrize("name", ["lemore", "topformer_t"])
def test_fvcore_total_is_fvcores(name):
    fvcore = pytest.importorskip("fvcore.nn", reason="fvcore is only a cross-check")
    model = segmentor(name, size=(128, 160), classes=5).eval()
    analysis = fvcore.FlopCountAnalysis(model, torch.randn(1, 3, 128, 160))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    measured = count(on_meta(name, (128, 160), 5), (128, 160))
    assert measured.fvcore_total == pytest.approx(analysis.total(), rel=1e-3)


def test_module_tree_adds_up_and_leaves_the_model_as_it_was():
    model = on_meta("lemore", (128, 128), 5).train()
    measured = count(model, (128, 128))
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    tree = measured.modules
    assert set(tree) == {name for name, _ in model.named_modules()}
    assert tree[""] == {"params": measured.params, "macs": measured.macs}
    for key in ("params", "macs"):
        assert tree["backbone"][key] + tree["decode_head"][key] == tree[""][key]
    assert tree["decode_head.classifier"]["macs"] == 128 * 5 * 16 * 16
    assert tree["backbone.stages.0.3.frontal"] == {"params": 32 * 32, "macs": 16 * 32 * 32 * 32}
    assert measured.uncounted["aten.addcmul"] == 4


def test_known_small_network():
    with torch.device("meta"):
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 5),
        )
    measured = count(model, (6, 10))
    macs = 60 * 4 * 27 + 16 * 5
    assert measured.macs == macs
    assert measured.fvcore_total == macs + 60 * 4 * 2 + 60 * 4
    assert measured.uncounted == {"aten.relu": 1}


def test_latency_keeps_its_time_and_says_how():
    torch.set_num_threads(1)
    model = segmentor("lemore", size=(64, 64)).train()
    start = time.perf_counter()
    (measured,) = measure(model, (64, 64), backend="eager", threads=1, seconds=0.6, ends=[True])
    assert time.perf_counter() - start < 1.5
    assert model.training
    assert torch.get_num_threads() == 1
    assert measured.repetitions >= 1
    assert measured.warmup >= 1
    assert 0 < measured.p50_ms <= measured.p95_ms
    assert f"{measured.repetitions} runs" in measured.protocol
    assert "1 thread, logits resized" in measured.protocol
    with pytest.raises(ValueError, match="threads is 0"):
        measure(model, (64, 64), backend="eager", threads=0, seconds=1.0, ends=[False])


def test_latency_measures_the_model():
    class Sleeps(nn.Module):
        def forward(self, x):
            time.sleep(0.02)
            return x[..., ::8, ::8]

    (measured,) = measure(Sleeps(), (64, 64), backend="eager", threads=1, seconds=0.5, ends=[False])
    assert 20 <= measured.p50_ms < 40  # a busy machine oversleeps


@pytest.mark.parametrize(
    "backend", ["eager", "onnxruntime", pytest.param("compiled", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("upsample", [False, True])
def test_backends_compute_the_network(backend, upsample):
    if reason := backends.explain_absence(backend):
        pytest.skip(reason)
    model, image = awaken(segmentor("lemore", (64, 64))).eval(), images(1, (64, 64))
    with torch.inference_mode():
        expected = model(image)
        if upsample:
            expected = nn.functional.interpolate(
                expected, (64, 64), mode="bilinear", align_corners=False
            )
        runs = backends.prepare(backend, fold(model, norms=True), image, [upsample], 1)
        found = runs[upsample]()
    found = torch.as_tensor(found[0]) if backend == "onnxruntime" else found
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.std().item())


def test_a_network_is_folded_for_the_device_that_it_is_timed_on(monkeypatch):
    """1x1 convolutions with dilation 2 are what a CPU computes faster, and a GPU does not."""
    timed = {}
    monkeypatch.setattr(
        profile, "measure", lambda m, *_, backend, **__: timed.update({backend: m}) or ()
    )
    job = replace(make_job("lemore", 7, (64, 64)), latency_backends=("eager", "cuda"))
    profile.profile_cell(job, job.cells[0], threads=1)
    points = {
        backend: {m.dilation for m in model.modules() if getattr(m, "kernel_size", 0) == (1, 1)}
        for backend, model in timed.items()
    }
    assert points["cuda"] == {(1, 1)} and (2, 2) in points["eager"]
    x = images(1, (64, 64))
    with torch.inference_mode():
        torch.testing.assert_close(timed["cuda"](x), timed["eager"](x), rtol=1e-3, atol=1e-5)


def test_a_backend_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="backend cuda: torch sees no CUDA device"):
        measure(nn.Identity(), (8, 8), backend="cuda", threads=1, seconds=1.0, ends=[False])


@pytest.mark.slow  # on a busy machine the kernel has told twice as much
@pytest.mark.skipif(not memory.CLEAR.exists(), reason="this system cannot set the peak back")
def test_peak_memory_is_what_a_run_allocates():
    class Hungry(nn.Module):
        def forward(self, x):
            return x + torch.ones(100 * 2**18).sum()  # 100 MiB of float32

    (measured,) = measure(Hungry(), (8, 8), backend="eager", threads=1, seconds=0.3, ends=[False])
    assert measured.peak_memory_mb == pytest.approx(100, abs=10)
    assert "VmHWM" in measured.memory


def test_profile_prints_the_tree_and_keeps_every_latency(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    beside: list[str] = []

    def watched(*args, **kwargs):
        beside.extend(thread.name for thread in threading.enumerate())
        return measure(*args, **kwargs)

    monkeypatch.setattr(profile, "measure", watched)
    options = ["--size", "64", "64", "--seconds", "0.1", "--upsample", "--depth", "2"]
    assert main(["profile", "--model", "lemore", *options, "--json", f"{tmp_path}/x.json"]) == 0
    printed = capsys.readouterr().out
    assert beside and "tracking" not in beside, "it would import MLflow on the measured cores"
    (cell,) = json.loads((tmp_path / "x.json").read_text())["cells"]
    assert [(one["backend"], one["upsample"]) for one in cell["latencies"]] == [
        ("eager", False),
        ("eager", True),
    ]
    assert cell["latency"] == cell["latencies"][0]
    rows = {line.split()[0]: line for line in printed.splitlines() if line.startswith(" ")}
    assert f"{cell['modules']['backbone.stages']['macs'] / 1e6:.3f}" in rows["stages"]
    assert f"{cell['modules']['decode_head']['params']:,}" in rows["decode_head"]
    assert "0.3" not in rows, "two levels"
    assert sum(rows["eager,"].count(word) for word in ("ms p50", "MiB at peak")) == 2


def test_segformer_equals_the_transformers_library():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    ours = segmentor("segformer_b0", classes=150).eval().double()
    theirs = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(num_labels=150)
    )
    theirs = theirs.eval().double()
    for name, module in theirs.named_modules():
        block = name.endswith(("layernorm_before", "layernorm_after"))
        if block or (name.count(".") == 3 and name.endswith(".layer_norm")):
            module.eps = 1e-6  # the original's; the library uses 1e-5 everywhere
    filled = {key: formula(key, value) for key, value in theirs.state_dict().items()}
    theirs.load_state_dict(filled)
    ours.load_state_dict({ours_key: make(filled) for ours_key, make in key_map(ours).items()})
    x = torch.randn(1, 3, 96, 128, dtype=torch.float64)
    with torch.inference_mode():
        expected = theirs(x).logits
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-9)
        single = ours.float()(x.float()).double()
    assert expected.std() > 0.1, "the comparison needs logits that vary"
    torch.testing.assert_close(single, expected, rtol=0, atol=5e-5)


def formula(key: str, value: torch.Tensor) -> torch.Tensor:
    """Values that depend on the key alone."""
    if not value.is_floating_point():
        return value
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
    if key.endswith("running_var"):
        return 1.0 + 0.3 * noise.tanh()
    if value.dim() == 1:
        return (1.0 if key.endswith("norm.weight") or "layernorm" in key else 0.0) + 0.1 * noise
    return noise / value[0].numel() ** 0.5


NAMES = [
    ("backbone.", "segformer."),
    ("embedding.projection", "patch_embeddings.proj"),
    ("embedding.norm", "patch_embeddings.layer_norm"),
    ("attention.norm", "attention.sequence_reduction.layer_norm"),
    ("attention.reduce", "attention.sequence_reduction.sequence_reduction"),
    ("norm1", "layernorm_before"),
    ("norm2", "layernorm_after"),
    ("attention.query", "attention.q_proj"),
    ("attention.output", "attention.o_proj"),
    ("feed_forward.expand", "mlp.fc1"),
    ("feed_forward.depthwise", "mlp.dwconv.dwconv"),
    ("feed_forward.reduce", "mlp.fc2"),
    ("fuse.conv", "linear_fuse"),
    ("fuse.bn", "batch_norm"),
]


def key_map(ours: nn.Module) -> dict:
    """Our key -> function of the library's state that gives its tensor."""
    made = {}
    for key, value in ours.state_dict().items():
        theirs = key
        for mine, other in NAMES:
            theirs = theirs.replace(mine, other)
        parts = theirs.split(".")
        if len(parts) == 5 and parts[3] == "norm":
            theirs = theirs.replace(".norm.", ".layer_norm.")
        if parts[1] == "projections":
            theirs = theirs.replace("projections", "linear_projections")
            theirs = theirs.replace(".weight", ".proj.weight").replace(".bias", ".proj.bias")
        if "key_value" in theirs:
            pair = [theirs.replace("key_value", side) for side in ("k_proj", "v_proj")]
            made[key] = lambda state, pair=pair: torch.cat([state[one] for one in pair])
        else:
            made[key] = lambda state, k=theirs, shape=value.shape: state[k].reshape(shape)
    return made


@pytest.mark.parametrize("convolutions", [True, False])
def test_the_protocol_of_a_gpu_names_tf32(monkeypatch, convolutions):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU X")
    times = latency.Times(0.1, 0.2, 3, 9)
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = convolutions
        text = latency.describe_protocol("cuda", (8, 8), 1, "logits", times)
    finally:
        torch.backends.cudnn.allow_tf32 = before
    state = "on" if convolutions else "off"
    assert f"GPU X, TF32 {state} in convolutions, off in matrix products, 1 thread" in text
    assert "TF32" not in latency.describe_protocol("eager", (8, 8), 1, "logits", times)


def test_runs_that_are_compared_take_turns():
    ran: list[str] = []
    runs = [lambda name=name: ran.append(name) for name in "abc"]
    times = latency.repeat(runs, 0.001)
    assert ran == list("abc") * (len(ran) // 3)
    rounds = {(one.warmup, one.repetitions) for one in times}
    assert rounds == {(times[0].warmup, len(ran) // 3 - 1 - times[0].warmup)}
    before = len(ran)
    measured = latency.measure_in_turn(dict(zip("abc", runs, strict=True)), 0.001)
    assert list(measured) == ["a", "b", "c"] and ran[before:] == list("abc") * (
        (len(ran) - before) // 3
    )
    assert all(one["p50_ms"] <= one["p95_ms"] and one["memory"] for one in measured.values())
