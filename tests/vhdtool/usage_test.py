#!/usr/bin/env python3
"""What vhdtool says without an image: usage errors, help, manual pages, completions."""

import os
import re
import subprocess
import unittest

from program import Case, NOT_FOUND, USAGE, VHDTOOL, bytes_of, needs

GENERATED = os.environ.get("VHDTOOL_GENERATED", "")
VERBS = ("create", "info", "check", "convert", "map", "compare", "dump", "replay", "resize",
         "compact", "io", "bench", "merge", "rebase", "checkpoint")


def generated(name):
    return os.path.join(GENERATED, name)


class Usage(Case):
    def test_wrong_arguments_are_one_line_and_exit_code_3(self):
        for words in ((), ("bogus",), ("create",), ("create", "x.vhdx"), ("info",),
                      ("info", "a", "b"), ("info", "a", "--bogus"), ("convert", "a"),
                      ("create", "x.vhdx", "--size", "10MB"), ("create", "x.vhdx", "--size", "1Q"),
                      ("create", "x.vhdx", "--size", "-1"), ("io", "x"), ("io", "x", "-c", "jump"),
                      ("create", "x.vhdx", "--size", "99999999T"),
                      ("create", "x.vhdx", "--size", "1G", "--type", "thick"),
                      ("io", "x", "-c", "flush", "--crash-after", "2"),
                      ("check", "x", "--undo", "--repair"), ("replay", "x", "--wet-run")):
            with self.subTest(words):
                if not words:
                    done = subprocess.run([VHDTOOL], capture_output=True, check=False, timeout=60)
                    self.assertEqual((done.returncode, done.stdout), (USAGE, b""))
                    continue
                outcome = self.run_tool(*words, code=USAGE)
                self.assertEqual(outcome.out, "")
                self.assertEqual(len(outcome.err.splitlines()), 1)
        self.assertFalse(os.path.exists("x.vhdx"))

    def test_a_slip_of_the_finger_gets_a_hint(self):
        self.assertIn("did you mean create?", self.run_tool("crate", "x", code=USAGE).err)

    def test_what_is_too_much_is_named_in_the_order_given(self):
        self.assertTrue(self.run_tool("info", "a", "b", "c", code=USAGE).err.endswith(": b c\n"))

    def test_usage_errors_are_json_when_asked(self):
        outcome = self.run_tool("create", "x.vhdx", "--json", code=USAGE)
        self.assertEqual(outcome.json()["error"]["exit_code"], USAGE)

    def test_a_missing_file_is_4_and_named(self):
        for verb in ("info", "map", "dump", "check", "replay"):
            with self.subTest(verb):
                outcome = self.run_tool(verb, self.path("gone.vhdx"), code=NOT_FOUND)
                self.assertIn("gone.vhdx", outcome.err)
                self.assertEqual(len(outcome.err.splitlines()), 1)

    def test_names_cannot_drive_a_terminal(self):
        outcome = self.run_tool("info", self.path("a\x1b[31m\nb.vhdx"), code=NOT_FOUND)
        self.assertNotIn("\x1b", outcome.err)
        self.assertIn("\\x1b[31m\\x0ab.vhdx", outcome.err)

    def test_help_names_every_option_of_the_manual(self):
        self.assertIn("usage: vhdtool VERB", self.run_tool("--help").out)
        self.assertRegex(self.run_tool("--version").out, r"^vhdtool \d+\.\d+\.\d+\n$")
        for verb in VERBS:
            text = self.run_tool(verb, "--help").out
            self.assertIn(f"usage: vhdtool {verb} ", text)
            self.assertTrue(all(len(line) <= 100 for line in text.splitlines()))

    def test_a_report_that_does_not_get_through_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([VHDTOOL, "--help"], stdout=full, stderr=subprocess.PIPE,
                                  check=False, timeout=60)
        self.assertEqual(done.returncode, 5)
        self.assertIn(b"No space left", done.stderr)


