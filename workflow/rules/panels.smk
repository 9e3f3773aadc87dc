"""The panels of figures 2 and 3, learning curves and bandwidth curves."""


# interpolation.png is not declared: a model without a latent space has none (panels.json says so).
rule panels:
    input:
        weights=rules.train.output.weights,
        training=rules.train.output.training,
        bandwidth=rules.bandwidth.output.bandwidth,
        data=rules.prepare.output.data,
    output:
        samples=report(
            "results/panels/{dataset}/{model}/{block}/samples.png",
            caption="../report/samples.rst",
            category="Runs",
            labels=run_labels("samples"),
        ),
        learning=report(
            "results/panels/{dataset}/{model}/{block}/learning.svg",
            caption="../report/learning.rst",
            category="Runs",
            labels=run_labels("learning"),
        ),
        bandwidth=report(
            "results/panels/{dataset}/{model}/{block}/bandwidth.svg",
            caption="../report/bandwidth.rst",
            category="Runs",
            labels=run_labels("bandwidth"),
        ),
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


# What `dvc plots` shows: every curve as rows of one table.
rule curves:
    input:
        training=rules.training.input,
        bandwidths=of_every_run(rules.bandwidth.output.bandwidth),
        tool="tools/curves.py",
    output:
        learning="results/curves/learning.csv",
        bandwidth="results/curves/bandwidth.csv",
    log:
        "logs/curves.log",
    conda:
        "../envs/replicate.yaml"
    params:
        folder=subpath(output.learning, parent=True),
    shell:
        """
        python {input.tool:q} {params.folder:q} {input.training:q} {input.bandwidths:q} 2>&1 | tee -i {log:q}
        """
