"""Training: one job per data set, model and block of seeds."""


# Checkpoints lie below .replicate/, which no rule declares: Snakemake deletes declared outputs before a job.
rule train:
    input:
        data=rules.prepare.output.data,
    output:
        weights="results/train/{dataset}/{model}/{block}.safetensors",
        training="results/train/{dataset}/{model}/{block}.json",
        record="results/train/{dataset}/{model}/{block}.run.json",
    log:
        "logs/train/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        job=job_of("train"),
        config=config_of("train"),
    shell:
        """
        python -m replicate {params.job} then train --params {params.config:q} --dataset {wildcards.dataset} \
            --model {wildcards.model} --block {wildcards.block} --data {input.data:q} \
            --out {output.weights:q} 2>&1 | tee -i {log:q}
        """


rule training:
    input:
        of_every_run(rules.train.output.training),
