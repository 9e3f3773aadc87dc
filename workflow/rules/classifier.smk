"""The classifier of the labels that looks at the samples."""


rule classifier:
    input:
        data=rules.prepare.output.data,
    output:
        classifier="results/classifier/{dataset}.safetensors",
        accuracy="results/classifier/{dataset}.json",
        record="results/classifier/{dataset}.run.json",
    log:
        "logs/classifier/{dataset}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        job=job_of("classifier"),
        config=config_of("classifier"),
    shell:
        """
        python -m replicate {params.job} then classifier --params {params.config:q} --data {input.data:q} \
            --out {output.classifier:q} 2>&1 | tee -i {log:q}
        """
