"""Draw figures of a run as PNG and PDF: from its tables, or from one dataset's results.

Examples:
  lemore figure cost --tables results/scenes/tables/ade20k_scenes.csv --output cost
  lemore figure results --evaluations results/scenes/evaluate/ade20k_scenes/*/0.json \\
    --output figures
"""

import argparse

from lemore.stages import figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = "cost|ablation|comparison|deploy|results"
    kinds = parser.add_subparsers(dest="kind", required=True, metavar=names)
    costs = kinds.add_parser("cost", help="mIoU against parameters, MACs and latency")
    costs.add_argument("--evaluations", nargs="*", default=[], metavar="JSON", help="for the names")
    parts = kinds.add_parser("ablation", help="what each of LeMoRe's parts adds")
    for kind in (costs, parts):
        kind.add_argument("--tables", required=True, metavar="CSV", help="table of `lemore table`")
    figures = "IoU by class and confusion of one dataset, curves of its trainings"
    results = kinds.add_parser("results", help=figures)
    results.add_argument("--trainings", nargs="*", default=[], metavar="JSON", help="run.json")
    formats = kinds.add_parser("deploy", help="mIoU against latency of deployed formats")
    formats.add_argument("--dataset", required=True, help="of the deployments to draw")
    formats.add_argument("--deployments", required=True, nargs="+", metavar="JSON")
    compare = kinds.add_parser("comparison", help="image, ground truth, predictions")
    compare.add_argument("--data", required=True, metavar="DIR", help="prepared dataset")
    compare.add_argument("--images", required=True, nargs="+", action="extend", metavar="NAME")
    compare.add_argument("--split", required=True)
    compare.add_argument("--models", required=True, nargs="+", metavar="MODEL")
    for kind in (results, compare):
        kind.add_argument("--evaluations", required=True, nargs="+", metavar="JSON")
    for kind in (costs, parts, compare, formats):
        kind.add_argument("--output", required=True, metavar="PREFIX", help="of .png and .pdf")
    results.add_argument("--output", required=True, metavar="DIR", help="folder of the figures")


def run(args: argparse.Namespace) -> int:
    if args.kind == "cost":
        figure.draw_cost(args.tables, args.evaluations, args.output)
    elif args.kind == "ablation":
        figure.draw_ablation(args.tables, args.output)
    elif args.kind == "deploy":
        figure.draw_deployments(args.deployments, args.dataset, args.output)
    elif args.kind == "results":
        figure.draw_results(args.evaluations, args.trainings, args.output)
    else:
        figure.draw_comparison(
            args.evaluations, args.models, args.data, args.split, args.images, args.output
        )
    return 0
