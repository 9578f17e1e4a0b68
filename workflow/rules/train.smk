def pretraining_of(wildcards):
    """run.json of the backbone's pretraining, if it starts from one."""
    backbone = experiment.model(wildcards.model).backbone
    if experiment.init(backbone) == "pretrain":
        return f"{RESULTS}/pretrain/{backbone}/run.json"
    return []


def weights_of_pretraining(wildcards):
    """Must exist; that it is the right file, run.json and its checksum say."""
    return [
        ancient(str(Path(p).with_name("weights.pt")))
        for p in [pretraining_of(wildcards)]
        if p
    ]


def pretrained_option(wildcards, input):
    return f"--pretrained {input.pretrained}" if input.pretrained else ""


def log_model_option(wildcards):
    return "--log-model" if experiment.config.log_model else ""


rule pretrain:
    input:
        config=lambda wildcards: experiment.pretrain_slice(wildcards.backbone),
        data=f"{DATA}/{experiment.config.pretrain}/digest.json",
        code=lambda wildcards: experiment.code("pretrain", backbone=wildcards.backbone),
    output:
        f"{RESULTS}/pretrain/{{backbone}}/run.json",
        f"{RESULTS}/pretrain/{{backbone}}/weights.pt",
    log:
        f"logs/{experiment.config.run}/pretrain/{{backbone}}.log",
    benchmark:
        f"benchmarks/{experiment.config.run}/pretrain/{{backbone}}.tsv"
    conda:
        "../envs/lemore.yaml"
    threads: lambda wildcards: experiment.pretrain_threads(wildcards.backbone)
    priority: 20
    resources:
        ray=experiment.config.ray.mode,
        workers=experiment.config.ray.workers,
        gpus=str(experiment.config.ray.gpus),
        checkpoints=lambda wildcards: f"{RESULTS}/checkpoints/pretrain/{wildcards.backbone}",
    params:
        model=log_model_option,
    shell:
        "lemore pretrain --config {input.config} --data $(dirname {input.data})"
        " --output $(dirname {output[0]}) --checkpoints {resources.checkpoints} {params.model}"
        " --ray {resources.ray} --workers {resources.workers} --gpus {resources.gpus}"
        " > {log} 2>&1"


rule finetune:
    input:
        config=lambda wildcards: experiment.finetune_slice(
            wildcards.dataset, wildcards.model
        ),
        data=f"{DATA}/{{dataset}}/digest.json",
        pretrained=pretraining_of,
        weights=weights_of_pretraining,
        code=lambda wildcards: experiment.code("finetune", model=wildcards.model),
    output:
        f"{RESULTS}/finetune/{{dataset}}/{{model}}/{{seed}}/run.json",
        f"{RESULTS}/finetune/{{dataset}}/{{model}}/{{seed}}/weights.pt",
    log:
        f"logs/{experiment.config.run}/finetune/{{dataset}}/{{model}}/{{seed}}.log",
    benchmark:
        f"benchmarks/{experiment.config.run}/finetune/{{dataset}}/{{model}}/{{seed}}.tsv"
    conda:
        "../envs/lemore.yaml"
    threads: threads_of
    priority: 10
    resources:
        ray=experiment.config.ray.mode,
        workers=experiment.config.ray.workers,
        gpus=str(experiment.config.ray.gpus),
        checkpoints=lambda w: f"{RESULTS}/checkpoints/finetune/{w.dataset}/{w.model}/{w.seed}",
    params:
        pretrained=pretrained_option,
        model=log_model_option,
    shell:
        "lemore finetune --config {input.config} --data $(dirname {input.data})"
        " --seed {wildcards.seed} {params.pretrained} --output $(dirname {output[0]})"
        " --checkpoints {resources.checkpoints} {params.model}"
        " --ray {resources.ray} --workers {resources.workers} --gpus {resources.gpus}"
        " > {log} 2>&1"
