rule scenes:
    input:
        config=lambda wildcards: write_prepare_job(experiment, wildcards.dataset),
        code=lambda wildcards: code_of("scenes"),
    output:
        "resources/scenes/{dataset}/digest.json",
    log:
        "logs/data/scenes/{dataset}.log",
    benchmark:
        "logs/benchmarks/data/scenes/{dataset}.tsv"
    priority: 30
    conda:
        "../envs/lemore.yaml"
    shell:
        'lemore scenes --dataset-config {input.config:q} --output "$(dirname {output:q})" > {log:q} 2>&1'


rule fetch:
    input:
        config=lambda wildcards: write_prepare_job(experiment, wildcards.dataset),
        archives=archives_source,
        placed=placed_files,
    output:
        "resources/fetched/{dataset}.json",
    log:
        "logs/data/fetch/{dataset}.log",
    benchmark:
        "logs/benchmarks/data/fetch/{dataset}.tsv"
    priority: 30
    conda:
        "../envs/lemore.yaml"
    params:
        mirror=mirror_option,
        archives=ARCHIVES,
    shell:
        "lemore fetch --dataset-config {input.config:q} --archives-dir {params.archives:q} {params.mirror}"
        " --output {output:q} > {log:q} 2>&1"


rule prepare:
    input:
        config=lambda wildcards: write_prepare_job(experiment, wildcards.dataset),
        fetched="resources/fetched/{dataset}.json",
        labels=lambda wildcards: write_labels(experiment, wildcards.dataset),
        code=lambda wildcards: code_of("prepare", dataset=wildcards.dataset),
    output:
        digest=f"{DATA}/{{dataset}}/digest.json",
        audit=f"{DATA}/{{dataset}}/audit.json",
        colors=f"{DATA}/{{dataset}}/colors.json",
    log:
        "logs/data/prepare/{dataset}.log",
    benchmark:
        "logs/benchmarks/data/prepare/{dataset}.tsv"
    priority: 30
    conda:
        "../envs/lemore.yaml"
    shell:
        "lemore prepare --dataset-config {input.config:q} --fetched {input.fetched:q}"
        ' --output "$(dirname {output.digest:q})" > {log:q} 2>&1'


# The findings of prepare, as a page.
rule audit:
    input:
        audit=f"{DATA}/{{dataset}}/audit.json",
        colors=f"{DATA}/{{dataset}}/colors.json",
        template=[
            packaged("reporting/pages/audit.html.j2"),
            packaged("reporting/pages/page.css.j2"),
        ],
        code=lambda wildcards: code_of("audit"),
    output:
        report(
            f"{RESULTS}/audit/{{dataset}}.html",
            caption="../report/audit.rst",
            category="Data",
            labels={"dataset": "{dataset}"},
        ),
    log:
        f"logs/{experiment.config.run}/audit/{{dataset}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/audit/{{dataset}}.tsv"
    conda:
        "../envs/lemore.yaml"
    shell:
        'lemore audit --data "$(dirname {input.audit:q})" --output {output:q} > {log:q} 2>&1'
