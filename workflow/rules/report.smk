"""The page: every number on it comes from a result file."""


rule report:
    input:
        table=rules.table.output.table,
        data=rules.data.input,
        training=rules.training.input,
        evaluations=rules.likelihood.input,
        bandwidths=of_every_run(rules.measure.output.bandwidth),
        panels=rules.inspection.input,
        statements=rules.statements.input,
        recognitions=of_every_run(rules.inspect.output.recognition),
        reference=files_below(BASE, KEPT),
        templates=files_below(BASE, TEMPLATES),
    output:
        page=report(
            "report/index.html",
            caption="../report/page.rst",
            category="Page",
            labels={"file": "The page"},
        ),
        record="report/index.run.json",
    log:
        "logs/report.log",
    conda:
        "../envs/replicate.yaml"
    params:
        job=job_of("report"),
        config=config_of("report"),
    shell:
        """
        python -m replicate {params.job} then report --params {params.config:q} --table {input.table:q} --results results \
            --out {output.page:q} 2>&1 | tee -i {log:q}
        """
