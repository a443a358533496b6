"""The Python package on the library as others get it: shared, through its C interface."""

import array
import ast
import concurrent.futures
import ctypes
import errno
import inspect
import os
import re
import shutil
import subprocess
import sys

import openvhd
import pytest
from openvhd import _native

KIB, MIB = 1 << 10, 1 << 20
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGE = os.path.join(SOURCE, "bindings", "python")


@pytest.fixture(params=["a.vhdx", "a.vhd"])
def image(request, tmp_path):
    path = tmp_path / request.param
    openvhd.create(path, 64 * MIB)
    return path


@pytest.fixture
def vhdx(tmp_path):
    path = tmp_path / "x.vhdx"
    openvhd.create(path, 64 * MIB, block_size=MIB)
    return path


def test_what_was_written_is_read_back(image):
    with openvhd.open(image, writable=True) as disk:
        assert disk.size == 64 * MIB and disk.geometry.writable
        assert disk.write(b"across sectors", 3 * MIB - 7) == 14
        disk.write(b"kept", 100, durable=True)
        disk.flush()
        assert disk.read(14, 3 * MIB - 7) == b"across sectors"
    with openvhd.open(image) as disk:
        assert disk.read(16, 3 * MIB - 8) == b"\0across sectors\0"
        assert disk.read(4, 100) == b"kept"
        assert disk.read(0, 0) == b""
    assert openvhd.check(image) == []


def test_everything_with_a_buffer_is_written_and_read_into(vhdx):
    whole = bytes(range(256)) * 16
    with openvhd.open(vhdx, writable=True) as disk:
        for number, data in enumerate((whole, bytearray(whole), memoryview(whole),
                                       memoryview(whole)[0:4096], array.array("B", whole),
                                       (ctypes.c_char * 4096).from_buffer_copy(whole))):
            assert disk.write(data, number * 8192 + 1) == 4096
            assert disk.read(4096, number * 8192 + 1) == whole
        into = array.array("I", bytes(4096))
        assert disk.readinto(into, 1) == 4096
        assert into.tobytes() == whole
        view = memoryview(bytearray(8192))
        disk.readinto(view[1024:5120], 1)
        assert bytes(view) == bytes(1024) + whole + bytes(3072)
        with pytest.raises((BufferError, TypeError)):
            disk.readinto(b"read only")
        with pytest.raises(BufferError):
            disk.write(memoryview(whole)[::2])
        with pytest.raises(TypeError):
            disk.write("text")


