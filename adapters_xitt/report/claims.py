"""The paper's claims and what the run says of them."""

from __future__ import annotations

from collections.abc import Sequence

from adapters_xitt.analysis.claims import MISSING, Finding
from adapters_xitt.report.answers import p_text
from adapters_xitt.report.sections import Section
from adapters_xitt.report.words import signed

UNKNOWN = "–"


def claims_section(findings: Sequence[Finding]) -> Section | None:
    """Every claim with its result; None where the run has the rows of none."""
    asked = [finding for finding in findings if finding.result != MISSING]
    if not asked:
        return None
    several = len({(finding.method, finding.mode) for finding in asked}) > 1
    return Section(
        heading="The paper's claims",
        about=(
            "What Phang et al. 2020 (arXiv 2005.13013) say in their abstract, by direction: whether"
            " the difference of the rows is above zero, over seeds and test items, in the languages"
            " that no row has seen. It was another encoder, fully fine-tuned."
        ),
        heads=("claim", "rows", "on", "effect", "95 % interval", "p, corrected", "result"),
        rows=tuple(_line(finding, several) for finding in asked),
        remarks=(
            *(
                f"{finding.claim.sentence}, {finding.rows}: {finding.remark}"
                for finding in asked
                if finding.remark
            ),
            *(
                f"{MISSING}: {finding.claim.sentence}; it takes {finding.remark}"
                for finding in findings
                if finding.result == MISSING
            ),
        ),
        left=3,
    )


def _line(finding: Finding, several: bool) -> tuple[str, ...]:
    effect = finding.effect
    interval = effect.interval() if effect else None
    place = f" ({finding.method} {finding.mode})" if several else ""
    return (
        finding.claim.sentence + place,
        finding.rows,
        " ".join(finding.targets),
        signed(effect.difference) if effect else UNKNOWN,
        f"{signed(interval[0])} to {signed(interval[1])}" if interval else UNKNOWN,
        p_text(finding.p_corrected),
        finding.result,
    )
