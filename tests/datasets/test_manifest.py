import numpy as np
import pandas as pd
import pytest

from skaudio.audio import AudioLoader
from skaudio.datasets import load_manifest
from skaudio.exceptions import AudioFormatError


@pytest.fixture
def corpus(tmp_path):
    """A folder with three (empty) files and the table that lists them."""
    (tmp_path / "wav").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "wav" / f"{name}.wav").touch()
    table = pd.DataFrame(
        {
            "file": ["wav/b.wav", "wav/a.wav", "wav/c.wav"],
            "label": ["none", "NA", "joy"],
            "speaker": ["anna", "ben", "anna"],
            "age": [31, 27, 31],
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path, table


def test_paths_start_from_the_folder_of_the_csv(corpus):
    folder, table = corpus
    clips = load_manifest(folder / "table.csv")
    assert clips.data.tolist() == [str(folder / file) for file in table["file"]]
    assert clips.target.tolist() == ["none", "NA", "joy"]  # neither is a missing value
    assert load_manifest(str(folder / "table.csv")).data.tolist() == clips.data.tolist()


def test_further_columns_are_kept(corpus):
    folder, table = corpus
    clips = load_manifest(folder / "table.csv")
    assert clips.speaker.tolist() == ["anna", "ben", "anna"]
    np.testing.assert_array_equal(clips.age, [31, 27, 31])
    assert list(clips.frame.columns) == list(table.columns)
    assert clips.frame["file"].tolist() == clips.data.tolist()


def test_a_column_with_a_taken_name_is_in_the_frame_only(corpus):
    folder, table = corpus
    clips = load_manifest(table.assign(target=[7, 8, 9]), base_dir=folder)
    assert clips.target.tolist() == ["none", "NA", "joy"]
    assert clips.frame["target"].tolist() == [7, 8, 9]


def test_a_table_works_like_its_csv_and_is_left_alone(corpus):
    folder, table = corpus
    before = table.copy()
    from_table = load_manifest(table, base_dir=folder)
    from_csv = load_manifest(folder / "table.csv")
    assert from_table.data.tolist() == from_csv.data.tolist()
    pd.testing.assert_frame_equal(table, before)


def test_paths_of_a_table_start_from_the_current_folder(corpus, monkeypatch):
    folder, table = corpus
    monkeypatch.chdir(folder)
    assert load_manifest(table).data.tolist() == table["file"].tolist()


def test_absolute_paths_stay(corpus, tmp_path_factory):
    folder, table = corpus
    table["file"] = [str(folder / file) for file in table["file"]]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert load_manifest(table, base_dir=elsewhere).data.tolist() == table["file"].tolist()


@pytest.mark.parametrize("labels", [[1, 2, 1], [0.5, 1.5, 2.5]])
def test_labels_keep_their_kind(corpus, labels):
    folder, table = corpus
    table.assign(label=labels).to_csv(folder / "numbers.csv", index=False)
    target = load_manifest(folder / "numbers.csv").target
    assert target.dtype == np.asarray(labels).dtype


@pytest.mark.parametrize(
    "speakers", [["03", "08", "11"], ["1e5", "2e5", "3e5"], ["+1", "2", "3"], ["nan", "1", "2"],
                 ["0x1f", "1", "2"], ["1_0", "1", "2"], ["True", "False", "True"],
                 ["1234567890123456", "1", "2"]],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("column", ["label", "speaker"])
def test_text_stays_text(corpus, column, speakers):
    folder, table = corpus
    table.assign(**{column: speakers}).to_csv(folder / "ids.csv", index=False)
    clips = load_manifest(folder / "ids.csv")
    assert clips["target" if column == "label" else column].tolist() == speakers
    assert clips.frame[column].tolist() == speakers


def test_numbers_are_numbers(corpus):
    folder, table = corpus
    numbers = {"arousal": [-0.5, 0.25, 1e-05], "year": [1999, 2004, 0]}
    table.assign(**numbers).to_csv(folder / "numbers.csv", index=False)
    clips = load_manifest(folder / "numbers.csv")
    for name, column in numbers.items():
        assert clips[name].tolist() == column
        assert clips[name].dtype == np.asarray(column).dtype


def test_an_empty_cell_among_numbers_is_nan(corpus):
    folder, table = corpus
    table.assign(age=["31", "", "27"]).to_csv(folder / "gaps.csv", index=False)
    np.testing.assert_array_equal(load_manifest(folder / "gaps.csv").age, [31, np.nan, 27])


def test_a_table_keeps_its_types(corpus):
    folder, table = corpus
    clips = load_manifest(table.assign(age=["31", "27", "31"]), base_dir=folder)
    assert clips.age.tolist() == ["31", "27", "31"]


def test_return_X_y(corpus):
    folder, _ = corpus
    data, target = load_manifest(folder / "table.csv", return_X_y=True)
    assert data.shape == target.shape == (3,)


def test_missing_columns_are_named(corpus):
    folder, table = corpus
    with pytest.raises(ValueError, match=r"columns \['path', 'speaker'.* expected also \['file', "):
        load_manifest(table.rename(columns={"file": "path"}).drop(columns="label"))
    table.drop(columns="label").to_csv(folder / "bad.csv", index=False)
    with pytest.raises(ValueError, match=r"bad.csv: has the columns .*expected also \['label'\]"):
        load_manifest(folder / "bad.csv")


def test_missing_files_are_counted_and_the_first_named(corpus):
    folder, _ = corpus
    table = pd.DataFrame({"file": [f"{i}.wav" for i in range(7)] + ["wav/a.wav"], "label": "x"})
    with pytest.raises(
        AudioFormatError, match=r"7 of 8 files are missing: .*0\.wav, .*4\.wav \.\."
    ):
        load_manifest(table, base_dir=folder)
    with pytest.raises(AudioFormatError, match=f"Check base_dir.* now {folder}"):
        load_manifest(table, base_dir=folder)


@pytest.mark.parametrize("column", ["file", "label"])
def test_empty_cells(corpus, column):
    folder, table = corpus
    table.loc[1, column] = None
    table.to_csv(folder / "gaps.csv", index=False)
    with pytest.raises(ValueError, match=f"gaps.csv: 1 of 3 rows have no {column}, first row 1"):
        load_manifest(folder / "gaps.csv")


def test_no_rows(corpus):
    _, table = corpus
    with pytest.raises(ValueError, match="The manifest: has no rows, expected one per clip"):
        load_manifest(table.head(0))


def test_blanks_beside_commas_belong_to_nothing(corpus):
    folder, _ = corpus
    text = '\ufefffile , "label", who \nwav/a.wav , joy ,ann\nwav/b.wav, "joy",  \n'
    (folder / "blanks.csv").write_text(text)
    clips = load_manifest(folder / "blanks.csv")
    assert clips.data.tolist() == [str(folder / "wav" / name) for name in ("a.wav", "b.wav")]
    assert clips.target.tolist() == ["joy", "joy"]
    assert clips.who[0] == "ann"
    assert pd.isna(clips.who[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"bad.csv: is no CSV file in UTF-8 with a header \(No columns to parse"),
        (b"file,label\nwav/a.wav,\xff\n", r"bad.csv: is no CSV file in UTF-8 .*can't decode"),
        (b"file,label\nwav/a.wav,x,\n", r"bad.csv: is no CSV .*Expected 2 fields in line 2, saw 3"),
        (b"file,label\nwav/a.wav,x\nwav/b.wav,x,y\n", r"bad.csv: is no CSV .*Expected 2 fields"),
        (b"file,label,label \nwav/a.wav,x,y\n", r"bad.csv: has several columns 'label'"),
        (b"file,label,label\nwav/a.wav,x,y\n", r"bad.csv: has several columns 'label'"),
        (b"file,label\n", r"bad.csv: has no rows"),
    ],
)
def test_no_table(corpus, content, message):
    folder, _ = corpus
    (folder / "bad.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_manifest(folder / "bad.csv")


def test_columns_without_a_name_do_no_harm(corpus):
    folder, _ = corpus
    (folder / "wide.csv").write_text('file,label,,\nwav/a.wav,"joy, pure",,\nwav/b.wav,joy,,7\n')
    clips = load_manifest(folder / "wide.csv")
    assert clips.target.tolist() == ["joy, pure", "joy"]
    assert clips["column 3"][1] == 7


def test_a_column_may_be_called_self(corpus):
    folder, table = corpus
    table["self"] = 1
    clips = load_manifest(table, base_dir=folder)
    np.testing.assert_array_equal(clips["self"], 1)


def test_no_such_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        load_manifest(tmp_path / "nowhere.csv")


def test_real_recordings(recordings):
    clips = load_manifest(recordings / "emodb.csv")
    assert len(clips.data) == 535
    assert len(set(clips.target)) == 7
    assert sorted(set(clips.speaker))[:3] == ["03", "08", "09"]
    assert len(set(clips.speaker)) == 10
    waveforms = AudioLoader().fit_transform(clips.data[:3])
    assert [len(waveform) for waveform in waveforms] == [32000] * 3
