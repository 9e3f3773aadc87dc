"""Judges a crate by rocrate-validator and reads it by rocrate, without a network.

python tests/workflow/validate_crate.py PACKAGES CRATE

Prints as JSON the issues that the validator finds against the Provenance Run Crate profile and all
that it builds on, and the actions that rocrate reads. PACKAGES is a folder with both packages
(`pip install --target`). The two JSON-LD contexts are served from here: that of RO-Crate is the one
that rocrate brings, where version 1.1 has other addresses for four terms; that of workflow runs is
its list of terms.
"""

import json
import sys
from importlib.resources import files
from typing import Any

BIOSCHEMAS = "https://bioschemas.org/"
#: Terms of which RO-Crate 1.1 says something else than later versions.
OF_VERSION_1_1 = {
    "ComputationalWorkflow": f"{BIOSCHEMAS}ComputationalWorkflow",
    "FormalParameter": f"{BIOSCHEMAS}FormalParameter",
    "input": f"{BIOSCHEMAS}ComputationalWorkflow#input",
    "output": f"{BIOSCHEMAS}ComputationalWorkflow#output",
}
RUN_TERMS = "https://w3id.org/ro/terms/workflow-run"
OF_RUNS = ("ParameterConnection", "connection", "sourceParameter", "targetParameter", "sha256")


class Answer:
    """What the validator gets instead of an answer from the network."""

    status_code = 200
    from_cache = True
    headers = {"Content-Type": "application/ld+json"}  # noqa: RUF012 (as requests has it)

    def __init__(self, context: dict[str, Any]) -> None:
        self.text = json.dumps({"@context": context})
        self.content = self.text.encode()

    def json(self) -> Any:
        return json.loads(self.text)

    def raise_for_status(self) -> None:
        pass


def main() -> None:
    packages, crate = sys.argv[1:]
    sys.path.insert(0, packages)
    from rocrate.rocrate import ROCrate  # type: ignore[import-not-found]
    from rocrate_validator import models, services  # type: ignore[import-not-found]
    from rocrate_validator.utils.http import HttpRequester  # type: ignore[import-not-found]

    later = json.loads((files("rocrate") / "data/ro-crate.jsonld").read_text(encoding="utf-8"))
    contexts = {
        "https://w3id.org/ro/crate/1.1/context": later["@context"] | OF_VERSION_1_1,
        f"{RUN_TERMS}/context": {term: f"{RUN_TERMS}#{term}" for term in OF_RUNS},
    }
    HttpRequester.get = lambda self, url, *_, **__: Answer(contexts[url])
    settings = services.ValidationSettings(
        rocrate_uri=crate,
        profile_identifier="provenance-run-crate",
        requirement_severity=models.Severity.REQUIRED,
    )
    result = services.validate(settings)
    actions = ROCrate(crate).root_dataset["mentions"]
    json.dump(
        {
            "passed": result.passed(),
            "issues": [
                f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()
            ],
            "checks": len(result.executed_checks),
            "actions": [[action["name"], len(action["result"] or [])] for action in actions],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
