"""What the samples show (classes, memory, correlation), the panels of figures 2 and 3, and curves of every run."""


rule inspect:
    input:
        unpack(files_of("inspect")),
    output:
        **captioned(
            "inspect",
            samples_panel={
                "caption": "../report/samples.rst",
                "category": "Runs",
                "labels": run_labels("samples"),
            },
            learning_panel={
                "caption": "../report/learning.rst",
                "category": "Runs",
                "labels": run_labels("learning"),
            },
            bandwidth_panel={
                "caption": "../report/bandwidth.rst",
                "category": "Runs",
                "labels": run_labels("bandwidth"),
            },
        ),
    log:
        "logs/inspect/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        **needs("inspect"),
    params:
        command=command_of("inspect"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule inspection:
    input:
        every("all_panels"),


# What `dvc plots` shows: every curve as rows of one table.
rule curves:
    input:
        unpack(files_of("curves")),
    output:
        **outputs_of("curves"),
    log:
        "logs/curves.log",
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("curves"),
    params:
        command=command_of("curves"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"
