"""A Run and a finding in, an evidence bundle that anyone can check out; a bundle in, verified or not.

accusing       findings -> what is to be claimed
answers        the records of one condition -> flat answers, and their bytes as files
readings       two answers -> what the reference's logits say where they part
bundle         run + accusation -> the zip, or the reason why the records do not support the claim
wording        what is claimed -> the page's words; page sets them as HTML
verify_bundle  bundle -> figures and verdict, computed anew; it is also the `verify.py` inside each bundle
checking       a bundle's file or folder -> one line that it holds, or a BundleError
"""

from __future__ import annotations

from tempzero.claims.accusing import Accusation, accuse_by_finding, accuse_by_rule, find_claimable_findings
from tempzero.claims.bundle import Bundle, make_bundle
from tempzero.claims.checking import check_bundle

__all__ = [
    "Accusation",
    "Bundle",
    "accuse_by_finding",
    "accuse_by_rule",
    "check_bundle",
    "find_claimable_findings",
    "make_bundle",
]
