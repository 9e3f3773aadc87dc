"""From trained weights to the log-likelihood of the test images, and to Table 1."""

import json


rule sample:
    input:
        weights=rules.train.output.weights,
        data=rules.prepare.output.data,
    output:
        samples="results/samples/{dataset}/{model}/{block}.safetensors",
        record="results/samples/{dataset}/{model}/{block}.run.json",
    log:
        "logs/sample/{dataset}/{model}/{block}.log",
    benchmark:
        "logs/benchmark/sample/{dataset}/{model}/{block}.tsv"
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        config=config_of("sample"),
        code=code_of("sample"),
    shell:
        """
        python -m replicate sample --params {params.config:q} --weights {input.weights:q} \
            --data {input.data:q} --out {output.samples:q} 2>&1 | tee -i {log:q}
        """


rule bandwidth:
    input:
        samples=rules.sample.output.samples,
        data=rules.prepare.output.data,
    output:
        bandwidth="results/bandwidth/{dataset}/{model}/{block}.json",
        record="results/bandwidth/{dataset}/{model}/{block}.run.json",
    log:
        "logs/bandwidth/{dataset}/{model}/{block}.log",
    benchmark:
        "logs/benchmark/bandwidth/{dataset}/{model}/{block}.tsv"
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        config=config_of("bandwidth"),
        code=code_of("bandwidth"),
    shell:
        """
        python -m replicate bandwidth --params {params.config:q} --samples {input.samples:q} \
            --data {input.data:q} --out {output.bandwidth:q} 2>&1 | tee -i {log:q}
        """


rule evaluate:
    input:
        samples=rules.sample.output.samples,
        bandwidth=rules.bandwidth.output.bandwidth,
        data=rules.prepare.output.data,
    output:
        evaluation="results/evaluation/{dataset}/{model}/{block}.json",
        images="results/evaluation/{dataset}/{model}/{block}.safetensors",
        record="results/evaluation/{dataset}/{model}/{block}.run.json",
    log:
        "logs/evaluate/{dataset}/{model}/{block}.log",
    benchmark:
        "logs/benchmark/evaluate/{dataset}/{model}/{block}.tsv"
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        config=config_of("evaluate"),
        code=code_of("evaluate"),
    shell:
        """
        python -m replicate evaluate --params {params.config:q} --samples {input.samples:q} \
            --bandwidth {input.bandwidth:q} --data {input.data:q} --out {output.evaluation:q} \
            2>&1 | tee -i {log:q}
        """


rule likelihood:
    input:
        of_every_run(rules.evaluate.output.evaluation),


rule table:
    input:
        evaluations=rules.likelihood.input,
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
        config=config_of("table"),
        absent=json.dumps(PLAN.absent, sort_keys=True),
        code=code_of("table"),
    shell:
        """
        python -m replicate table --params {params.config:q} --protocol {input.protocol:q} \
            --absent {params.absent:q} --published {input.published:q} --context {input.context:q} \
            --out {output.table:q} {input.evaluations:q} 2>&1 | tee -i {log:q}
        """


# What `dvc metrics` compares: numbers without the table around them.
rule metrics:
    input:
        table=rules.table.output.table,
        tool="tools/metrics.py",
    output:
        metrics="results/metrics.json",
    log:
        "logs/metrics.log",
    conda:
        "../envs/replicate.yaml"
    shell:
        "python {input.tool:q} {input.table:q} {output.metrics:q} 2>&1 | tee -i {log:q}"
