rule table:
    input:
        evaluations=evaluations(),
        profiles=profiles(),
        pretrainings=pretrainings(),
        paper="lemore/reporting/paper.csv",
        code=experiment.code("table"),
    output:
        report(
            multiext(f"{RESULTS}/tables/{{table}}", ".csv", ".md", ".tex"),
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        f"logs/{experiment.config.run}/table/{{table}}.log",
    benchmark:
        f"benchmarks/{experiment.config.run}/table/{{table}}.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        run=experiment.config.run,
        prefix=lambda wildcards: f"{RESULTS}/tables/{wildcards.table}",
        title=lambda wildcards: experiment.title(wildcards.table),
    shell:
        "lemore table {wildcards.table} --run {params.run} --dataset-title '{params.title}'"
        " --evaluations {input.evaluations} --profiles {input.profiles}"
        " --pretrainings {input.pretrainings} --output {params.prefix} > {log} 2>&1"


def figure_input(wildcards):
    """What a figure is made from: a table, or a dataset's evaluations."""
    dataset = wildcards.dataset
    if wildcards.kind == "cost":
        return {
            "table": f"{RESULTS}/tables/{dataset}.csv",
            "evaluations": evaluations(dataset),
            "paper": "lemore/reporting/paper.csv",
        }
    if wildcards.kind == "classes":
        return {"evaluations": evaluations(dataset)}
    models = experiment.config.comparisons[dataset].models
    return {
        "evaluations": evaluations(dataset, models),
        "data": f"{DATA}/{dataset}/digest.json",
    }


def figure_options(wildcards, input):
    if wildcards.kind == "cost":
        return f"--tables {input.table} --evaluations {input.evaluations}"
    if wildcards.kind == "classes":
        return f"--evaluations {input.evaluations}"
    dataset = wildcards.dataset
    chosen = experiment.config.comparisons[dataset]
    return (
        f"--data {DATA}/{dataset} --labels {experiment.dataset(dataset).labels}"
        f" --split {experiment.test_split(dataset)} --images {' '.join(chosen.images)}"
        f" --models {' '.join(chosen.models)} --evaluations {input.evaluations}"
    )


rule figure:
    input:
        unpack(figure_input),
        code=experiment.code("figure"),
    output:
        report(
            f"{RESULTS}/figures/{{kind}}_{{dataset}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{kind}", "dataset": "{dataset}"},
        ),
    log:
        f"logs/{experiment.config.run}/figure/{{kind}}_{{dataset}}.log",
    benchmark:
        f"benchmarks/{experiment.config.run}/figure/{{kind}}_{{dataset}}.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        options=figure_options,
        prefix=lambda wildcards: f"{RESULTS}/figures/{wildcards.kind}_{wildcards.dataset}",
    shell:
        "lemore figure {wildcards.kind} {params.options} --output {params.prefix} > {log} 2>&1"


rule report:
    input:
        tables=tables(),
        figures=figures(),
        evaluations=evaluations(),
        profiles=profiles(),
        pretrainings=pretrainings(),
        template="lemore/reporting/report.html.j2",
        paper="lemore/reporting/paper.csv",
        code=experiment.code("report"),
    output:
        f"{RESULTS}/report.html",
    log:
        f"logs/{experiment.config.run}/report.log",
    benchmark:
        f"benchmarks/{experiment.config.run}/report.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        run=experiment.config.run,
        titles=lambda wildcards: [
            f"'{d}={experiment.title(d)}'" for d in experiment.config.trainings
        ],
    shell:
        "lemore report --run {params.run} --dataset-titles {params.titles} --tables {input.tables} --figures {input.figures}"
        " --evaluations {input.evaluations} --profiles {input.profiles}"
        " --pretrainings {input.pretrainings} --output {output} > {log} 2>&1"


# One MLflow run for the whole, with its tables and figures.
rule summary:
    input:
        report=f"{RESULTS}/report.html",
        tables=tables(),
        figures=figures(),
        evaluations=evaluations(),
    output:
        f"{RESULTS}/summary.json",
    log:
        f"logs/{experiment.config.run}/summary.log",
    benchmark:
        f"benchmarks/{experiment.config.run}/summary.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        run=experiment.config.run,
    shell:
        "lemore summary --run {params.run} --evaluations {input.evaluations}"
        " --artifacts {input.report} {input.tables} {input.figures} --json {output} > {log} 2>&1"
