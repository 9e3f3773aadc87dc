"""What the samples show: what a classifier of the labels sees in them, memory, correlation."""


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
        config=config_of("classifier"),
        code=code_of("classifier"),
    shell:
        """
        python -m replicate classifier --params {params.config:q} --data {input.data:q} \
            --out {output.classifier:q} 2>&1 | tee -i {log:q}
        """


rule recognise:
    input:
        data=rules.prepare.output.data,
        samples=rules.sample.output.samples,
        classifier=rules.classifier.output.classifier,
        accuracy=rules.classifier.output.accuracy,
    output:
        recognition="results/recognition/{dataset}/{model}/{block}.json",
        record="results/recognition/{dataset}/{model}/{block}.run.json",
    log:
        "logs/recognise/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        config=config_of("recognise"),
        code=code_of("recognise"),
    shell:
        """
        python -m replicate recognise --params {params.config:q} --data {input.data:q} \
            --samples {input.samples:q} --classifier {input.classifier:q} \
            --out {output.recognition:q} 2>&1 | tee -i {log:q}
        """


rule recognition:
    input:
        of_every_run(rules.recognise.output.recognition),
