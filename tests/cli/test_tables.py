"""Tables that people write."""

import re

import pytest

CLIPS = "low/0.wav,low-low\nlow/1.wav,low-mid\nlow/2.wav,low-high\n"
CLIPS += "low/3.wav,low-low\nlow/4.wav,low-mid\nlow/5.wav,low-high\n"


def train_on(command, tmp_path, content):
    """Train on a table of this content; return exit status and errors."""
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "t.csv").write_bytes(data)
    status, _, errors = command("cnn single-task {low} {tiny} -e 1 -tr {out}/t.csv")
    return status, errors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"t.csv: is empty, but expected the header file,label"),
        ("\n \n", r"t.csv: is empty"),
        ("file,label\n", r"t.csv: has a header only"),
        ("file\nlow/0.wav\n", r"t.csv, line 1: has the single column 'file'"),
        ("file;label\nlow/0.wav;a\n", r"single column 'file;label'.* with a comma"),
        ("file,label\nlow/0.wav,a\nlow/1.wav\n", r"t.csv, line 3: has 1 cells, but .* 2 columns"),
        ("file,label\nlow/0.wav,a,b\n", r"t.csv, line 2: has 3 cells.* between quotation marks"),
        ("file,label\nlow/0.wav,\n", r"t.csv, line 2: has no label, and 0 more lines"),
        ("file,label\n\nlow/0.wav,a\n,b\n,c\n", r"t.csv, line 4: has no file, and 1 more"),
        ("file,emotion\nlow/0.wav,a\n", r"t.csv: has a column file, but none .* label: .* emotion"),
        ("low/00.wav,a\nlow/1.wav,b\nlow/2.wav,a\n", r"1 of 3 files are missing: low/00.wav"),
        ("label,path\na,low/0.wav\n", r"t.csv: has a column label, but none .* called file"),
        ("file,label,label\nlow/0.wav,a,b\n", r"t.csv: has several columns 'label'"),
        (b"file,label\nlow/0.wav,\xff\n", r"t.csv: is no CSV file in UTF-8"),
        ('file,label\n"low/0.wav,a\n', r"t.csv: is no CSV file in UTF-8 \(unexpected end"),
        (
            "file,label\nlow/0.wav,a\ngone.wav,b\nlost.wav,b\n",
            r"t.csv: 2 of 3 files are missing: gone.wav, lost.wav. .* which --data-path sets",
        ),
    ],
)
def test_bad_tables(command, tmp_path, content, message):
    status, errors = train_on(command, tmp_path, content)
    assert status == 1
    assert re.search(message, errors)


@pytest.mark.parametrize(
    ("content", "notice"),
    [
        ("file,label\n" + CLIPS, None),
        ("\ufefffile, label\r\n" + CLIPS.replace("\n", "\r\n"), None),
        ("path,emotion\n" + CLIPS, r"'path' is taken as file, 'emotion' as label"),
        ("file,label,x,x\n" + CLIPS.replace("\n", ",7,7\n"), None),
        ("low/0.wav,label\n" + CLIPS, r"has no header; the first column is taken as file"),
        (CLIPS, r"has no header; the first column is taken as file"),
        ("file , label\n" + CLIPS.replace(",", " , ").replace("\n", " \n"), None),
        ("label,file\n" + re.sub(r"(.+),(.+)", r"\2,\1", CLIPS), None),
        ("name,x,kind\n" + CLIPS.replace(",", ",7,"), r"'name' is taken as file, 'kind' as label"),
    ],
    ids=[
        "plain",
        "with BOM",
        "other names",
        "columns of one name",
        "no header, and such a label",
        "no header",
        "blanks",
        "other order",
        "three columns",
    ],
)
def test_good_tables(command, tmp_path, content, notice):
    status, errors = train_on(command, tmp_path, content)
    assert status == 0, errors
    if notice is None:
        assert "taken as" not in errors
    else:
        assert re.search(notice, errors)


def test_labels_are_text(command, tmp_path):
    clips = CLIPS.replace("low-low", "01").replace("low-mid", "1").replace("low-high", "NA")
    table = "file,label\n" + clips
    for part in ("v", "te"):
        (tmp_path / f"{part}.csv").write_text(table)
    (tmp_path / "t.csv").write_text(table)
    status, _, errors = command(
        "cnn single-task {low} {tiny} -e 1 -tr {out}/t.csv -v {out}/v.csv -te {out}/te.csv"
    )
    assert status == 0, errors
    (predictions,) = tmp_path.glob("runs/**/predictions.csv")
    header, first, *_ = predictions.read_text().splitlines()
    assert header == "filename,probability_01,probability_1,probability_NA,pred_label,true_label"
    assert first.startswith("low/0.wav,")
    assert first.endswith(",01")
