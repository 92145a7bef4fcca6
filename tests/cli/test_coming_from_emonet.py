"""What docs/coming_from_emonet.md says is so."""

import re
from pathlib import Path

import pandas as pd
import pytest

from skaudio.cli.networks import NETWORKS

PAGE = (Path(__file__).parents[2] / "docs" / "coming_from_emonet.md").read_text(encoding="utf-8")


def test_the_training_in_python(setup):
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for number, small in {
        "n_filters=32": "n_filters=2", "n_blocks=2": "n_blocks=1", "3 * 50": "3",
        "steps_per_epoch=20": "steps_per_epoch=1", "max_epochs=1000": "max_epochs=2",
        '"crop": 2.0': '"crop": 0.2',
    }.items():  # fmt: skip
        assert number in code
        code = code.replace(number, small)
    tables = {
        (task, part): pd.read_csv(setup / task / f"{part}.csv").assign(corpus=task)
        for task in ("low", "odd")
        for part in ("train", "val", "test")
    }
    for table in tables.values():
        table["file"] = [str(setup / file) for file in table["file"]]
    names = {
        part: pd.concat([tables[task, part] for task in ("low", "odd")])
        for part in ("train", "val")
    }
    names |= {"new_train": tables["low", "train"], "new_val": tables["low", "test"]}
    exec(code, names)
    assert names["probability"].shape == (6, 3)
    assert names["small"].n_trained_parameters_ < names["small"].n_parameters_


def test_options_in_the_page_exist():
    commands = [command for group in NETWORKS for command in group.commands.values()]
    flags = {flag for command in commands for option in command.params for flag in option.opts}
    named = {
        flag
        for text in re.findall(r"`([^`\n]+)`", PAGE)
        for flag in re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text)
    }
    assert named - flags <= {"--help", "-vv"}


# Of the table of the original's options: which network and command has which.
@pytest.mark.parametrize(
    ("networks", "commands", "flags"),
    [
        ("crvf", "sme", "-dp --data-path -bs --batch-size -nm --num-mels -w --window -sfl "
         "--share-feature-layer"),
        ("crvf", "se", "-t --task -v --val-csv -im --initial-model"),
        ("crvf", "m", "-t --tasks -mts --multi-task-setup -spe --steps-per-epoch"),
        ("crvf", "s", "-tr --train-csv -te --test-csv -p --patience"),
        ("crvf", "e", "-po --predictions-output"),
        ("crf", "se", "-m --mode"),
        ("r", "sm", "-mfcc --num-mfccs -sa --share-attention -ua --use-attention -ip "
         "--input-projection"),
        ("crvf", "sm", "-e --epochs -lr --learning-rate -o --optimizer -l --loss -bw "
         "--balanced-weights --class-order -do --dropout -rn --random-noise -nw --n-workers -ebp "
         "--experiment-base-path"),
        ("cf", "sm", "-rd --rnn-dropout --recurrent-dropout"),
        ("c", "sme", "-N --number-of-resnet-blocks -nf --number-of-filters -wf --widen-factor -c "
         "--classifier -ib --input-bn"),
        ("f", "sm", "-N --number-of-resnet-blocks -nf --number-of-filters -wf --widen-factor"),
        ("v", "sm", "-c --classifier --weights"),
        ("rf", "sm", "-ib --input-bn -hd --hidden-dim -nl --number-of-layers -ct --cell-type "
         "--bidirectional --down-pool"),
        ("c", "sm", "-iwd --individual-weight-decay"),
        ("v", "s", "-ft --freeze-up-to"),
    ],
)  # fmt: skip
def test_commands_have_the_options_of_the_original(networks, commands, flags):
    full = {"s": "single-task", "m": "multi-task", "e": "evaluate"}
    for group in NETWORKS:
        for letter, name in full.items():
            if group.name[0] in networks and letter in commands:
                params = group.commands[name].params
                found = {flag for option in params for flag in option.opts}
                assert set(flags.split()) <= found, f"{group.name} {name}"