def test_zero_and_trim(vhdx):
    with openvhd.open(vhdx, writable=True) as disk:
        disk.write(b"\1" * (4 * MIB), 0)
        disk.zero(MIB, MIB)
        disk.trim(2 * MIB, MIB, durable=True)
        disk.zero(100, 50)
        assert disk.read(200, 0) == b"\1" * 100 + bytes(50) + b"\1" * 50
        assert disk.read(4 * MIB, 0)[MIB:3 * MIB] == bytes(2 * MIB)
        kinds = {extent.offset // MIB: extent.kind for extent in disk.map()}
        assert kinds[0] == "data" and kinds[1] != "data"


def test_the_map_covers_the_disk(vhdx):
    with openvhd.open(vhdx, writable=True) as disk:
        disk.write(b"\1" * (2 * MIB), 8 * MIB)
        at = 0
        for extent in disk.map():
            assert extent.offset == at
            at += extent.length
            stored = 8 * MIB <= extent.offset < 10 * MIB
            assert (extent.kind == "data") == stored
            assert (extent.host_offset is not None) == stored
        assert at == disk.size
        part = list(disk.map(8 * MIB, 512))
        assert [(e.offset, e.length, e.layer) for e in part] == [(8 * MIB, 512, 0)]
        with pytest.raises(openvhd.Error):
            next(disk.map(1, 512))


def test_a_chain_is_one_disk(tmp_path):
    for ending in ("vhdx", "vhd"):
        base, child = tmp_path / f"base.{ending}", tmp_path / f"child.{ending}"
        openvhd.create(base, 16 * MIB)
        with openvhd.open(base, writable=True) as disk:
            disk.write(b"\1" * MIB, 0)
        openvhd.create(child, parent=base)
        with openvhd.open(child, writable=True) as disk:
            disk.write(b"\2" * 512, 512)
            assert disk.read(1536) == b"\1" * 512 + b"\2" * 512 + b"\1" * 512
            assert disk.geometry.layers == 2 and len(disk.files) == 2
            top, below = disk.layers()
            assert (top.type, below.type) == ("differencing", "dynamic")
            assert top.path == str(child) and os.path.samefile(below.path, base)
            assert re.fullmatch(r"[0-9a-f-]{36}", top.parent_linkage)
            assert below.parent_linkage is None
            assert {extent.layer for extent in disk.map(0, MIB)} == {0, 1}
        with openvhd.open(child, open_parents=False) as alone:
            assert len(alone.files) == 1
            with pytest.raises(openvhd.Error):
                alone.read(512, 0)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        moved = elsewhere / base.name
        shutil.move(base, moved)
        with pytest.raises(openvhd.Error):
            openvhd.open(child)
        with openvhd.open(child, parents=[moved]) as disk:
            assert disk.read(512) == b"\1" * 512
        with openvhd.open(child, parent_dirs=[elsewhere]) as disk:
            assert disk.read(512, 512) == b"\2" * 512


def test_errors_say_what_is_wrong(tmp_path, vhdx):
    with pytest.raises(openvhd.Error) as gone:
        openvhd.open(tmp_path / "gone.vhdx")
    assert gone.value.errno == errno.ENOENT and gone.value.reason == "not-found"
    assert "gone.vhdx: " in gone.value.strerror
    text = tmp_path / "text.vhdx"
    text.write_bytes(b"no image" * 1000)
    with pytest.raises(OSError):
        openvhd.open(text)
    with pytest.raises(openvhd.Error) as there:
        openvhd.create(vhdx, MIB)
    assert there.value.errno == errno.EEXIST
    with openvhd.open(vhdx) as disk:
        with pytest.raises(openvhd.Error) as refused:
            disk.write(b"x")
        assert (refused.value.errno, refused.value.reason) == (errno.EROFS, "read-only")
        with pytest.raises(openvhd.Error) as beyond:
            disk.read(1, disk.size)
        assert (beyond.value.errno, beyond.value.reason) == (errno.ERANGE, "out-of-range")
        with pytest.raises(openvhd.Error) as busy:
            openvhd.open(vhdx, writable=True)
        assert (busy.value.errno, busy.value.reason) == (errno.EBUSY, "busy")
        for wrong in (lambda: disk.read(-1), lambda: disk.read(1, -1), lambda: disk.read(1, 2**64)):
            with pytest.raises(ValueError):
                wrong()


def test_arguments_are_checked(tmp_path, vhdx):
    for wrong in (lambda: openvhd.open(vhdx, format="qcow2"),
                  lambda: openvhd.open(vhdx, driver="aio"),
                  lambda: openvhd.open(vhdx, writable=True, inspect=True),
                  lambda: openvhd.open("a\0b"),
                  lambda: openvhd.create(tmp_path / "n.vhdx", MIB, type="thin"),
                  lambda: openvhd.create(tmp_path / "n.vhdx", -1)):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(TypeError):
        openvhd.open(vhdx, no_such_option=1)
    assert not (tmp_path / "n.vhdx").exists()


def test_a_closed_disk_says_so(vhdx):
    disk = openvhd.open(vhdx)
    assert "read-only" in repr(disk)
    disk.close()
    disk.close()
    assert disk.closed and "closed" in repr(disk)
    for use in (lambda: disk.read(1), disk.flush, disk.layers, lambda: next(disk.map())):
        with pytest.raises(ValueError):
            use()
    with openvhd.open(vhdx, writable=True):
        pass  # nobody holds it


def test_a_disk_that_is_forgotten_is_closed(vhdx):
    openvhd.open(vhdx, writable=True)
    with openvhd.open(vhdx, writable=True) as disk:
        disk.write(b"x")


def test_threads_share_a_disk(vhdx):
    with openvhd.open(vhdx, writable=True) as disk:
        def work(number):
            data = bytes([number]) * 4096
            for at in range(number * 4096, 32 * MIB, 64 * 32 * KIB):
                disk.write(data, at)
                assert disk.read(4096, at) == data
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(1, 9)))
        disk.flush()
    assert openvhd.check(vhdx) == []


