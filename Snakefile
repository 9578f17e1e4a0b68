from snakemake.utils import min_version

min_version("9.0")


# A configuration that names its run is complete; any other overrides the default.
if "run" not in config:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
        f"{RESULTS}/summary.json",


onsuccess:
    if Path(RESULTS, "report.html").exists():
        print(f"begin with {RESULTS}/report.html")
