# Told before anything is trained, since a deployment leaves these formats out.
if workflow.is_main_process:
    for format, reason in experiment.explain_absences().items():
        print(f"deployments: {format} is left out: {reason}", file=sys.stderr)


# It runs alone on the machine, as a profile does, since it measures time.
rule deploy:
    input:
        config=lambda wildcards: write_deploy_job(
            experiment, wildcards.dataset, wildcards.model
        ),
        data=f"{DATA}/{{dataset}}/digest.json",
        trained=lambda wildcards: first_training(wildcards, "run.json"),
        weights=lambda wildcards: ancient(first_training(wildcards, "weights.pt")),
        code=lambda wildcards: code_of("deploy", model=wildcards.model),
    output:
        f"{RESULTS}/deploy/{{dataset}}/{{model}}.json",
    log:
        f"logs/{experiment.config.run}/deploy/{{dataset}}/{{model}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/deploy/{{dataset}}/{{model}}.tsv"
    conda:
        "../envs/lemore.yaml"
    threads: count_cores()
    resources:
        gpu_slots=SLOTS,
    params:
        data=lambda wildcards, input: Path(input.data).parent,
        folder=lambda wildcards, output: Path(output[0]).with_suffix(""),
    shell:
        "lemore deploy --config {input.config:q} --checkpoint {input.weights:q} --data {params.data:q}"
        " --output {params.folder:q} --json {output:q} > {log:q} 2>&1"
