"""What a crate says of a run: its description as JSON-LD, by RO-Crate 1.1 and the Provenance Run
Crate profile 0.5 (https://www.researchobject.org/workflow-run-crate/profiles/).

The description is written here and not by the package `rocrate`: that would build the same
dictionaries, no profile of workflow runs among its helpers, and bring its own way to zip, with the
times of today in it. What is written is held to the profiles by `rocrate-validator` and read by
`rocrate` in tests/workflow/test_crate.py.
"""

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NotRequired, TypedDict
from urllib.parse import quote

from replicate.crate.finished import FinishedJob
from replicate.crate.payload import METADATA, README, CrateFile
from replicate.storage.files import canonical_json, sha256_json

#: A thing that the crate describes: property -> value, with `@id` and `@type`.
Entity = dict[str, object]

SPECIFICATION = "https://w3id.org/ro/crate/1.1"
CONTEXT = [f"{SPECIFICATION}/context", "https://w3id.org/ro/terms/workflow-run/context"]
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
#: Profile -> its name and version; the last includes the others.
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
WORKFLOW = "Snakefile"
LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
RUN, ENGINE_RUN = "#run", "#engine-run"
COMPLETED = "http://schema.org/CompletedActionStatus"
#: What the workflow takes and gives, of all files those that a reader looks for: name -> file.
INPUTS = {
    "parameters": "params.yaml",
    "protocol": "protocol.yaml",
    "published": "results/published/table1.csv",
}
OUTPUTS = {
    "table": "results/table1.json",
    "statements": "results/statements.json",
    "page": "report/index.html",
}
#: The same names -> what the file is.
MEANINGS = {
    "parameters": "Data sets, models, seeds and settings of the run.",
    "protocol": "The rules by which every verdict is reached.",
    "published": "The numbers of Table 1 as the paper prints them.",
    "table": "Table 1 as published and as measured, with a verdict for each row.",
    "statements": "What the paper states in words, with the checks and the verdict of each.",
    "page": "The report of the run, one page to read.",
}
LEFT_OUT = "Not in this crate, because it holds images of a data set, or may; named by its digest."
#: Endings that Python's list of types leaves to the system.
TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".rst": "text/x-rst",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}


#: An author of CITATION.cff: an entity has `name` and may have `website`, a person `given-names`
#: and `family-names`.
Author = Mapping[str, str]


@dataclass(frozen=True)
class Agent:
    """Who started a run.

    Attributes:
        name: of a person.
        address: such as an ORCID; None if there is none.
    """

    name: str
    address: str | None


class Paper(TypedDict):
    """The paper that is replicated, as CITATION.cff has it."""

    title: str
    year: int
    url: str


# The address of the project's repository has a hyphen in its name, which no attribute can have.
_Addresses = TypedDict("_Addresses", {"repository-code": NotRequired[str]})


class Citation(_Addresses):
    """What a crate takes from CITATION.cff."""

    title: str
    license: str
    authors: Sequence[Author]
    references: Sequence[Paper]


def reference(identifier: str) -> Entity:
    """A mention of what is described elsewhere in the crate."""
    return {"@id": identifier}


def references(identifiers: Iterable[str]) -> object:
    """Mentions of several; the specification wants one alone without brackets."""
    mentions = [reference(identifier) for identifier in identifiers]
    return mentions[0] if len(mentions) == 1 else mentions


