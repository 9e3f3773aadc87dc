"""The classifier of the labels that looks at the samples."""


rule classifier:
    input:
        unpack(files_of("classifier")),
    output:
        **outputs_of("classifier"),
    log:
        "logs/classifier/{dataset}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        **needs("classifier"),
    params:
        command=command_of("classifier"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"
