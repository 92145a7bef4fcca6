import pytest

from skaudio.datasets import load_folder


@pytest.fixture
def folder(tmp_path):
    for name in ("dog/b.wav", "dog/a.FLAC", "cat/old/c.mp3", "cat/d.ogg", "cat/notes.txt",
                 "cat/._d.ogg", "cat/.old/g.wav", ".git/e.wav", "f.wav"):  # fmt: skip
        file = tmp_path / "sounds" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "sounds"


def test_labels_are_the_sub_folders_and_all_is_sorted(folder):
    clips = load_folder(folder)
    assert clips.target.tolist() == ["cat", "cat", "dog", "dog"]
    expected = ["cat/d.ogg", "cat/old/c.mp3", "dog/a.FLAC", "dog/b.wav"]
    assert clips.data.tolist() == [str(folder / name) for name in expected]
    assert clips.frame["file"].tolist() == clips.data.tolist()
    assert clips.frame["label"].tolist() == clips.target.tolist()


def test_labels_that_look_like_numbers_stay_text(tmp_path):
    for name in ("03", "10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").touch()
    clips = load_folder(tmp_path)
    assert clips.target.tolist() == clips.frame["label"].tolist() == ["03", "10"]


def test_return_X_y(folder):
    data, target = load_folder(str(folder), return_X_y=True)
    assert data.shape == target.shape == (4,)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        load_folder(tmp_path / "nowhere")


def test_a_file(folder):
    with pytest.raises(NotADirectoryError, match=r"f\.wav: is a file, expected a folder"):
        load_folder(folder / "f.wav")


def test_no_sub_folders(folder):
    with pytest.raises(ValueError, match="dog: has no sub-folders, expected one per label"):
        load_folder(folder / "dog")


def test_a_label_without_sounds(folder):
    (folder / "frog").mkdir()
    (folder / "frog" / "readme.txt").touch()
    with pytest.raises(ValueError, match=r"frog: holds no sound files, expected .*\.wav"):
        load_folder(folder)