def test_as_a_file(vhdx):
    with openvhd.open(vhdx, writable=True) as disk:
        with disk.raw() as file:
            assert file.seek(-4, os.SEEK_END) == 64 * MIB - 4
            assert file.write(b"end!and more") == 4
            with pytest.raises(OSError):
                file.write(b"x")
            assert file.read(10) == b""
            file.seek(-4, os.SEEK_CUR)
            assert file.read(10) == b"end!"
            with pytest.raises(ValueError):
                file.seek(-1)
        assert not disk.closed
        assert disk.read(4, 64 * MIB - 4) == b"end!"


def test_convert_tells_how_far_it_is_and_stops(image, tmp_path):
    with openvhd.open(image, writable=True) as disk:
        disk.write(os.urandom(8 * MIB), 8 * MIB)
    seen = []
    flat = tmp_path / "flat.vhdx"
    result = openvhd.convert(image, flat, progress=lambda *progress: seen.append(progress))
    assert result.virtual_size == 64 * MIB
    assert result.copied_bytes + result.cloned_bytes >= 8 * MIB
    assert seen and all(done <= total for done, total in seen)
    with openvhd.open(image) as a, openvhd.open(flat) as b:
        assert a.read(64 * MIB) == b.read(64 * MIB)
    with pytest.raises(openvhd.Error) as stopped:
        openvhd.convert(image, tmp_path / "stopped.vhdx", progress=lambda *_: False)
    assert stopped.value.errno == errno.ECANCELED

    def fails(*_):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        openvhd.convert(image, tmp_path / "stopped.vhdx", progress=fails)
    assert not (tmp_path / "stopped.vhdx").exists()
    raw = tmp_path / "disk.raw"
    openvhd.convert(flat, raw, format="raw", offset=8 * MIB, length=MIB)
    with openvhd.open(flat) as disk:
        assert raw.read_bytes() == disk.read(MIB, 8 * MIB)


def test_check_finds_what_azure_refuses(vhdx):
    findings = openvhd.check(vhdx, azure=True)
    assert findings and findings[0].severity == "error"
    assert findings[0].file == str(vhdx) and findings[0].id.startswith("AZ")


def test_checkpoints_keep_states_and_go_back(image):
    def put(path, data):
        with openvhd.open(path, writable=True) as disk:
            disk.write(data, MIB)

    def get(path):
        with openvhd.open(path) as disk:
            return disk.read(4, MIB)

    put(image, b"one.")
    tree = openvhd.checkpoints(image)
    assert (tree.current, tree.current_parent, tree.checkpoints) == (str(image), None, ())
    tree = openvhd.create_checkpoint(image, "first")
    (first,) = tree.checkpoints
    assert (first.name, first.file, first.parent, first.hidden) == ("first", str(image), None,
                                                                    False)
    assert tree.current_parent == first.id and tree.current != str(image)
    put(tree.current, b"two.")
    tree = openvhd.create_checkpoint(tree.current)
    second = tree.checkpoints[1]
    assert second.parent == first.id and second.name
    put(tree.current, b"tres")
    with openvhd.open(tree.current):
        with pytest.raises(openvhd.Error) as busy:
            openvhd.create_checkpoint(image)
        assert busy.value.reason == "busy"
    tree = openvhd.apply_checkpoint(image, "first", discard=True)
    assert tree.current_parent == first.id and get(tree.current) == b"one."
    tree = openvhd.rename_checkpoint(image, second.id, "zwei ä")
    assert [one.name for one in tree.checkpoints] == ["first", "zwei ä"]
    tree = openvhd.apply_checkpoint(image, "zwei ä", discard=True)
    assert get(tree.current) == b"two."
    seen = []
    tree = openvhd.delete_checkpoint(image, "first", progress=lambda *far: seen.append(far))
    assert [one.name for one in tree.checkpoints] == ["zwei ä"] and seen
    assert tree == openvhd.checkpoints(tree.current)
    assert get(tree.current) == b"two."
    for wrong in (lambda: openvhd.delete_checkpoint(tree.current, "none"),
                  lambda: openvhd.checkpoints(image.with_name("gone.vhdx"))):
        with pytest.raises(openvhd.Error) as gone:
            wrong()
        assert gone.value.errno == errno.ENOENT


