# SPDX-License-Identifier: Apache-2.0
"""tap.py - runs the unittest cases of a module and writes TAP, so that each counts as one test.

At the end of a test file: `if __name__ == "__main__": tap.main(__name__)`. Arguments choose cases by
name: `test_kill.py Recovery.keeps_what_was_acknowledged`. Methods are cases when their names begin
with `test_`.
"""

import sys
import unittest


class TapResult(unittest.TestResult):
    """Writes a line a case as it ends, the reason of a failure as comment lines below it."""

    def __init__(self, planned):
        super().__init__()
        self.number = 0
        print(f"1..{planned}", flush=True)

    def _line(self, word, test, note="", reason=""):
        self.number += 1
        method = test.id().rpartition(".")[2].removeprefix("test_")
        print(f"{word} {self.number} - {method}{note}")
        for line in reason.splitlines():
            print(f"# {line}")
        sys.stdout.flush()

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line("not ok", test, reason=self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        self._line("not ok", test, reason=self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line("ok", test, note=f" # SKIP {reason}")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._line("not ok", test, reason=self._exc_info_to_string(err, test))


def main(module):
    """Runs the cases of `module`, all or those named as arguments, and ends the process."""
    loader = unittest.TestLoader()
    names = sys.argv[1:]
    found = sys.modules[module]
    suite = loader.loadTestsFromNames(names, found) if names else loader.loadTestsFromModule(found)
    result = TapResult(suite.countTestCases())
    suite.run(result)
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 else 1)
