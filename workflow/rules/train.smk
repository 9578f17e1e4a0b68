rule pretrain:
    input:
        config=lambda wildcards: write_pretrain_job(experiment, wildcards.backbone),
        data=f"{DATA}/{experiment.config.pretrain}/digest.json",
        code=lambda wildcards: code_of("pretrain", backbone=wildcards.backbone),
    output:
        run=f"{RESULTS}/pretrain/{{backbone}}/run.json",
        weights=f"{RESULTS}/pretrain/{{backbone}}/weights.pt",
    log:
        f"logs/{experiment.config.run}/pretrain/{{backbone}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/pretrain/{{backbone}}.tsv"
    priority: 20
    conda:
        "../envs/lemore.yaml"
    threads: lambda wildcards: count_threads(experiment.pretrain_recipe(wildcards.backbone))
    resources:
        gpu_slots=RAY.workers if RAY.gpus else 0,
        ray=RAY.mode,
        workers=RAY.workers,
        gpus=str(RAY.gpus),
        checkpoints=lambda wildcards: f"{RESULTS}/checkpoints/pretrain/{wildcards.backbone}",
    params:
        model=log_model_option,
    shell:
        'lemore pretrain --config {input.config:q} --data "$(dirname {input.data:q})"'
        ' --output "$(dirname {output.run:q})" --checkpoints {resources.checkpoints:q} {params.model}'
        " --ray {resources.ray:q} --workers {resources.workers:q} --gpus {resources.gpus:q}"
        " > {log:q} 2>&1"


rule finetune:
    input:
        config=lambda wildcards: write_finetune_job(
            experiment, wildcards.dataset, wildcards.model
        ),
        data=f"{DATA}/{{dataset}}/digest.json",
        init=lambda wildcards: write_init(experiment, wildcards.model),
        teacher=lambda wildcards: write_teacher(
            experiment, wildcards.dataset, wildcards.model
        ),
        pretrained=pretraining_of,
        weights=weights_of_pretraining,
        code=lambda wildcards: code_of(
            "finetune",
            model=wildcards.model,
            recipe=experiment.recipe(wildcards.dataset, wildcards.model)[0],
        ),
    output:
        run=f"{RESULTS}/finetune/{{dataset}}/{{model}}/{{seed}}/run.json",
        weights=f"{RESULTS}/finetune/{{dataset}}/{{model}}/{{seed}}/weights.pt",
    log:
        f"logs/{experiment.config.run}/finetune/{{dataset}}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/finetune/{{dataset}}/{{model}}/{{seed}}.tsv"
    priority: 10
    conda:
        "../envs/lemore.yaml"
    threads: finetune_threads
    resources:
        gpu_slots=RAY.workers if RAY.gpus else 0,
        ray=RAY.mode,
        workers=RAY.workers,
        gpus=str(RAY.gpus),
        checkpoints=lambda w: f"{RESULTS}/checkpoints/finetune/{w.dataset}/{w.model}/{w.seed}",
    params:
        pretrained=pretrained_option,
        # No input: a training does not depend on it, but checks what it needs of the data.
        evaluation=lambda wildcards: write_evaluate_job(
            experiment, wildcards.dataset, wildcards.model
        ),
        model=log_model_option,
    shell:
        'lemore finetune --config {input.config:q} --data "$(dirname {input.data:q})"'
        ' --seed {wildcards.seed:q} {params.pretrained} --output "$(dirname {output.run:q})"'
        " --checkpoints {resources.checkpoints:q} {params.model} --evaluation {params.evaluation:q}"
        " --ray {resources.ray:q} --workers {resources.workers:q} --gpus {resources.gpus:q}"
        " > {log:q} 2>&1"
