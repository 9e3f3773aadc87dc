"""From trained weights to the log-likelihood of the test images, and to Table 1."""


rule measure:
    input:
        unpack(files_of("measure")),
    output:
        **outputs_of("measure"),
    log:
        "logs/measure/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        **needs("measure"),
    params:
        command=command_of("measure"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


# Only for the rows that the parameters name under `samplers`.
rule samplers:
    input:
        unpack(files_of("samplers")),
    output:
        **outputs_of("samplers"),
    log:
        "logs/samplers/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        **needs("samplers"),
    params:
        command=command_of("samplers"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule likelihood:
    input:
        every("evaluations"),
        every("compared"),


rule table:
    input:
        unpack(files_of("table")),
    output:
        **captioned(
            "table",
            table_csv={
                "caption": "../report/table1.rst",
                "category": "Table 1",
                "labels": {"file": "Table 1"},
            },
        ),
    log:
        "logs/table.log",
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("table"),
    params:
        command=command_of("table"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


# What `dvc metrics` compares: numbers without the table around them.
rule metrics:
    input:
        unpack(files_of("metrics")),
    output:
        **outputs_of("metrics"),
    log:
        "logs/metrics.log",
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("metrics"),
    params:
        command=command_of("metrics"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"
