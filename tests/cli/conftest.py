"""Two made corpora as sound files, with the three tables of each."""

import pytest
import soundfile

from skaudio.cli import main
from skaudio.datasets import make_tones

RATES = {"low": 16000, "odd": 22050}
NAMES = ("low", "mid", "high")


@pytest.fixture(scope="session")
def setup(tmp_path_factory):
    """Folder with the corpora low and odd: their clips, and ``TASK/{train,val,test}.csv``."""
    folder = tmp_path_factory.mktemp("made")
    for task, rate in RATES.items():
        X, y = make_tones(24, sample_rate=rate, duration=0.3, random_state=0)
        names = dict(
            zip(sorted(set(y), key=lambda label: int(label.split()[0])), NAMES, strict=True)
        )
        (folder / task).mkdir()
        lines = []
        for number, (clip, label) in enumerate(zip(X, y, strict=True)):
            n_samples = len(clip) - 400 * (number % 3)  # several lengths
            soundfile.write(folder / task / f"{number}.wav", clip[:n_samples], rate)
            lines.append(f"{task}/{number}.wav,{task}-{names[label]}")
        for part, chosen in {"train": lines[:12], "val": lines[12:18], "test": lines[18:]}.items():
            text = "\n".join(["file,label", *chosen]) + "\n"
            (folder / task / f"{part}.csv").write_text(text)
    return folder


TINY = {
    "cnn": "-nf 2 -N 1 -c FCNAttention -nm 16 -bs 8",
    "rnn": "-hd 4 -nm 16 -bs 8",
    "vgg16": "-nm 16 -bs 8",
    "fusion": "-nf 2 -N 1 -hd 4 --down-pool 4 -nm 16 -bs 8",
}


@pytest.fixture
def command(setup, tmp_path, capsys):
    """Run a command on the made corpora; return exit status, output and errors.

    ``{setup}`` stands for their folder, ``{out}`` for one to write to, ``{tiny}`` for options of
    a tiny network, ``{low}`` and ``{odd}`` for a single task's data.
    """

    def run(line):
        single = {
            task: f"-dp {setup} -t {task} " + " ".join(
                f"{flag} {setup}/{task}/{part}.csv"
                for flag, part in (("-tr", "train"), ("-v", "val"), ("-te", "test"))
            ) + f" -ebp {tmp_path}/runs"
            for task in RATES
        }  # fmt: skip
        network = next((name for name in TINY if f"{name} " in line), "cnn")
        many = f"-dp {setup} -mts {setup} -ebp {tmp_path}/runs"
        filled = line.format(setup=setup, out=tmp_path, tiny=TINY[network], many=many, **single)
        capsys.readouterr()
        status = main(filled.split())
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
