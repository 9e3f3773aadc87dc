"""What the paper states beside Table 1: one job an experiment, its figures, and the verdict on every claim."""


rule experiment:
    input:
        data=judged(images_for),
        samples=samples_for,
        trials=trials_for,
    output:
        result="results/experiments/{experiment}.json",
        record="results/experiments/{experiment}.run.json",
    log:
        "logs/experiment/{experiment}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        job=job_of("experiment"),
        config=config_of("experiment"),
        data=lambda wildcards, input: f"--data {input.data}" if input.data else "",
        samples=lambda wildcards, input: (
            f"--samples {input.samples}" if input.samples else ""
        ),
        trials=lambda wildcards, input: (
            f"--trials {input.trials}" if input.trials else ""
        ),
    shell:
        """
        python -m replicate {params.job} then experiment --params {params.config:q} --name {wildcards.experiment} {params.data} \
            {params.samples} {params.trials} --out {output.result:q} 2>&1 | tee -i {log:q}
        """


# The figures themselves are not declared: figures.json names those that there are.
rule draw:
    input:
        result=rules.experiment.output.result,
    output:
        figures="results/figures/{experiment}/figures.json",
        record="results/figures/{experiment}/figures.run.json",
    log:
        "logs/draw/{experiment}.log",
    conda:
        "../envs/replicate.yaml"
    params:
        job=job_of("draw"),
        folder=subpath(output.figures, parent=True),
    shell:
        """
        python -m replicate {params.job} then draw --result {input.result:q} --out {params.folder:q} 2>&1 | tee -i {log:q}
        """


rule claims:
    input:
        protocol="protocol.yaml",
        experiments=expand(
            rules.experiment.output.result, experiment=PLAN.params.experiments
        ),
    output:
        claims="results/claims.json",
        record="results/claims.run.json",
    log:
        "logs/claims.log",
    conda:
        "../envs/replicate.yaml"
    params:
        job=job_of("claims"),
        config=config_of("claims"),
    shell:
        """
        python -m replicate {params.job} then claims --params {params.config:q} --protocol {input.protocol:q} \
            --out {output.claims:q} {input.experiments:q} 2>&1 | tee -i {log:q}
        """


rule statements:
    input:
        rules.claims.output.claims,
        expand(rules.draw.output.figures, experiment=PLAN.params.experiments),
