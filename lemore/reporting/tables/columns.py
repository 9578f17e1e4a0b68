"""The columns of a printed table: their headers, in their order, and what is said where."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """How a column is printed.

    decimals: of a measured number; None: text as it is. group, short: the header in two lines,
    for where columns that belong together stand under one heading.
    """

    header: str
    decimals: int | None = None
    group: str = ""
    short: str = ""


PRINTED = {
    "dataset": Column("Dataset"),
    "model": Column("Model"),
    "encoder": Column("Encoder"),
    "miou": Column("mIoU (%)", 2, "mIoU (%)", "measured"),
    "miou_paper": Column("mIoU published", None, "mIoU (%)", "publ."),
    "miou_difference": Column("mIoU difference", None, "mIoU (%)", "diff."),
    "top1": Column("Top-1 (%)", 2, "Top-1 (%)", "measured"),
    "top1_paper": Column("Top-1 published", None, "Top-1 (%)", "publ."),
    "top1_difference": Column("Top-1 difference", None, "Top-1 (%)", "diff."),
    "top5": Column("Top-5 (%)", 2),
    "gmacs": Column("GMACs", 2, "GMACs", "counted"),
    "gmacs_fvcore": Column("GMACs fvcore", 2, "GMACs", "fvcore"),
    "gflops_paper": Column("GFLOPs published", None, "GMACs", "publ."),
    "gmacs_difference": Column("GMACs difference", None, "GMACs", "diff."),
    "params_m": Column("Params (M)", 2, "Params (M)", "counted"),
    "params_m_with_aux": Column("Params with aux (M)", 2, "Params (M)", "with aux"),
    "params_m_paper": Column("Params published (M)", None, "Params (M)", "publ."),
    "params_difference": Column("Params difference (M)", None, "Params (M)", "diff."),
    "latency_ms_p50": Column("Latency p50 (ms)", 1, "Latency (ms)", "p50"),
    "latency_ms_p95": Column("Latency p95 (ms)", 1, "Latency (ms)", "p95"),
    "latency_ms_paper": Column("Latency published (ms)", None, "Latency (ms)", "publ."),
    "seeds": Column("Seeds"),
    "profile_size": Column("Costs at"),
    "train_crop": Column("Train crop"),
    "num_classes": Column("Classes"),
    "device": Column("Device"),
    "published_in": Column("Published in"),
}
# the paper's Table 6 has another measure in this column
DETECTION = {"miou_paper": Column("mAP published"), "gflops_paper": Column("GFLOPs published")}
FACTS = ("seeds", "profile_size", "train_crop", "num_classes", "device")
COUNTS = ("seeds", "num_classes")
# where a remark is put that begins so; all others stand at the model
PLACES = {
    "paper's mIoU": "miou_paper",
    "mIoU published elsewhere": "miou_paper",
    "mAP (column": "miou_paper",
    "paper's GFLOPs": "gflops_paper",
    "paper's params": "params_m_paper",
    "paper's latency": "latency_ms_paper",
    "top-5": "top5",
    "latency unsteady": "latency_ms_p50",
    "better than": "miou",
    "not significantly better than": "miou",
}
WITH_AUX = "paper's params include the training-only auxiliary head"
