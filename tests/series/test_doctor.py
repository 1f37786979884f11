"""The doctor is tested by breaking things: each is found, and its remedy named."""

import shutil
import subprocess
import sys
import types
from collections import namedtuple
from importlib import metadata

import pytest

from sslnb.series import doctor

DATA = doctor.ROOT / "data"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A copy of the data's tables with their files, by links; and its notebooks."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(
        DATA, root / "data", copy_function=lambda a, b: shutil.os.symlink(a, b)
    )
    (root / "data" / "checkpoint").mkdir(exist_ok=True)
    for name in doctor.CHECKPOINT:
        (root / "data" / "checkpoint" / name).touch()
    (root / "notebooks").mkdir()
    for name in doctor.NOTEBOOKS:
        (root / "notebooks" / f"{name}.ipynb").touch()
    (root / "notebooks" / "appendix").mkdir()
    for name in doctor.APPENDIX:
        (root / "notebooks" / "appendix" / f"{name}.ipynb").touch()
    return root


@pytest.fixture
def clone(shipped, tmp_path):
    """That copy, for one test to break."""
    return shutil.copytree(shipped, tmp_path / "clone", symlinks=True)


def states(findings):
    return [finding.state for finding in findings]


def test_every_finding_that_is_not_ok_says_what_to_do():
    for finding in doctor.everything():
        assert (finding.state == doctor.OK) == (not finding.remedy), finding


def test_this_environment_has_all_packages():
    for finding in doctor.packages():
        assert finding.state == doctor.OK, finding


def test_wanted_versions_are_those_of_the_metadata():
    needed, tests = doctor.wanted()
    assert needed["torch"] in (doctor.ROOT / "pyproject.toml").read_text()
    assert {"torch", "jupyterlab"} <= set(needed) and "pytest" in tests


def test_another_version_is_a_warning_with_both_versions(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "0.0.1" if name == "numpy" else real(name)
    )
    (numpy,) = [f for f in doctor.packages() if f.what == "numpy"]
    assert numpy.state == doctor.WARNING
    assert numpy.found == f"0.0.1; wanted {doctor.wanted()[0]['numpy']}"
    assert "make install" in numpy.remedy


def test_a_build_for_another_device_is_the_same_version(monkeypatch):
    monkeypatch.setattr(
        metadata,
        "version",
        lambda name: {**doctor.wanted()[0], **doctor.wanted()[1]}[name] + "+cpu",
    )
    assert set(states(doctor.packages())) == {doctor.OK}


def test_a_missing_package_stops_the_series_and_one_of_the_tests_does_not(monkeypatch):
    real = metadata.version

    def version(name):
        if name in ("pandas", "nbval"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = {f.what: f for f in doctor.packages()}
    assert found["pandas"].state == doctor.PROBLEM
    assert found["nbval"].state == doctor.WARNING
    assert "missing" in found["pandas"].found


def test_compiled_packages_that_do_not_fit_are_a_problem(monkeypatch):
    def load(name):
        if name == "torchaudio":
            raise OSError("undefined symbol: _ZN3c10")
        return types.ModuleType(name)

    monkeypatch.setattr(doctor, "load", load)
    found = doctor.torch_family()
    assert found.state == doctor.PROBLEM
    assert found.found == "torchaudio: undefined symbol: _ZN3c10"


def test_gpus_are_named_and_none_is_fine(monkeypatch):
    torch = doctor.load("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor.accelerator().found.startswith("none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda n: "A Card")
    found = doctor.accelerator()
    assert found.state == doctor.OK and found.found.startswith("A Card")


def test_a_cpu_without_bf16_is_told_the_other_precision(monkeypatch):
    def refuse(*_):
        raise RuntimeError("bf16 is not supported")

    monkeypatch.setattr(doctor.load("torch"), "conv2d", refuse)
    found = doctor.bf16()
    assert found.state == doctor.WARNING and "fp32" in found.remedy


def test_a_copy_of_the_data_is_complete(clone):
    found, checkpoint = doctor.data(clone / "data")
    assert found.state == checkpoint.state == doctor.OK
    assert states(doctor.notebooks(clone / "notebooks")) == [doctor.OK, doctor.OK]
    assert doctor.audio(clone / "data").state == doctor.OK


def test_a_missing_file_is_named(clone):
    victim = next((clone / "data" / "soundstamps" / "photos").iterdir())
    victim.unlink()
    found, _ = doctor.data(clone / "data")
    assert found.state == doctor.PROBLEM
    assert f"1 missing or empty: data/soundstamps/photos/{victim.name}" in found.found
    assert "git checkout" in found.remedy


def test_an_empty_file_counts_as_missing(clone):
    victim = next((clone / "data" / "soundstamps" / "sounds").iterdir())
    victim.unlink()
    victim.touch()
    assert victim.name in doctor.data(clone / "data").__next__().found


def test_a_missing_table_is_named(clone):
    (clone / "data" / "soundstamps" / "wild.tsv").unlink()
    found, _ = doctor.data(clone / "data")
    assert found.state == doctor.PROBLEM and "wild.tsv" in found.found


def test_a_missing_checkpoint_does_not_stop_a_run(clone):
    (clone / "data" / "checkpoint" / "model.json").unlink()
    _, found = doctor.data(clone / "data")
    assert found.state == doctor.WARNING and "model.json" in found.found


def test_a_missing_notebook_is_named(clone):
    (clone / "notebooks" / "04_equivariance_loss.ipynb").unlink()
    found, appendices = doctor.notebooks(clone / "notebooks")
    assert found.state == doctor.PROBLEM and "04_equivariance_loss.ipynb" in found.found
    assert appendices.state == doctor.OK


def test_a_missing_appendix_does_not_stop_a_run(clone):
    (clone / "notebooks" / "appendix" / "A2_protocols.ipynb").unlink()
    found, appendices = doctor.notebooks(clone / "notebooks")
    assert (found.state, appendices.state) == (doctor.OK, doctor.WARNING)
    assert "notebooks/appendix/A2_protocols.ipynb" in appendices.found


def test_a_damaged_recording_is_named(clone):
    first = sorted((clone / "data" / "soundstamps" / "sounds").iterdir())[0]
    first.unlink()
    first.write_bytes(b"no sound")
    found = doctor.audio(clone / "data")
    assert found.state == doctor.PROBLEM and first.name in found.found


def test_a_missing_libsndfile_is_told_the_package(monkeypatch):
    def load(name):
        raise OSError("sndfile library not found")

    monkeypatch.setattr(doctor, "load", load)
    assert "libsndfile1" in doctor.audio().remedy


def test_a_full_disk_names_the_need_and_the_smaller_install(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 5e9))
    found = doctor.disk(doctor.INSTALL)
    assert found.state == doctor.PROBLEM and found.found == "5.0 GB"
    assert f"need {doctor.INSTALL} GB" in found.remedy and "TORCH=cpu" in found.remedy
    assert doctor.disk(doctor.INSTALL_CPU).state == doctor.OK


