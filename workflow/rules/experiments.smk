"""What the paper states beside Table 1: one job an experiment, its figures, and the verdict on every statement."""


rule experiment:
    input:
        unpack(judged(files_of("experiment"))),
    output:
        **outputs_of("experiment"),
    log:
        "logs/experiment/{experiment}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        **needs("experiment"),
    params:
        command=command_of("experiment"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


# figures.json names the figures that there are.
rule draw:
    input:
        unpack(files_of("draw")),
    output:
        **outputs_of("draw"),
    log:
        "logs/draw/{experiment}.log",
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("draw"),
    params:
        command=command_of("draw"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule statements:
    input:
        unpack(files_of("statements")),
    output:
        **outputs_of("statements"),
    log:
        "logs/statements.log",
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("statements"),
    params:
        command=command_of("statements"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule figures:
    input:
        every("all_figures"),
