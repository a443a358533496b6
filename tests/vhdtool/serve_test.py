#!/usr/bin/env python3
"""serve: images over NBD, with the clients that people have: nbdinfo, nbdcopy, qemu-img, fio."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import unittest
import urllib.parse

from program import (BUSY, Case, GIB, IO, KIB, MIB, NOT_FOUND, OK, REFUSED, TIMEOUT, USAGE, VHDTOOL,
                     bytes_of, needs)

SKIPPED = 77  # CTest's SKIP_RETURN_CODE
FIO_JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "fio")


def have(program):
    return subprocess.run(["sh", "-c", f"command -v {program}"], stdout=subprocess.DEVNULL,
                          check=False).returncode == 0


class Server:
    """vhdtool serve, from the line that says it is ready until it is told to stop."""

    def __init__(self, case, *arguments, environment=None):
        self.process = subprocess.Popen(
            [VHDTOOL, "serve", *map(str, arguments), "--json"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment)
        text = b""
        while not text.endswith(b"\n}\n"):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"no report: {text!r} {self.process.stderr.read()!r}")
            text += line
        self.report = json.loads(text)
        self.case = case
        case.addCleanup(self.stop)

    def uri(self, index=0):
        return self.report["exports"][index]["uri"]

    def stop(self, how=signal.SIGTERM, code=OK):
        if self.process.returncode is not None:
            return b""
        self.process.send_signal(how)
        _, errors = self.process.communicate(timeout=TIMEOUT)
        if code is not None:
            self.case.assertEqual(self.process.returncode, code, errors)
        return errors

    def kill(self):
        """Server and tool end at once, as with the power."""
        os.kill(self.report["pid"], signal.SIGKILL)
        self.process.wait(timeout=TIMEOUT)
        self.process.stderr.close()
        self.process.stdout.close()


class NbdCase(Case):
    def serve(self, *arguments):
        return Server(self, *arguments, "--socket", self.path("nbd.sock"))

    def run_client(self, *words, code=0):
        done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}\n{done.stderr}")
        return done.stdout.decode()

    def filled(self, name="a.vhdx", size=64 * MIB, *options):
        path = self.create(name, size, *options)
        self.io(path, "write -P 1 3M 2M", "write -P 2 10M 4K", "zero 20M 1M")
        return path

    def wait_while_busy(self, *words):
        """The kernel keeps the locks of a dead process until its io_uring has come to rest."""
        deadline = time.monotonic() + 30
        while self.run_tool(*words, code=None).code == BUSY:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)


class Serve(NbdCase):
    @needs("nbdinfo")
    def test_nbdinfo_sees_what_the_server_can_do(self):
        path = self.filled("a.vhdx", 64 * MIB, "--block-size", "1M", "--logical-sector", "4096")
        server = self.serve(path)
        info = json.loads(self.run_client("nbdinfo", "--json", server.uri()))["exports"][0]
        self.assertEqual(info["export-size"], 64 * MIB)
        for ability in ("can_flush", "can_fua", "can_trim", "can_zero", "can_fast_zero",
                        "can_multi_conn", "can_df"):
            self.assertTrue(info[ability], ability)
        self.assertFalse(info["is_read_only"])
        self.assertEqual((info["block_size_minimum"], info["block_size_preferred"]), (4096, 4096))

    @needs("nbdinfo")
    def test_extents_are_those_of_the_map(self):
        path = self.filled("a.vhdx", 64 * MIB, "--block-size", "1M")
        server = self.serve(path, "--read-only")
        seen = json.loads(self.run_client("nbdinfo", "--map", "--json", server.uri()))
        merged = []
        for extent in self.run_tool("map", path, "--json").json()["extents"]:
            kind = {"data": 0, "zero": 2, "hole": 3}[extent["kind"]]
            if merged and merged[-1][2] == kind:
                merged[-1][1] += extent["length"]
            else:
                merged.append([extent["offset"], extent["length"], kind])
        self.assertEqual([[e["offset"], e["length"], e["type"]] for e in seen], merged)
        self.assertGreater(len(merged), 4)

    @needs("nbdcopy")
    def test_nbdcopy_out_and_in(self):
        for name, options in (("a.vhdx", ("--block-size", "1M")), ("a.vhd", ()),
                              ("f.vhd", ("--type", "fixed"))):
            with self.subTest(name):
                path = self.filled(name, 64 * MIB, *options)
                raw = self.path("out.raw")
                server = self.serve(path)
                self.run_client("nbdcopy", server.uri(), raw)
                server.stop()
                self.run_tool("compare", path, raw, "--format-b", "raw")
                back = self.create("new-" + name, 64 * MIB, *options)
                self.io(back, "write -P 9 40M 1M")
                server = self.serve(back)
                self.run_client("nbdcopy", "--flush", "--connections=4", raw, server.uri())
                server.stop()
                self.run_tool("compare", back, raw, "--format-b", "raw")
                self.run_tool("check", back)
                os.remove(raw)

    @needs("qemu-img")
    def test_qemu_img_converts_and_compares(self):
        path = self.filled()
        server = self.serve(path)
        self.run_client("qemu-img", "convert", "-f", "raw", "-O", "qcow2", server.uri(),
                        self.path("a.qcow2"))
        self.run_client("qemu-img", "compare", "-f", "qcow2", "-F", "raw", self.path("a.qcow2"),
                        server.uri())
        self.run_client("qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw",
                        self.path("a.qcow2"), server.uri())
        server.stop()
        self.run_tool("check", path)
        self.io(path, "read -P 1 3M 2M", "read -P 2 10M 4K", "read -P 0 20M 1M")

    @needs("qemu-io")
    def test_writes_zeroes_and_trims_reach_the_image(self):
        path = self.filled("a.vhdx", 64 * MIB, "--block-size", "1M")
        server = self.serve(path)
        self.run_client("qemu-io", "-f", "raw", server.uri(), "-c", "write -P 7 30M 1M",
                        "-c", "write -f -P 8 31M 64K", "-c", "write -z -u 3M 1M",
                        "-c", "write -z 4M 1M", "-c", "discard 30M 512K", "-c", "flush",
                        "-c", "write -P 6 1537 100", "-c", "read -P 8 31M 64K")
        server.stop()
        self.io(path, "read -P 0 3M 2M", "read -P 7 31981568 1K", "read -P 8 31M 64K",
                "read -P 6 1537 100", "read -P 0 1K 513")
        kinds = {e["offset"]: e["kind"] for e in
                 self.run_tool("map", path, "--json").json()["extents"]}
        # With leave to unmap the block is gone, without it there is space for it.
        self.assertNotEqual(kinds.get(3 * MIB), "data")
        self.assertEqual(kinds.get(4 * MIB), "data")
        self.run_tool("check", path)

    @needs("fio")
    def test_fio_verifies_what_it_wrote_from_many_jobs(self):
        path = self.create("a.vhdx", 256 * MIB, "--block-size", "1M")
        server = self.serve(path, "--threads", 8)
        self.run_client("fio", "--name=v", "--ioengine=nbd", f"--uri={server.uri()}",
                        "--rw=randwrite", "--bs=4k-64k", "--size=48M", "--io_size=16M",
                        "--numjobs=3", "--offset_increment=64M", "--iodepth=16", "--verify=crc32c",
                        "--verify_fatal=1", "--do_verify=1", "--thread=1",
                        f"--aux-path={self.folder}", "--output-format=terse")
        server.stop()
        self.run_tool("check", path)

    @needs("fio")
    @needs("qemu-nbd")
    def test_the_fio_jobs_run_on_our_server_and_on_qemus(self):
        path = self.create("a.vhdx", 16 * MIB)
        other = self.path("qemu.sock")
        theirs = subprocess.Popen(["qemu-nbd", "-f", "vhdx", "-k", other, "-t",
                                   self.create("b.vhdx", 16 * MIB)])
        self.addCleanup(theirs.wait)
        self.addCleanup(theirs.terminate)
        server = self.serve(path)
        while not os.path.exists(other):
            self.assertIsNone(theirs.poll())
            time.sleep(0.02)
        for uri in (server.uri(), f"nbd+unix:///?socket={urllib.parse.quote(other)}"):
            for job in ("nbd-verify.fio", "nbd-randwrite.fio", "nbd-randread.fio"):
                variables = {"URI": uri, "DISK_SIZE": "16m", "SECONDS_EACH": "1"}
                self.run_client("env", *(f"{name}={value}" for name, value in variables.items()),
                                "fio", f"--aux-path={self.folder}", os.path.join(FIO_JOBS, job))
        server.stop()
        self.run_tool("check", path)

    @needs("nbdinfo")
    def test_several_images_are_exports_by_name(self):
        one = self.create("one.vhdx", 4 * MIB)
        two = self.create("two.vhd", 8 * MIB)
        server = self.serve(one, two)
        self.assertEqual([e["name"] for e in server.report["exports"]], ["one.vhdx", "two.vhd"])
        for index, size in ((0, 4 * MIB), (1, 8 * MIB)):
            text = self.run_client("nbdinfo", "--size", server.uri(index))
            self.assertEqual(int(text), size)
        listed = json.loads(self.run_client("nbdinfo", "--list", "--json", server.uri()))
        self.assertEqual([e["export-name"] for e in listed["exports"]], ["one.vhdx", "two.vhd"])

    @needs("qemu-io")
    def test_read_only_changes_nothing_and_admits_readers(self):
        path = self.filled()
        before = bytes_of(path)
        server = self.serve(path, "--read-only")
        self.run_tool("info", path)
        self.run_client("qemu-io", "-f", "raw", server.uri(), "-c", "write 0 512", code=1)
        self.run_client("qemu-io", "-r", "-f", "raw", server.uri(), "-c", "read -P 1 3M 2M")
        server.stop()
        self.assertEqual(bytes_of(path), before)

    def test_a_chain_is_one_disk(self):
        base = self.filled("base.vhdx")
        child = self.path("child.avhdx")
        self.run_tool("create", child, "--parent", base)
        self.io(child, "write -P 5 3M 4K")
        server = self.serve(child)
        raw = self.path("raw")
        self.run_tool("convert", server.uri(), raw, "--to", "raw")
        server.stop()
        self.run_tool("compare", child, raw, "--format-b", "raw")

    @needs("qemu-io")
    def test_a_killed_server_leaves_what_was_flushed_and_a_sound_image(self):
        path = self.create("a.vhdx", 64 * MIB, "--block-size", "1M")
        server = self.serve(path)
        self.run_client("qemu-io", "-f", "raw", server.uri(), "-c", "write -P 7 0 3M",
                        "-c", "flush", "-c", "write -f -P 8 8M 4K")
        client = subprocess.Popen(
            ["qemu-io", "-f", "raw", server.uri(), "-c", "write -P 9 16M 40M"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.05)
        server.kill()
        client.wait(timeout=TIMEOUT)
        self.wait_while_busy("check", path)
        self.io(path, "read -P 7 0 3M", "read -P 8 8M 4K")
        self.run_tool("check", path)

    def test_a_port_is_on_the_loopback_address(self):
        path = self.create("a.vhdx", 4 * MIB)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Server(self, path, "--port", port)
        self.assertEqual(server.uri(), f"nbd://127.0.0.1:{port}/")
        listeners = []
        with open("/proc/net/tcp", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                address, state = line.split()[1], line.split()[3]
                if state == "0A" and int(address.split(":")[1], 16) == port:
                    listeners.append(address.split(":")[0])
        self.assertEqual(listeners, ["0100007F"])

    def test_stopping_closes_the_image_and_removes_the_socket(self):
        path = self.create("a.vhdx", 4 * MIB)
        for how in (signal.SIGTERM, signal.SIGINT):
            server = self.serve(path)
            self.run_tool("io", path, "-c", "write 0 512", code=BUSY)
            self.assertEqual(server.stop(how), b"")
            self.assertFalse(os.path.exists(self.path("nbd.sock")))
            self.io(path, "write 0 512")

    def test_what_is_wrong_is_one_line(self):
        path = self.create("a.vhdx", 4 * MIB)
        self.run_tool("serve", path, code=USAGE)
        self.run_tool("serve", path, "--socket", "s", "--port", 1, code=USAGE)
        self.run_tool("serve", path, "--port", 70000, code=USAGE)
        self.run_tool("serve", path, "--socket", "s", "--listen", "::", code=USAGE)
        self.run_tool("serve", path, path, "--socket", "s", code=USAGE)
        gone = self.path("gone.vhdx")
        outcome = self.run_tool("serve", gone, "--socket", self.path("s"), code=NOT_FOUND)
        self.assertIn("gone.vhdx: ", outcome.err)
        with open(self.path("text.vhdx"), "w", encoding="ascii") as file:
            file.write("no image\n" * 1000)
        self.run_tool("serve", self.path("text.vhdx"), "--socket", self.path("s"), code=REFUSED)
        # Something that nbdkit finds: a socket that is there.
        outcome = self.run_tool("serve", path, "--socket", path, code=IO)
        self.assertIn("nbdkit: ", outcome.err)
        self.io(path, "read -P 0 0 512")

    def test_without_nbdkit_it_says_so(self):
        path = self.create("a.vhdx", 4 * MIB)
        done = subprocess.run([VHDTOOL, "serve", path, "--socket", self.path("s")], timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              env={"PATH": self.folder})
        self.assertEqual(done.returncode, NOT_FOUND)
        self.assertEqual(done.stderr.decode().count("\n"), 1)
        self.assertIn("nbdkit is not installed", done.stderr.decode())


class Plugin(NbdCase):
    """The plugin alone, as nbdkit finds it."""

    PLUGIN = os.environ.get("OPENVHD_NBDKIT_PLUGIN", "openvhd")

    def nbdkit(self, *words, code=0):
        done = subprocess.run(["nbdkit", *map(str, words)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return (done.stdout + done.stderr).decode()

    def test_it_describes_itself(self):
        text = self.nbdkit("--dump-plugin", self.PLUGIN)
        self.assertIn("name=openvhd", text)
        self.assertIn("max_thread_model=parallel", text)
        self.assertIn("parent-dir=<DIR>", self.nbdkit("--help", self.PLUGIN))

    def test_wrong_parameters_are_refused(self):
        path = self.create("a.vhdx", 4 * MIB)
        for word in ("format=qcow2", "readonly=perhaps", "trust-owner=me", "colour=blue"):
            text = self.nbdkit("-U", "-", self.PLUGIN, path, word, "--run", "true", code=1)
            self.assertIn(word.split("=")[0], text)
        self.nbdkit("-U", "-", self.PLUGIN, "--run", "true", code=1)

    @needs("nbdinfo")
    def test_it_goes_into_the_background_with_its_locks(self):
        path = self.create("a.vhdx", 4 * MIB)
        pid_file, sock = self.path("pid"), self.path("s")
        self.nbdkit("-P", pid_file, "-U", sock, self.PLUGIN, path)
        uri = f"nbd+unix:///?socket={urllib.parse.quote(sock)}"
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        try:
            self.run_tool("io", path, "-c", "write 0 512", code=BUSY)
            subprocess.run(["nbdinfo", uri], check=True, stdout=subprocess.DEVNULL, timeout=60)
        finally:
            os.kill(pid, signal.SIGTERM)
        self.wait_while_busy("io", path, "-c", "write 0 512")
        self.run_tool("check", path)

    @needs("nbdinfo")
    def test_tls_is_nbdkits(self):
        path = self.create("a.vhdx", 4 * MIB)
        keys = self.path("keys")
        with open(keys, "w", encoding="ascii") as file:
            file.write("me:00112233445566778899aabbccddeeff\n")
        server = Server(self, path, "--socket", self.path("s"), "--tls-psk", keys)
        self.assertTrue(server.uri().startswith("nbds+unix://"))
        with_key = server.uri().replace("///?", "//me@/?") + f"&tls-psk-file={keys}"
        size = subprocess.run(["nbdinfo", "--size", with_key], stdout=subprocess.PIPE, check=True,
                              timeout=60).stdout
        self.assertEqual(int(size), 4 * MIB)
        plain = server.uri().replace("nbds+unix", "nbd+unix")
        refused = subprocess.run(["nbdinfo", "--size", plain], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertNotEqual(refused.returncode, 0)


if __name__ == "__main__":
    if not have("nbdkit"):
        print("skipped: nbdkit is not installed")
        sys.exit(SKIPPED)
    unittest.main()
