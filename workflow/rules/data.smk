"""From the sources of a data set to its train, validation and test images."""


# The raw files themselves are not declared: Snakemake deletes declared outputs before a job, and a
# download that was broken off is to be resumed.
rule fetch:
    input:
        unpack(judged(files_of("fetch"))),
    output:
        **outputs_of("fetch"),
    log:
        "logs/fetch/{dataset}.log",
    retries: 2
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("fetch"),
    params:
        command=command_of("fetch"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule prepare:
    input:
        unpack(files_of("prepare")),
    output:
        **outputs_of("prepare"),
    log:
        "logs/prepare/{dataset}.log",
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("prepare"),
    params:
        command=command_of("prepare"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule data:
    input:
        every("summaries"),


if MIRROR is not None:

    # In a store there are no raw files: they are where the command was given.
    localrules:
        fetch,
        prepare,
