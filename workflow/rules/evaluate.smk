rule evaluate:
    input:
        config=lambda wildcards: write_evaluate_job(
            experiment, wildcards.dataset, wildcards.model
        ),
        data=f"{DATA}/{{dataset}}/digest.json",
        trained=f"{RESULTS}/finetune/{{dataset}}/{{model}}/{{seed}}/run.json",
        weights=ancient(f"{RESULTS}/finetune/{{dataset}}/{{model}}/{{seed}}/weights.pt"),
        code=lambda wildcards: code_of("evaluate", model=wildcards.model),
    output:
        f"{RESULTS}/evaluate/{{dataset}}/{{model}}/{{seed}}.json",
    log:
        f"logs/{experiment.config.run}/evaluate/{{dataset}}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/evaluate/{{dataset}}/{{model}}/{{seed}}.tsv"
    # The results of a training come before further trainings.
    priority: 25
    conda:
        "../envs/lemore.yaml"
    threads: evaluate_threads
    resources:
        gpu_slots=1 if RAY.gpus else 0,
        ray=RAY.mode if RAY.gpus else "none",
        gpus=str(RAY.gpus),
    params:
        data=lambda wildcards, input: Path(input.data).parent.parent,
    shell:
        "lemore evaluate --checkpoint {input.weights:q} --dataset {wildcards.dataset:q}"
        " --data-dir {params.data:q} --config {input.config:q} --threads {threads} --json {output:q}"
        " --ray {resources.ray:q} --gpus {resources.gpus:q}"
        " > {log:q} 2>&1"


# It runs alone on the machine and its GPUs, since it measures time.
rule profile:
    input:
        config=lambda wildcards: write_profile_job(experiment, wildcards.model),
        code=lambda wildcards: code_of("profile", model=wildcards.model),
    output:
        f"{RESULTS}/profile/{{model}}.json",
    log:
        f"logs/{experiment.config.run}/profile/{{model}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/profile/{{model}}.tsv"
    conda:
        "../envs/lemore.yaml"
    threads: count_cores()
    resources:
        gpu_slots=SLOTS,
    shell:
        "lemore profile --config {input.config:q} --json {output:q} > {log:q} 2>&1"


# Parameters and MACs of models in the paper's tables without a profile, without any weights.
rule count:
    input:
        config=lambda wildcards: write_count_job(experiment),
        code=lambda wildcards: count_code(),
    output:
        f"{RESULTS}/counts.json",
    log:
        f"logs/{experiment.config.run}/count.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/count.tsv"
    conda:
        "../envs/lemore.yaml"
    shell:
        "lemore count --config {input.config:q} --json {output:q} > {log:q} 2>&1"
