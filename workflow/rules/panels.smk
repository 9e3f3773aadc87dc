"""The panels of figures 2 and 3, learning curves and bandwidth curves."""


# interpolation.png is not declared: a model without a latent space has none (panels.json says so).
rule panels:
    input:
        weights=rules.train.output.weights,
        training=rules.train.output.training,
        bandwidth=rules.bandwidth.output.bandwidth,
        data=rules.prepare.output.data,
    output:
        samples="results/panels/{dataset}/{model}/{block}/samples.png",
        learning="results/panels/{dataset}/{model}/{block}/learning.svg",
        bandwidth="results/panels/{dataset}/{model}/{block}/bandwidth.svg",
        panels="results/panels/{dataset}/{model}/{block}/panels.json",
        record="results/panels/{dataset}/{model}/{block}/panels.run.json",
    log:
        "logs/panels/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    params:
        folder=subpath(output.panels, parent=True),
        code=code_of("panels"),
    shell:
        """
        python -m replicate panels --weights {input.weights:q} --training {input.training:q} \
            --bandwidth {input.bandwidth:q} --data {input.data:q} --out {params.folder:q} 2>&1 | tee -i {log:q}
        """


rule figures:
    input:
        of_every_run(rules.panels.output.panels),
