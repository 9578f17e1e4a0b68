# Tests which models are better than which, where two have several seeds each.
rule significance:
    input:
        evaluations=lambda wildcards: evaluations(wildcards.dataset),
        code=lambda wildcards: code_of("significance"),
    output:
        report(
            f"{RESULTS}/tables/{{dataset}}_significance.csv",
            caption="../report/significance.rst",
            category="Tables",
            labels={"table": "{dataset}, significance"},
        ),
    log:
        f"logs/{experiment.config.run}/significance/{{dataset}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/significance/{{dataset}}.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        video=video_options,
    shell:
        "lemore significance --evaluations {input.evaluations:q} {params.video} --output {output:q}"
        " > {log:q} 2>&1"


rule table:
    input:
        evaluations=evaluations(),
        profiles=profiles(),
        counts=counts(),
        deployments=lambda wildcards: (
            deployments() if wildcards.table == "deploy" else []
        ),
        pretrainings=pretrainings(),
        significance=significance(),
        paper=packaged("reporting/paper.csv"),
        code=lambda wildcards: code_of("table"),
    output:
        report(
            f"{RESULTS}/tables/{{table}}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        multiext(f"{RESULTS}/tables/{{table}}", ".md", ".tex"),
    log:
        f"logs/{experiment.config.run}/table/{{table}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/table/{{table}}.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        run=experiment.config.run,
        prefix=lambda wildcards: f"{RESULTS}/tables/{wildcards.table}",
        title=lambda wildcards: experiment.title(wildcards.table),
    shell:
        "lemore table {wildcards.table:q} --run {params.run:q} --dataset-title={params.title:q}"
        " --evaluations {input.evaluations:q} --profiles {input.profiles:q} --counts {input.counts:q}"
        " --pretrainings {input.pretrainings:q} --significance {input.significance:q}"
        " --deployments {input.deployments:q}"
        " --output {params.prefix:q} > {log:q} 2>&1"


rule figure:
    input:
        unpack(figure_input),
        code=lambda wildcards: code_of("figure"),
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
        f"logs/benchmarks/{experiment.config.run}/figure/{{kind}}_{{dataset}}.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        options=figure_options,
        prefix=lambda wildcards: f"{RESULTS}/figures/{wildcards.kind}_{wildcards.dataset}",
    shell:
        "lemore figure {wildcards.kind:q} {params.options} --output {params.prefix:q} > {log:q} 2>&1"


# One job draws all figures of a dataset's results: a process takes longer to start than to draw.
rule result_figures:
    input:
        evaluations=lambda wildcards: evaluations(wildcards.dataset),
        trainings=lambda wildcards: trainings(wildcards.dataset),
        code=lambda wildcards: code_of("figure"),
    output:
        [
            report(
                f"{RESULTS}/figures/{kind}_{{dataset}}.png",
                caption="../report/figure.rst",
                category="Figures",
                labels={"figure": kind, "dataset": "{dataset}"},
            )
            for kind in (*LABEL_FIGURES, "curves")
        ],
    log:
        f"logs/{experiment.config.run}/result_figures/{{dataset}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/result_figures/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=any_of(reported.list_segmented(experiment)),
    conda:
        "../envs/lemore.yaml"
    params:
        folder=lambda wildcards: f"{RESULTS}/figures",
    shell:
        "lemore figure results --evaluations {input.evaluations:q} --trainings {input.trainings:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


# Of detectors the same command draws the curves alone.
use rule result_figures as detector_figures with:
    output:
        report(
            f"{RESULTS}/figures/curves_{{dataset}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "curves", "dataset": "{dataset}"},
        ),
    wildcard_constraints:
        dataset=any_of(reported.list_detected(experiment)),


# LeMoRe's feed-forward network, drawn from the network itself.
rule diagram:
    input:
        config=lambda wildcards: write_diagram_job(experiment, DIAGRAMMED),
        code=lambda wildcards: code_of(
            "diagram", backbone=experiment.model(DIAGRAMMED).backbone
        ),
    output:
        report(
            f"{RESULTS}/figures/feed_forward.png",
            caption="../report/diagram.rst",
            category="Figures",
            labels={"figure": "feed_forward", "dataset": ""},
        ),
    log:
        f"logs/{experiment.config.run}/diagram.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/diagram.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        prefix=lambda wildcards: f"{RESULTS}/figures/feed_forward",
    shell:
        "lemore diagram --config {input.config:q} --output {params.prefix:q} > {log:q} 2>&1"


rule report:
    input:
        tables=tables(),
        figures=figures(),
        evaluations=evaluations(),
        profiles=profiles(),
        deployments=deployments(),
        pretrainings=pretrainings(),
        trainings=[
            run
            for dataset in experiment.config.trainings
            for run in trainings(dataset)
        ],
        data=[
            f"{DATA}/{dataset}/{file}"
            for dataset in experiment.config.comparisons
            for file in ("digest.json", "colors.json")
        ],
        audits=audits(),
        template=[packaged(f"reporting/pages/{name}") for name in REPORT_PARTS],
        paper=packaged("reporting/paper.csv"),
        code=lambda wildcards: code_of("report"),
    output:
        f"{RESULTS}/report.html",
    log:
        f"logs/{experiment.config.run}/report.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/report.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        run=experiment.config.run,
        data=lambda wildcards: DATA,
        titles=lambda wildcards: [
            f"{d}={experiment.title(d)}" for d in experiment.config.trainings
        ],
    shell:
        "lemore report --run {params.run:q} --dataset-titles {params.titles:q} --tables {input.tables:q} --figures {input.figures:q}"
        " --evaluations {input.evaluations:q} --profiles {input.profiles:q} --deployments {input.deployments:q}"
        " --pretrainings {input.pretrainings:q} --trainings {input.trainings:q} --data-dir {params.data:q}"
        " --audits {input.audits:q} --output {output:q} > {log:q} 2>&1"


# One MLflow run for the whole, with its tables and figures.
rule summary:
    input:
        report=f"{RESULTS}/report.html",
        tables=tables() + significance(),
        figures=figures(),
        evaluations=evaluations(),
    output:
        f"{RESULTS}/summary.json",
    log:
        f"logs/{experiment.config.run}/summary.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/summary.tsv"
    conda:
        "../envs/lemore.yaml"
    params:
        run=experiment.config.run,
    shell:
        "lemore summary --run {params.run:q} --evaluations {input.evaluations:q}"
        " --artifacts {input.report:q} {input.tables:q} {input.figures:q} --json {output:q} > {log:q} 2>&1"
