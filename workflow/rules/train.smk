"""Training: one job per data set, model and block of seeds."""


# Checkpoints lie below .replicate/, which no rule declares: Snakemake deletes declared outputs before a job.
rule train:
    input:
        unpack(files_of("train")),
    output:
        **outputs_of("train"),
    log:
        "logs/train/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        **needs("train"),
    params:
        command=command_of("train"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule training:
    input:
        every("trainings"),
