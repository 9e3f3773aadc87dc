# The fine-grained workflow: one job per data set, model and block of seeds. Every rule calls one stage of
# `python -m replicate`; the science lives there. dvc.yaml calls the targets below (docs/architecture.md).
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/place.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/failures.smk"


PLAN = checked_plan()


include: "workflow/rules/storage.smk"
include: "workflow/rules/standing.smk"
include: "workflow/rules/captions.smk"


report: "workflow/report/workflow.rst"


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/classifier.smk"
include: "workflow/rules/inspect.smk"
include: "workflow/rules/measures.smk"
include: "workflow/rules/experiments.smk"
include: "workflow/rules/report.smk"


onerror:
    if told := FAILED.report():
        logger.error(told)


localrules:
    all,
    data,
    training,
    likelihood,
    inspection,
    measurement,
    statements,


rule all:
    default_target: True
    input:
        rules.data.input,
        rules.training.input,
        rules.likelihood.input,
        every("accuracies"),
        rules.inspection.input,
        rules.measurement.input,
        rules.statements.output.statements,
        rules.figures.input,
        rules.table.output.table,
        rules.metrics.output.metrics,
        rules.curves.output,
        rules.report.output.page,
        experiment_figures(),
        walks(),
