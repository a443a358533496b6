"""Findings, their severities, and the verdict that follows from them."""

ERROR = "error"
WARNING = "warning"
NOTE = "note"

EXIT_CLEAN = 0
EXIT_WARNINGS = 1
EXIT_VIOLATIONS = 2
EXIT_UNREADABLE = 3
EXIT_INTERNAL = 4

# A hostile image can break a rule in every BAT entry: the first ones tell the story.
MAX_FINDINGS_PER_RULE = 32


class Finding:
    """One broken (or noteworthy) invariant at one place of one file."""

    __slots__ = ("rule", "severity", "file", "offset", "structure", "text")

    def __init__(self, rule, severity, file, offset, structure, text):
        self.rule = rule
        self.severity = severity
        self.file = file
        self.offset = offset
        self.structure = structure
        self.text = text

    def as_dict(self):
        return {"id": self.rule, "severity": self.severity, "file": self.file,
                "offset": self.offset, "structure": self.structure, "text": self.text}

    def __str__(self):
        place = "" if self.offset is None else " at 0x%x" % self.offset
        return "%s: %s: %s: %s%s: %s" % (self.file, self.severity, self.rule, self.structure,
                                         place, self.text)


class FileReport:
    """Collects the findings and the facts of one file."""

    def __init__(self, file):
        self.file = file
        self.findings = []
        self.suppressed = {}
        self.facts = {}
        self._counts = {}

    def add(self, severity, rule, offset, structure, text):
        key = (rule, severity)
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] > MAX_FINDINGS_PER_RULE:
            self.suppressed[rule] = self.suppressed.get(rule, 0) + 1
            return
        self.findings.append(Finding(rule, severity, self.file, offset, structure, text))

    def error(self, rule, offset, structure, text):
        self.add(ERROR, rule, offset, structure, text)

    def warning(self, rule, offset, structure, text):
        self.add(WARNING, rule, offset, structure, text)

    def note(self, rule, offset, structure, text):
        self.add(NOTE, rule, offset, structure, text)

    def error_count(self, prefix=""):
        return sum(n for (rule, severity), n in self._counts.items()
                   if severity == ERROR and rule.startswith(prefix))

    def rules(self, severity=None):
        """The set of ids reported (with `severity`, when given)."""
        return {rule for (rule, found), _ in self._counts.items() if severity in (None, found)}


def exit_code(reports):
    """0 clean or notes only, 1 warnings, 2 violations; unreadable files are the caller's."""
    severities = {f.severity for report in reports for f in report.findings}
    if ERROR in severities:
        return EXIT_VIOLATIONS
    return EXIT_WARNINGS if WARNING in severities else EXIT_CLEAN


VERDICTS = {EXIT_CLEAN: "clean", EXIT_WARNINGS: "warnings", EXIT_VIOLATIONS: "violations",
            EXIT_UNREADABLE: "unreadable"}
