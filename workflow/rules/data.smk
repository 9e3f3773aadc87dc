"""From the sources of a data set to its train, validation and test images."""


# The raw files themselves are not declared: Snakemake deletes declared outputs before a job, and a
# download that was broken off is to be resumed.
rule fetch:
    input:
        judged(),
    output:
        manifest="results/data/{dataset}.sources.json",
        record="results/data/{dataset}.sources.run.json",
    log:
        "logs/fetch/{dataset}.log",
    retries: 2
    conda:
        "../envs/replicate.yaml"
    params:
        job=job_of("fetch"),
        config=config_of("fetch"),
    shell:
        """
        python -m replicate {params.job} then fetch --params {params.config:q} --dataset {wildcards.dataset} \
            --out {output.manifest:q} 2>&1 | tee -i {log:q}
        """


rule prepare:
    input:
        manifest=rules.fetch.output.manifest,
    output:
        data="results/data/{dataset}.safetensors",
        summary="results/data/{dataset}.json",
        record="results/data/{dataset}.run.json",
    log:
        "logs/prepare/{dataset}.log",
    conda:
        "../envs/replicate.yaml"
    params:
        job=job_of("prepare"),
        config=config_of("prepare"),
    shell:
        """
        python -m replicate {params.job} then prepare --params {params.config:q} --dataset {wildcards.dataset} \
            --manifest {input.manifest:q} --out {output.data:q} 2>&1 | tee -i {log:q}
        """


rule data:
    input:
        expand(rules.prepare.output.summary, dataset=PLAN.params.datasets),
