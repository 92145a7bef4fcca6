"""Folders of runs: one for each run, whatever happens at once."""

import json
import subprocess
import sys
import textwrap

import pytest

from skaudio.cli.runs import CONFIGURATION, FINISHED, configuration, open_run


@pytest.fixture
def described(tmp_path):
    table = tmp_path / "train.csv"
    table.write_text("file,label\n")
    return configuration("cnn single-task", {"dropout": (0.0, 0.5), "path": table}, {"t": table})


def finish(run):
    (run / FINISHED).write_text("{}")


def test_an_unfinished_run_is_taken_up_again(tmp_path, described):
    with open_run(tmp_path / "runs", described) as first:
        pass
    with open_run(tmp_path / "runs", described) as second:
        finish(second)
    with open_run(tmp_path / "runs", described) as third:
        pass
    assert [run.name for run in (first, second, third)] == ["001", "001", "002"]
    assert json.loads((first / CONFIGURATION).read_text()) == described


@pytest.mark.parametrize("what", ["command", "option", "content"])
def test_another_configuration_is_another_run(tmp_path, described, what):
    with open_run(tmp_path / "runs", described) as first:
        pass
    table = tmp_path / "train.csv"
    if what == "content":
        table.write_text("file,label\nnew.wav,a\n")
    options = {"dropout": (0.0, 0.6 if what == "option" else 0.5), "path": table}
    command = "cnn multi-task" if what == "command" else "cnn single-task"
    with open_run(tmp_path / "runs", configuration(command, options, {"t": table})) as second:
        pass
    assert (first.name, second.name) == ("001", "002")


def test_two_at_once_have_two_folders(tmp_path, described):
    with open_run(tmp_path, described) as first, open_run(tmp_path, described) as second:
        assert first != second


def test_processes_at_once_have_as_many_folders(tmp_path):
    code = """
    import sys, time
    from pathlib import Path
    from skaudio.cli.runs import configuration, open_run

    with open_run(Path(sys.argv[1]), configuration("c", {}, {})) as run:
        print(run.name, flush=True)
        sys.stdin.read()
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(arguments, **pipes) for _ in range(3)]
    names = sorted(process.stdout.readline().strip() for process in processes)
    assert names == ["001", "002", "003"]
    processes[0].kill()  # no chance to tidy up: the run is free for the next
    for process in processes:
        process.communicate()
    with open_run(tmp_path, configuration("c", {}, {})) as run:
        assert run.name in names


def test_what_is_not_a_run_is_left_alone(tmp_path, described):
    (tmp_path / "runs" / "007").mkdir(parents=True)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / CONFIGURATION).write_text("[torn")
    with open_run(tmp_path / "runs", described) as run:
        assert run.name == "008"


def test_a_failure_stands_in_the_log(tmp_path, described):
    with pytest.raises(ValueError, match="no good"), open_run(tmp_path, described) as run:
        raise ValueError("no good")
    assert "ValueError: no good" in (run / "log.txt").read_text()
