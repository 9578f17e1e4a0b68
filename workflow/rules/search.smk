# Learning rate and schedule of every model of the run: `snakemake search`. Nothing depends on it;
# a person decides whether to put its recommendation into the recipe. It judges by mIoU, so detectors
# have none.
rule search:
    input:
        [
            f"{RESULTS}/search/{d}/{m}.json"
            for d, m in experiment.pairs
            if experiment.model(m).task == "segmentation"
        ],


rule search_recipe:
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
            "search",
            model=wildcards.model,
            recipe=experiment.recipe(wildcards.dataset, wildcards.model)[0],
        ),
    output:
        verdict=f"{RESULTS}/search/{{dataset}}/{{model}}.json",
        recipe=f"{RESULTS}/search/{{dataset}}/{{model}}.yaml",
    log:
        f"logs/{experiment.config.run}/search/{{dataset}}/{{model}}.log",
    benchmark:
        f"logs/benchmarks/{experiment.config.run}/search/{{dataset}}/{{model}}.tsv"
    conda:
        "../envs/lemore.yaml"
    threads: 1 if RAY.gpus else count_cores()
    resources:
        gpu_slots=SLOTS,
    params:
        pretrained=pretrained_option,
        split=lambda wildcards: experiment.test_split(wildcards.dataset),
        trials=experiment.config.search.trials,
        share=experiment.config.search.share,
        gpus=RAY.gpus,
    shell:
        'lemore search --config {input.config:q} --data "$(dirname {input.data:q})" {params.pretrained}'
        " --test-split {params.split:q} --trials {params.trials:q} --share {params.share:q}"
        " --gpus {params.gpus:q} --output {output.verdict:q} > {log:q} 2>&1"
