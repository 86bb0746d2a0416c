"""A Run and a finding in, an evidence bundle that anyone can check out; a bundle in, verified or not.

accusing         findings -> what is to be claimed
bundle_answers   the records of one condition -> flat answers, and their bytes as files
bundle_readings  two answers -> what the reference's logits say where they part
bundle           run + accusation -> the zip, or the reason why the records do not support the claim
issue_text       a bundle -> a text of fifteen lines at most to paste into an issue
checking         a bundle's file or folder -> one line that it holds, or a BundleError

What checks a bundle is plain Python in four modules, which `checker_source` joins to the bundle's `verify.py`:
byte_reading     the recorded bytes -> parts, labels, counts and end of an answer
bundle_figures   answers -> figures and verdict
page_wording     claim and answers -> the page, its words, its HTML
verify_bundle    a bundle's files -> it holds, or what does not
"""

from __future__ import annotations

from tempzero.claims.accusing import Accusation, accuse_by_finding, accuse_by_rule, find_claimable_findings
from tempzero.claims.bundle import Bundle, make_bundle
from tempzero.claims.checking import check_bundle, read_bundle_files
from tempzero.claims.issue_text import write_issue_text

__all__ = [
    "Accusation",
    "Bundle",
    "accuse_by_finding",
    "accuse_by_rule",
    "check_bundle",
    "find_claimable_findings",
    "make_bundle",
    "read_bundle_files",
    "write_issue_text",
]
