"""Every measure of every row's samples, the same of controls, and the ranks of the rows by each measure."""


rule measures:
    input:
        unpack(files_of("measures")),
    output:
        **outputs_of("measures"),
    log:
        "logs/measures/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        **needs("measures"),
    params:
        command=command_of("measures"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


# Samples of which it is known how good they are.
rule controls:
    input:
        unpack(files_of("controls")),
    output:
        **outputs_of("controls"),
    log:
        "logs/controls/{dataset}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        **needs("controls"),
    params:
        command=command_of("controls"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule ranks:
    input:
        unpack(files_of("ranks")),
    output:
        **outputs_of("ranks"),
    log:
        "logs/ranks.log",
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("ranks"),
    params:
        command=command_of("ranks"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"


rule measurement:
    input:
        every("all_measures"),
        every("all_controls"),
        rules.ranks.output.ranks,
