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
        audits=audits(),
        template=[
            "lemore/reporting/report.html.j2",
            "lemore/reporting/page.css.j2",
        ],
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
        " --pretrainings {input.pretrainings} --audits {input.audits} --output {output} > {log} 2>&1"


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