def test_structures_are_those_of_the_header(tmp_path):
    """Sizes and places, as the recorded binary interface has them."""
    with open(os.path.join(SOURCE, "tests", "c", "abi", "layout.txt"), encoding="ascii") as file:
        recorded = [line.split() for line in file]
    names = {"".join(part.title() for part in words[0].split("_")[1:]): words[0]
             for words in recorded if "." not in words[0] and words[0].islower()}
    compared = 0
    for python, c in names.items():
        structure = getattr(_native, python, None)
        if structure is None:
            continue
        entries = [(name.split(".")[1], int(at), int(size)) for name, at, size in
                   (words for words in recorded if words[0].startswith(c + "."))]
        fields = [(name, getattr(structure, name).offset, getattr(structure, name).size)
                  for name, _ in structure._fields_]
        assert fields == entries, python
        compared += 1
    assert compared == 11


def test_the_stub_is_what_is_there():
    with open(os.path.join(PACKAGE, "src", "openvhd", "__init__.pyi"), encoding="utf-8") as file:
        stub = ast.parse(file.read())
    declared = {node.name: node for node in stub.body
                if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert set(declared) == set(openvhd.__all__)
    for name, node in declared.items():
        thing = getattr(openvhd, name)
        if isinstance(node, ast.FunctionDef):
            real = inspect.signature(thing)
            words = [a.arg for a in node.args.args + node.args.kwonlyargs]
            known = [p for p, kind in real.parameters.items() if kind.kind != kind.VAR_KEYWORD]
            assert words[:len(known)] == known, name
            if len(known) != len(real.parameters):
                policy = inspect.signature(openvhd._set_policy)
                assert words[len(known):] == list(policy.parameters)[1:], name
        else:
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    assert hasattr(thing, member.name), f"{name}.{member.name}"


def test_a_wheel_is_made(tmp_path):
    pytest.importorskip("setuptools")
    pytest.importorskip("wheel")
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source)
    code = ("import sys; sys.argv = ['setup.py', '-q', 'bdist_wheel', '-d', sys.argv[1]]; "
            "import setuptools; setuptools.setup()")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=source, check=True, timeout=120)
    (wheel,) = tmp_path.glob("openvhd-*-py3-none-any.whl")
    target = tmp_path / "installed"
    shutil.unpack_archive(wheel, target, "zip")
    assert {path.name for path in (target / "openvhd").iterdir()} == {
        "__init__.py", "__init__.pyi", "_native.py", "py.typed"}
    run = "import openvhd; print(openvhd.__file__, openvhd.version())"
    printed = subprocess.run([sys.executable, "-c", run], check=True, stdout=subprocess.PIPE,
                             env={**os.environ, "PYTHONPATH": str(target)}, timeout=60).stdout
    assert printed.decode().startswith(str(target))


def test_the_readme_runs(tmp_path):
    with open(os.path.join(PACKAGE, "README.md"), encoding="utf-8") as file:
        program = re.search(r"```python\n(.*?)```", file.read(), re.S)[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True,
                          stdout=subprocess.PIPE, timeout=120)
    assert b"b'hello'" in done.stdout