class CrateGraph:
    """The description of a run, entity by entity.

    Args:
        preset: name of the run.
        jobs: in the order of the pipeline.
        files: that the run read or made, and those of the project.
        citation: how the project is cited.
        agent: who started the run, if that is said: no record knows it.
    """

    def __init__(
        self,
        preset: str,
        jobs: Sequence[FinishedJob],
        files: Sequence[CrateFile],
        citation: Citation,
        agent: Agent | None = None,
    ) -> None:
        self.preset = preset
        self.jobs = jobs
        self.files = files
        self.citation = citation
        self.agent = agent
        self._identifiers = {file.path: _identifier(file) for file in files}
        self._entities: dict[str, Entity] = {}

    def text(self) -> str:
        """`ro-crate-metadata.json`."""
        self._entities = {}
        self._add_crate()
        self._add_profiles()
        self._add_files()
        self._add_workflow()
        self._add_run()
        for job in self.jobs:
            self._add_job(job)
        entities = list(self._entities.values())
        return canonical_json({"@context": CONTEXT, "@graph": entities})

    def _add(self, identifier: str, kind: object, **properties: object) -> str:
        """Describes something, or says more of it; returns its identifier."""
        # Each thing is described once, however often it is mentioned.
        known = self._entities.setdefault(identifier, {"@id": identifier})
        known |= {"@type": kind, **properties}
        return identifier

    def _add_crate(self) -> None:
        self._add(
            METADATA,
            "CreativeWork",
            about=reference("./"),
            conformsTo=references([SPECIFICATION, WORKFLOW_CRATE]),
        )
        ended = max(job.ended for job in self.jobs)
        licence = self._licence()
        authors = [self._author(author) for author in self.citation["authors"]]
        papers = [self._paper(paper) for paper in self.citation["references"]]
        # `hasPart` promises a file in the crate, so what was left out must not stand there.
        travelling = [file.path for file in self.files if file.travels]
        actions = [_action(job) for job in self.jobs]
        title = self.citation["title"]
        self._add(
            "./",
            "Dataset",
            name=f"{title}: run {self.preset!r}",
            description=f"A finished run of {len(self.jobs)} jobs, with every result.",
            # Of the run, not of its packing: the same run packed again is the same crate.
            datePublished=ended,
            license=reference(licence),
            author=references(authors),
            citation=references(papers),
            conformsTo=references(PROFILES),
            mainEntity=reference(WORKFLOW),
            hasPart=references(self._identifiers[path] for path in travelling),
            mentions=references([RUN, ENGINE_RUN, *actions]),
        )

    def _licence(self) -> str:
        name = self.citation["license"]
        url = f"https://spdx.org/licenses/{name}"
        return self._add(url, "CreativeWork", name=name, description=f"The licence {name}", url=url)

    def _author(self, author: Author) -> str:
        name = author.get("name")
        if name is not None:
            website = author.get("website")
            address = {"url": website} if website else {}
            return self._add(_local("author", name), "Organization", name=name, **address)
        parts = [author.get("given-names"), author.get("family-names")]
        name = " ".join(filter(None, parts))
        # An ORCID is an address of its own, by which others find the person.
        identifier = author.get("orcid") or _local("author", name)
        return self._add(identifier, "Person", name=name)

    def _address(self) -> Entity:
        """Where the project's code is, as a property; nothing as long as CITATION.cff has none."""
        address = self.citation.get("repository-code")
        return {"url": address} if address else {}

    def _agent(self) -> Entity:
        """Who started the run, as a property of an action; nothing if that is not said."""
        if self.agent is None:
            return {}
        identifier = self.agent.address or _local("agent", self.agent.name)
        self._add(identifier, "Person", name=self.agent.name)
        return {"agent": reference(identifier)}

    def _paper(self, paper: Paper) -> str:
        title, year = paper["title"], str(paper["year"])
        return self._add(paper["url"], "ScholarlyArticle", name=title, datePublished=year)

    def _add_profiles(self) -> None:
        for url, (name, version) in PROFILES.items():
            self._add(url, "CreativeWork", name=name, version=version)

    def _add_files(self) -> None:
        for file in self.files:
            properties: Entity = {
                "name": file.path,
                "contentSize": str(file.size),
                "sha256": file.sha256,
                "encodingFormat": _type_of(file.path),
            }
            if not file.travels:
                properties["description"] = LEFT_OUT
            if file.path == README:
                properties["about"] = reference("./")
            # A validator looks for every `File` in the crate.
            kind = "File" if file.travels else "CreativeWork"
            self._add(self._identifiers[file.path], kind, **properties)

    def _add_workflow(self) -> None:
        # The page comes last, so its commit is the one at which the run was finished.
        last = self.jobs[-1]
        language = self._add(
            LANGUAGE, "ComputerLanguage", name="Snakemake", url="https://snakemake.github.io"
        )
        # A dictionary for its order: a set would give other bytes in every process.
        tools = {self._tool(job): None for job in self.jobs}
        self._add(
            WORKFLOW,
            ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            name=self.citation["title"],
            version=last.source,
            programmingLanguage=reference(language),
            license=reference(self._licence()),
            input=references(self._parameter(name, path) for name, path in INPUTS.items()),
            output=references(self._parameter(name, path) for name, path in OUTPUTS.items()),
            hasPart=references(tools),
            step=references(self._steps()),
            **self._address(),
        )

    def _parameter(self, name: str, path: str) -> str:
        """A file that the workflow takes or gives, by its role."""
        file = self._identifiers[path]
        parameter = self._add(
            f"#parameter/{name}",
            "FormalParameter",
            name=name,
            description=MEANINGS[name],
            additionalType="File",
            workExample=reference(file),
        )
        self._entities[file]["exampleOfWork"] = reference(parameter)
        return parameter

    def _steps(self) -> list[str]:
        """A step for every rule that ran, with its tool: more than one where software changed."""
        tools: dict[str, dict[str, None]] = {}
        for job in self.jobs:
            tools.setdefault(job.job.rule, {})[self._tool(job)] = None
        steps = []
        for position, (rule, tools_of_rule) in enumerate(tools.items(), 1):
            step = self._add(
                f"#step/{rule}",
                "HowToStep",
                name=rule,
                position=str(position),
                workExample=references(tools_of_rule),
            )
            steps.append(step)
        return steps

    def _tool(self, job: FinishedJob) -> str:
        """What ran a job: the rule's stages, at a commit and with packages of these versions."""
        rule = job.job.rule
        packages = [self._package(name, version) for name, version in job.versions.items()]
        # One tool for each state of the software: jobs of one run may be of several.
        digest = sha256_json([job.source, job.versions])[:8]
        # Absolute, as the profile asks, as soon as the project has an address.
        address = self.citation.get("repository-code", "")
        stages = ", ".join(job.job.stages)
        return self._add(
            f"{address}#tool/{rule}/{digest}",
            "SoftwareApplication",
            name=f"replicate {stages}",
            softwareVersion=job.source,
            softwareRequirements=references(packages),
            **self._address(),
        )

    def _package(self, name: str, version: str) -> str:
        url = f"https://pypi.org/project/{name}/{quote(version)}/"
        if name == "python":
            url = f"https://docs.python.org/release/{version}/"
        return self._add(url, "SoftwareApplication", name=name, softwareVersion=version, url=url)

    def _add_run(self) -> None:
        """The run as a whole: of the workflow, and of the engine that started its jobs."""
        version = self.jobs[-1].versions.get("snakemake", "unknown")
        engine = self._package("snakemake", version)
        created = self._united("outputs")
        # What one job made and another read is no input of the run.
        read = self._united("inputs") - created
        times: Entity = {
            "startTime": min(job.started for job in self.jobs),
            "endTime": max(job.ended for job in self.jobs),
            "actionStatus": COMPLETED,
        }
        self._add(
            RUN,
            "CreateAction",
            name=f"Run {self.preset!r}",
            description="snakemake --cores all",
            instrument=reference(WORKFLOW),
            object=references(self._mentioned({*read, INPUTS["parameters"]})),
            result=references(self._mentioned(created)),
            **times,
            **self._agent(),
        )
        self._add(
            ENGINE_RUN,
            "OrganizeAction",
            name=f"Snakemake {version} starts the jobs",
            instrument=reference(engine),
            object=references(_control(job) for job in self.jobs),
            result=reference(RUN),
            **times,
        )

    def _united(self, role: str) -> set[str]:
        """All files that jobs read (`inputs`) or made (`outputs`)."""
        paths: set[str] = set()
        for job in self.jobs:
            paths |= set(getattr(job, role))
        return paths

    def _mentioned(self, paths: Iterable[str]) -> list[str]:
        return [self._identifiers[path] for path in sorted(paths)]

    def _add_job(self, job: FinishedJob) -> None:
        name = job.job.name
        action = self._add(
            _action(job),
            "CreateAction",
            name=name,
            description=job.command,
            instrument=reference(self._tool(job)),
            object=references(self._mentioned(job.inputs)),
            result=references(self._mentioned({*job.outputs, job.job.record})),
            startTime=job.started,
            endTime=job.ended,
            actionStatus=COMPLETED,
            **self._agent(),
        )
        self._add(
            _control(job),
            "ControlAction",
            name=f"Start of {name}",
            instrument=reference(f"#step/{job.job.rule}"),
            object=reference(action),
        )


def _identifier(file: CrateFile) -> str:
    """A file by its path; what is not in the crate by a name within the description."""
    path = quote(file.path)
    return path if file.travels else f"#{path}"


def _local(kind: str, name: str) -> str:
    return f"#{kind}/{quote(name)}"


def _action(job: FinishedJob) -> str:
    return _local("job", job.job.name)


def _control(job: FinishedJob) -> str:
    return _local("start", job.job.name)


def _type_of(path: str) -> str:
    suffix = PurePosixPath(path).suffix
    # Asked last: the list depends on the system, and a crate's bytes must not.
    known, _ = mimetypes.guess_type(path)
    return TYPES.get(suffix) or known or "text/plain"