def test_little_memory_and_one_core_are_warnings(monkeypatch):
    monkeypatch.setattr(doctor.os, "sysconf", lambda name: 1024)
    found = doctor.memory()
    assert found.state == doctor.WARNING and "6 GB" in found.remedy
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert states(doctor.machine()) == [doctor.OK, doctor.WARNING]


def test_an_old_python_is_told_which_is_needed():
    found = doctor.python(needed=(4, 2))
    assert found.state == doctor.PROBLEM and "4.2 or newer" in found.remedy


def test_debian_without_venv_is_told_the_package(monkeypatch):
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util,
        "find_spec",
        lambda name: None if name == "ensurepip" else real(name),
    )
    found = doctor.can_make_environments()
    assert found.state == doctor.PROBLEM and found.found == "no ensurepip"
    assert "apt install python3-venv" in found.remedy


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    found = doctor.write_permission(tmp_path / "not there")
    assert found.state == doctor.PROBLEM and "not there" in found.remedy


def test_the_kernel_of_another_python_is_found(monkeypatch):
    specs = types.SimpleNamespace(
        get_kernel_spec=lambda name: types.SimpleNamespace(
            argv=["/elsewhere/bin/python", "-m", "ipykernel"],
            resource_dir="/elsewhere/spec",
        )
    )
    monkeypatch.setattr(doctor, "load", lambda name: specs)
    found = doctor.kernel()
    assert found.state == doctor.WARNING and "/elsewhere/spec" in found.remedy
    specs.get_kernel_spec = lambda name: types.SimpleNamespace(
        argv=["python", "-m", "ipykernel"], resource_dir=""
    )
    assert doctor.kernel().state == doctor.OK
    monkeypatch.setattr(doctor, "load", doctor.importlib.import_module)
    assert doctor.kernel().state == doctor.OK  # the real one, here


# --- the report -------------------------------------------------------------

THREE = [
    doctor.Finding("a", doctor.OK, "fine"),
    doctor.Finding("b", doctor.WARNING, "so so", "do this"),
    doctor.Finding("c", doctor.PROBLEM, "broken", "do that"),
    doctor.Finding("d", doctor.PROBLEM, "broken too", "do that"),
]


def test_only_a_problem_makes_the_exit_code_1(capsys):
    assert doctor.report(THREE[:2]) == 0
    assert doctor.report(THREE) == 1
    assert "1 ok, 1 warnings, 2 problems" in capsys.readouterr().out


def test_the_report_says_what_to_do_once_for_all_that_need_it(capsys):
    doctor.report(THREE)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[:6]] == [
        "ok",
        "WARNING",
        "→",
        "PROBLEM",
        "PROBLEM",
        "→",
    ]
    assert lines[2][1:] == ["do", "this"] and lines[5][1:] == ["do", "that"]


def test_quiet_prints_only_what_is_not_ok(capsys):
    assert doctor.report(THREE[:1], quiet=True) == 0
    assert capsys.readouterr().out == ""
    doctor.report(THREE, quiet=True)
    assert "fine" not in (out := capsys.readouterr().out) and "broken" in out


def test_it_runs_with_nothing_installed():
    """`-S`: no packages at all; each that is missing is named, and nothing breaks."""
    script = "sslnb/series/doctor.py"  # as the Makefile runs it
    found = subprocess.run(
        [sys.executable, "-S", script], cwd=doctor.ROOT, capture_output=True, text=True
    )
    assert found.returncode == 1 and not found.stderr
    assert "PROBLEM  torch " in found.stdout and "make install" in found.stdout
    before = subprocess.run(
        [sys.executable, "-S", script, "--install"],
        cwd=doctor.ROOT,
        capture_output=True,
        text=True,
    )
    assert "free disk" in before.stdout and "torch" not in before.stdout


def test_a_folder_that_is_no_clone_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a clone"):
        doctor.main([])
