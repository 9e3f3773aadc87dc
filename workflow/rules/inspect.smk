"""What the samples show (classes, memory, correlation), the panels of figures 2 and 3, and curves of every run."""


# Two stages in one job, as in `measure`. interpolation.png is not declared: a model without a latent space has none
# (panels.json says so).
rule inspect:
    input:
        data=rules.prepare.output.data,
        samples=rules.measure.output.samples,
        classifier=rules.classifier.output.classifier,
        accuracy=rules.classifier.output.accuracy,
        weights=rules.train.output.weights,
        training=rules.train.output.training,
        bandwidth=rules.measure.output.bandwidth,
    output:
        recognition="results/recognition/{dataset}/{model}/{block}.json",
        recognition_record="results/recognition/{dataset}/{model}/{block}.run.json",
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
        panels_record="results/panels/{dataset}/{model}/{block}/panels.run.json",
    log:
        "logs/inspect/{dataset}/{model}/{block}.log",
    conda:
        "../envs/replicate.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=uses_gpu(),
    params:
        job=job_of("inspect"),
        recognise=config_of("recognise"),
        folder=subpath(output.panels, parent=True),
    shell:
        """
        python -m replicate {params.job} then \
            recognise --params {params.recognise:q} --data {input.data:q} --samples {input.samples:q} \
            --classifier {input.classifier:q} --out {output.recognition:q} \
            then panels --weights {input.weights:q} --training {input.training:q} \
            --bandwidth {input.bandwidth:q} --data {input.data:q} --out {params.folder:q} \
            2>&1 | tee -i {log:q}
        """


rule inspection:
    input:
        of_every_run(rules.inspect.output.panels),


# What `dvc plots` shows: every curve as rows of one table.
rule curves:
    input:
        training=rules.training.input,
        bandwidths=of_every_run(rules.measure.output.bandwidth),
    output:
        learning="results/curves/learning.csv",
        bandwidth="results/curves/bandwidth.csv",
        record="results/curves/curves.run.json",
    log:
        "logs/curves.log",
    conda:
        "../envs/replicate.yaml"
    params:
        job=job_of("curves"),
        folder=subpath(output.learning, parent=True),
    shell:
        """
        python -m replicate {params.job} then curves --out {params.folder:q} {input.training:q} {input.bandwidths:q} \
            2>&1 | tee -i {log:q}
        """
