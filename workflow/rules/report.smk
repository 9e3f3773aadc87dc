"""The page: every number on it comes from a result file."""


rule report:
    input:
        unpack(files_of("report")),
    output:
        **captioned(
            "report",
            page={
                "caption": "../report/page.rst",
                "category": "Page",
                "labels": {"file": "The page"},
            },
        ),
    log:
        "logs/report.log",
    conda:
        "../envs/replicate.yaml"
    resources:
        **needs("report"),
    params:
        command=command_of("report"),
    shell:
        "{params.command} 2>&1 | tee -i {log:q}"
