"""Running programs, files of noise, settled file systems."""

import os
import random
import subprocess
import sys

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def run(command, stdin=None):
    """Runs to the end; a failure ends everything. Returns standard output and standard error."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, stdin=stdin)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def first_line(command):
    """Of what a program says, or what is wrong with it."""
    try:
        return run(command)[0].splitlines()[0]
    except (FileNotFoundError, IndexError):
        return f"{command[0]}: not there"


def verify_equal(what, a, a_form, b, b_form):
    same = subprocess.run(["qemu-img", "compare", "-f", a_form, "-F", b_form, a, b],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if same.returncode != 0:
        sys.exit(f"{what}: the result is not equal to its source: {same.stdout}")


def remove(path):
    if os.path.exists(path):
        os.unlink(path)


def settle(folder):
    """Lets the work of removing and of earlier rounds reach the disk before the clock runs."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.sync()


def leave_cache(path):
    """Makes a file durable and takes it out of the page cache, which direct I/O stumbles over."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


POOL = os.urandom(24 * MIB)


def noise(state, length):
    """Bytes without a zero run that anyone could skip, and that nobody can compress."""
    begin = state.randrange(len(POOL) - length)
    return POOL[begin:begin + length]


def make_dense(path, size):
    state = random.Random(2)
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            file.write(noise(state, MIB))
    settle(os.path.dirname(path))


def make_hole(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