@unittest.skipUnless(GENERATED, "no generated files given")
class Generated(Case):
    def options(self, verb):
        text = self.run_tool(verb, "--help").out
        found = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text.split("\nOptions:\n")[1], re.M))
        self.assertIn("--help", found)
        return found

    def test_every_option_is_in_the_manual_and_in_all_completions(self):
        bash = bytes_of(generated("vhdtool.bash")).decode()
        zsh = bytes_of(generated("_vhdtool")).decode()
        fish = bytes_of(generated("vhdtool.fish")).decode()
        for verb in VERBS:
            page = bytes_of(generated(f"vhdtool-{verb}.1")).decode().replace("\\-", "-")
            bash_line = re.search(rf"^    {verb}\) mapfile.*", bash, re.M)[0]
            zsh_part = re.search(rf"^    {verb}\)\n(.*?);;", zsh, re.M | re.S)[1]
            for option in self.options(verb):
                self.assertIn(option, page, verb)
                self.assertRegex(bash_line, rf"[ ']{option}[ ']", verb)
                self.assertIn(option, zsh_part, verb)
                self.assertRegex(
                    fish, rf"__fish_seen_subcommand_from {verb}'.* -l {option[2:]}\b", verb)

    def test_every_exit_code_is_in_every_page(self):
        for name in ("vhdtool", *(f"vhdtool-{verb}" for verb in VERBS)):
            page = bytes_of(generated(f"{name}.1")).decode()
            section = page.split(".SH EXIT STATUS\n")[1].split("\n.SH")[0]
            codes = [int(code) for code in re.findall(r"^\\fB(\d+)\\fR$", section, re.M)]
            self.assertEqual(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 130])

    @needs("groff")
    def test_manual_pages_render_without_a_warning(self):
        for name in ("vhdtool", *(f"vhdtool-{verb}" for verb in VERBS)):
            done = subprocess.run(
                ["groff", "-man", "-Tutf8", "-ww", "-z", generated(f"{name}.1")],
                capture_output=True, check=False, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, b""), name)

    @needs("man")
    def test_man_shows_every_verb(self):
        done = subprocess.run(["man", "--warnings", "-l", generated("vhdtool.1")],
                              capture_output=True, check=False, timeout=60,
                              env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"})
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        for verb in VERBS:
            self.assertIn(f"vhdtool-{verb}(1)", done.stdout.decode())

    @needs("bash")
    def test_bash_completes(self):
        script = generated("vhdtool.bash")
        subprocess.run(["bash", "-n", script], check=True, timeout=60)

        def complete(*words):
            program = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                       '_vhdtool; printf "%s\\n" "${COMPREPLY[@]}"')
            done = subprocess.run(["bash", "-c", program, "bash", script, "vhdtool", *words],
                                  capture_output=True, check=True, timeout=60, cwd=self.folder)
            self.assertEqual(done.stderr, b"")
            return done.stdout.decode().split()

        self.assertEqual(complete("co"), ["convert", "compare", "compact"])
        self.assertIn("--help", complete("-"))
        self.assertEqual(complete("create", "x.vhdx", "--si"), ["--size"])
        self.assertEqual(complete("create", "x.vhdx", "--format", ""), ["vhd", "vhdx"])
        self.assertEqual(complete("convert", "a", "b", "--to", "=", "r"), ["raw"])
        self.assertEqual(complete("create", "--size", ""), [])
        os.mkdir(self.path("parents"))
        self.assertEqual(complete("info", "x", "--parent-dir", "pa"), ["parents"])

    @needs("zsh")
    def test_zsh_parses(self):
        subprocess.run(["zsh", "-n", generated("_vhdtool")], check=True, timeout=60)

    @needs("fish")
    def test_fish_parses(self):
        subprocess.run(["fish", "-n", generated("vhdtool.fish")], check=True, timeout=60)


if __name__ == "__main__":
    unittest.main()
