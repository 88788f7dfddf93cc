"""Names, lists, patterns and folders: what is done, what is passed over, and what is refused."""

import os
from pathlib import Path

import pytest

from jaxvsr.errors import InputError, OutputError, StoppedError, UsageError
from jaxvsr.host import folders
from jaxvsr.host.files import whole
from jaxvsr.video import names
from jaxvsr.video.sequence import first_picture, is_pattern, members, numbered

SYSTEMS = ("._a.mp4", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.mkv")


@pytest.fixture
def tree(tmp_path) -> Path:
    """A folder of two films, a picture, what systems leave, a text, and a folder with a film."""
    for name in ("a2.mp4", "a10.mp4", "p.PNG", "notes.txt", *SYSTEMS, "deep/b.mkv", "deep/._b.mkv"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"x")
    (tmp_path / "in" / "folder.mp4").mkdir()
    return tmp_path / "in"


def places(found: folders.Found) -> set[str]:
    return {str(place) for _, place in found.files}


def test_a_folder_says_what_it_passes_over(tree):
    found = folders.gather([tree])
    assert places(found) == {"a2.mp4", "a10.mp4", "p.PNG"} and found.folder == tree
    by_name = {Path(n).name: why for why, all_ in found.passed.items() for n in all_}
    assert by_name.keys() == {*SYSTEMS, "notes.txt", "deep", "folder.mp4"}
    assert "--recursive" in by_name["deep"] and "by its name" in by_name["notes.txt"]
    assert all(by_name[name] == folders.HIDDEN for name in SYSTEMS)


def test_recursive_keeps_the_tree_and_leaves_results_alone(tree):
    (tree / "out").mkdir()
    (tree / "out" / "a2.mp4").write_bytes(b"x")
    (tree / "loop").symlink_to(tree)
    found = folders.gather([tree], tree / "out", recursive=True)
    assert places(found) == {"a2.mp4", "a10.mp4", "p.PNG", "deep/b.mkv"}
    assert found.passed["a link to a folder"] == [str(tree / "loop")]


def test_lists_and_patterns(tree):
    both = folders.gather([tree / "a10.mp4", tree / "deep"])
    assert places(both) == {"a10.mp4", "deep/b.mkv"} and not both.single
    found = folders.gather([tree / "*"])
    assert [str(place) for _, place in found.files] == ["a2.mp4", "a10.mp4", "deep/b.mkv", "p.PNG"]
    assert found.passed == {
        folders.UNKNOWN: [str(tree / "notes.txt")],
        folders.HIDDEN: [str(tree / "deep/._b.mkv")],
    }
    assert places(folders.gather([tree / "**" / "*.mkv"])) == {"b.mkv"}
    (tree / "[1].mp4").write_bytes(b"x")
    assert folders.gather([tree / "[1].mp4"]).single  # what is there is no pattern
    for wrong in ("*.avi", "none.mp4", "n" * 300):
        with pytest.raises(InputError, match="check"):
            folders.gather([tree / wrong])


def test_a_folder_of_nothing_usable_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt"):
        folders.gather([tmp_path])


def test_paths_of_a_command_line(tree):
    split = lambda *given, output=None: folders.divided([str(g) for g in given], output)
    a, b = tree / "a2.mp4", tree / "a10.mp4"
    assert split(a) == ([a], None, False)
    assert split(a, "x.mp4") == ([a], Path("x.mp4"), False)
    assert split(a, "new/") == ([a], Path("new"), True)
    assert split(a, b, tree) == ([a, b], tree, True)
    assert split(a, b, output="new") == ([a, b], Path("new"), False)
    with pytest.raises(UsageError, match="--output FOLDER"):
        split(a, b, tree / "p.PNG")
    with pytest.raises(UsageError, match="no INPUT"):
        split()


def test_one_bad_file_does_not_end_the_others(tree, tmp_path):
    found, failed, out = folders.gather([tree], recursive=True), [], tmp_path / "new" / "out"

    def work(path, target):
        if path.name == "a10.mp4":
            raise InputError(f"{path}: broken")
        target.write_bytes(b"done")
        return target

    done = folders.every(found, out, lambda path: ".mkv", work, failed=failed.append)
    assert {str(t.relative_to(out)) for t in done} == {"a2.mp4.mkv", "p.PNG.mkv", "deep/b.mkv"}
    assert [str(e).endswith("a10.mp4: broken") for e in failed] == [True]
    again = folders.every(found, out, lambda path: ".mkv", work, failed=failed.append)
    assert again == [] and len(found.passed["finished before (--overwrite begins anew)"]) == 3


def test_a_list_is_stopped_whole(tree, tmp_path):
    def work(path, target):
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        folders.every(folders.gather([tree]), tmp_path / "o", lambda p: ".mp4", work, failed=print)


def test_two_files_of_one_name_do_not_overwrite_each_other(tree, tmp_path):
    (tree / "other").mkdir()
    (tree / "other" / "b.mkv").write_bytes(b"x")
    found, failed = folders.gather([tree / "deep/b.mkv", tree / "other/b.mkv"]), []
    done = folders.every(
        found,
        tmp_path / "o",
        lambda p: ".mkv",
        lambda p, t: p,
        failed=failed.append,
        overwrite=True,
    )
    assert done == [tree / "deep/b.mkv"] and "is that of" in str(failed[0])
    with pytest.raises(OutputError, match="is the input itself"):
        folders.every(folders.gather([tree]), tree, lambda p: p.suffix, lambda p, t: p)


def test_names_that_are_too_long_give_way_by_a_digest(tmp_path):
    longest = tmp_path / ("é" * 125 + ".mp4")  # 254 bytes
    with whole(longest) as draft:
        draft.write_bytes(b"x")
    assert longest.read_bytes() == b"x"
    made = names.beside(longest, "", longest.stem, "_x2.mp4")
    other = names.beside(longest, "", "e" + longest.stem[1:], "_x2.mp4")
    assert len(os.fsencode(made.name)) <= 255 and made.name.endswith("_x2.mp4") and made != other
    assert names.beside(tmp_path / "a.b.mp4", ".", "a.b", ".part").name == ".a.b.part"


def test_a_name_is_shown_in_one_line():
    assert names.shown("a\nb\x1b[31m\udcff é 🎬") == "a\\nb\\x1b[31m\\udcff é 🎬"


def test_patterns_of_numbers(tmp_path):
    assert is_pattern(Path("a%05d.png")) and is_pattern(Path("%d.TIF"))
    assert not is_pattern(Path("50%d.mp4")) and not is_pattern(Path("100%.png"))
    assert first_picture(Path("x/50%_%03d.png")) == Path("x/50%_001.png")
    assert numbered(Path("%%d%5d.png"), 12).name == "%d   12.png"
    for number in (2, 10, 1):
        (tmp_path / f"f{number}.png").write_bytes(b"x")
    assert [p.name for p in members(tmp_path / "f%d.png")] == ["f1.png", "f2.png", "f10.png"]
