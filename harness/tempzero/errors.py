"""The errors a caller can meet; a provider's failure is a row in the records, never one of these.

TempzeroError                  one clear line: where, what, and what would be right
 ├─ ConfigError                providers.yaml cannot be used (file, path, reason)
 ├─ SuiteError                 a prompt file cannot be used
 ├─ WeightsError               a model file cannot be had, or is not what it should be
 ├─ EngineError                an engine cannot start or answer at all (package missing, server died)
 ├─ RunFolderError             a run folder is missing, torn, altered, or of an unknown format
 ├─ StoreError                 an object store cannot be reached, refuses, or another machine is at work on the run
 ├─ ExchangeError              another tool's records cannot be taken in, or a run not be written in its form
 ├─ BundleError                an evidence bundle is damaged, altered, or does not prove what it claims
 │   └─ UnknownBundleError     it is of a kind or version that is not known here: neither holds nor fails
 ├─ PackError                  a pack is damaged, altered, or of another version
 └─ UsageError                 the command line asks for something that makes no sense
"""

from __future__ import annotations


class TempzeroError(Exception):
    """Anything a user can put right. The message is complete: print it, no traceback needed."""


class ConfigError(TempzeroError):
    """providers.yaml cannot be used. One message may hold several lines, one problem each."""


class SuiteError(TempzeroError):
    """A prompt file cannot be used."""


class WeightsError(TempzeroError):
    """A model file cannot be had, or is not what it should be."""


class EngineError(TempzeroError):
    """An engine cannot start or answer at all."""


class RunFolderError(TempzeroError):
    """A run folder is missing, damaged, altered, or written in an unknown format."""


class StoreError(TempzeroError):
    """An object store cannot be reached, does not let us, or another machine is writing; what was made is kept here."""


class ExchangeError(TempzeroError):
    """Records cannot be imported or exported as asked. One message may hold several lines, one problem each."""


class BundleError(TempzeroError):
    """An evidence bundle is damaged or altered, or its records do not prove what it claims."""


class UnknownBundleError(BundleError):
    """An evidence bundle is of a kind or version that this tempzero cannot check."""


class PackError(TempzeroError):
    """A pack of directions, or of a reference's answers, is missing, damaged, altered, or does not fit its use."""


class UsageError(TempzeroError):
    """The command line asks for something that cannot be done."""
