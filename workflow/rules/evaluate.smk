"""From trained weights to the log-likelihood of the test images, and to Table 1."""

import json


# Three stages in one job: each takes a second or two where the models are small, which is what a start of Python and
# torch takes too.
rule measure:
    input:
        weights=rules.train.output.weights,
        data=rules.prepare.output.data,
    output:
        samples="results/samples/{dataset}/{model}/{block}.safetensors",
        samples_record="results/samples/{dataset}/{model}/{block}.run.json",
        bandwidth="results/bandwidth/{dataset}/{model}/{block}.json",
        bandwidth_record="results/bandwidth/{dataset}/{model}/{block}.run.json",
        evaluation="results/evaluation/{dataset}/{model}/{block}.json",
        images="results/evaluation/{dataset}/{model}/{block}.safetensors",
        evaluation_record="results/evaluation/{dataset}/{model}/{block}.run.json",
    log:
        "logs/measure/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        job=job_of("measure"),
        sample=config_of("sample"),
        bandwidth=config_of("bandwidth"),
        evaluate=config_of("evaluate"),
    shell:
        """
        python -m replicate {params.job} then \
            sample --params {params.sample:q} --weights {input.weights:q} --data {input.data:q} \
            --out {output.samples:q} \
            then bandwidth --params {params.bandwidth:q} --samples {output.samples:q} --data {input.data:q} \
            --out {output.bandwidth:q} \
            then evaluate --params {params.evaluate:q} --samples {output.samples:q} \
            --bandwidth {output.bandwidth:q} --data {input.data:q} --out {output.evaluation:q} \
            2>&1 | tee -i {log:q}
        """


# Only for the rows that the parameters name under `samplers`.
rule samplers:
    input:
        weights=rules.train.output.weights,
        data=rules.prepare.output.data,
    output:
        samplers="results/samplers/{dataset}/{model}/{block}.json",
        record="results/samplers/{dataset}/{model}/{block}.run.json",
    log:
        "logs/samplers/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        job=job_of("samplers"),
        config=config_of("samplers"),
    shell:
        """
        python -m replicate {params.job} then samplers --params {params.config:q} --weights {input.weights:q} \
            --data {input.data:q} --out {output.samplers:q} 2>&1 | tee -i {log:q}
        """


rule likelihood:
    input:
        of_every_run(rules.measure.output.evaluation),
        PLAN.samplers_results,


rule table:
    input:
        evaluations=rules.likelihood.input,
        training=rules.training.input,
        protocol="protocol.yaml",
        published="results/published/table1.csv",
        context="results/published/context.csv",
    output:
        table="results/table1.json",
        csv=report(
            "results/table1.csv",
            caption="../report/table1.rst",
            category="Table 1",
            labels={"file": "Table 1"},
        ),
        record="results/table1.run.json",
    log:
        "logs/table.log",
    conda:
        "../envs/replicate.yaml"
    params:
        job=job_of("table"),
        config=config_of("table"),
        absent=json.dumps(PLAN.absent, sort_keys=True),
    shell:
        """
        python -m replicate {params.job} then table --params {params.config:q} --protocol {input.protocol:q} \
            --absent {params.absent:q} --published {input.published:q} --context {input.context:q} \
            --out {output.table:q} {input.evaluations:q} {input.training:q} 2>&1 | tee -i {log:q}
        """


# What `dvc metrics` compares: numbers without the table around them.
rule metrics:
    input:
        table=rules.table.output.table,
    output:
        metrics="results/metrics.json",
        record="results/metrics.run.json",
    log:
        "logs/metrics.log",
    conda:
        "../envs/replicate.yaml"
    params:
        job=job_of("metrics"),
    shell:
        """
        python -m replicate {params.job} then metrics --table {input.table:q} --out {output.metrics:q} \
            2>&1 | tee -i {log:q}
        """
