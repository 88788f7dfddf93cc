"""TFDS datasets of the catalogue, without TensorFlow: frames as encoded pictures in array_record.

One builder class serves every dataset of `jaxvsr.data.catalogue`. An example is a frame:
{"sequence": name, "index": number in its sequence from 0, "frame": PNG or JPEG}; the frames of a
sequence follow each other, so that a clip is a run of examples. Needs the extra `datasets`.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvsr.data import catalogue
from jaxvsr.data.sources import Clip, Found, Pictures
from jaxvsr.errors import InputError, JaxvsrError
from jaxvsr.video.images import read_image

VERSION = "1.0.0"
KEPT = (".png", ".jpg", ".jpeg")  # whose bytes are stored as they are
RUN = 16  # frames of a video that are decoded at a time


def build(name: str, root, into) -> Path:
    """Stores what of dataset `name` lies at `root` below the folder `into`; returns its folder.

    Every split that is at least in part there becomes a split of the same name. What was built
    before is kept. Raises InputError where nothing is there or nothing was stored, with what to do.
    """
    splits, reasons = {}, []
    for split in catalogue.known(name).splits:
        try:
            splits[split] = catalogue.clips(name, split, root)
        except InputError as error:
            reasons.append(error)
    if not splits:
        raise reasons[0]
    return store(name, splits, into)


def store(name: str, splits: dict[str, Found], into) -> Path:
    """Stores the clips of any splits, such as those of `sources.find`, as dataset `name`."""
    builder = _builder_class()(name, splits, data_dir=str(into), file_format="array_record")
    if builder.info.metadata["sequences"] != _sequences(splits):
        raise InputError(f"{builder.data_path}: built from other clips; delete it to build it anew")
    builder.download_and_prepare()
    return Path(builder.data_path)


def _sequences(splits: dict[str, Found]) -> str:
    """Name, number of frames and size of every clip by split, as JSON."""
    facts = lambda found: [(clip.name, clip.frames, clip.size) for clip in found.clips]
    return json.dumps({split: facts(found) for split, found in splits.items()})


def read(folder, split: str) -> Found:
    """The clips of a split of what `build` stored in `folder`, each readable at any frame.

    Raises InputError for a folder or a split that is not there.
    """
    tfds, info = _tfds(), Path(folder) / "dataset_info.json"
    builder = tfds.builder_from_directory(str(folder)) if info.is_file() else None
    stored = json.loads(builder.info.metadata["sequences"]) if builder else {}
    if split not in stored:
        raise InputError(f"{folder}: no split {split!r} was built here; build it first")
    examples = builder.as_data_source(split, decoders={"frame": tfds.decode.SkipDecoding()})
    clips, first = [], 0
    for sequence, count, size in stored[split]:
        place = (Path(folder), builder.name, split, first)
        clips.append(Stored(sequence, count, tuple(size), *place, examples))
        first += count
    return Found(tuple(clips))


@dataclass(frozen=True)
class Stored:
    """A clip (`sources.Clip`) that is a run of stored examples, from number `first` on."""

    name: str
    frames: int
    size: tuple[int, int]
    path: Path
    dataset: str
    split: str
    first: int
    examples: object = field(repr=False, compare=False)

    def read(self, start: int, count: int) -> np.ndarray:
        """See `sources.Clip.read`."""
        numbers = range(self.first + start, self.first + start + count)
        pictures = (Image.open(io.BytesIO(self.examples[i]["frame"])) for i in numbers)
        return np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])


def _encoded(clip: Clip) -> Iterator[bytes]:
    """Every frame as a picture: the file's own bytes where it is one, PNG otherwise."""
    if isinstance(clip, Pictures):
        for path in clip.paths:
            kept = path.suffix.lower() in KEPT
            yield path.read_bytes() if kept else _png(read_image(path)[0])
        return
    for start in range(0, clip.frames, RUN):
        for frame in clip.read(start, min(RUN, clip.frames - start)):
            yield _png(frame)


def _png(frame: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "PNG", compress_level=3)
    return out.getvalue()


def _tfds():
    try:
        import array_record  # noqa: F401
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise JaxvsrError(
            f"stored datasets need {error.name}; install both by: pip install "
            "tensorflow-datasets array_record"
        ) from None
    return tfds


def _examples(clips: tuple[Clip, ...]) -> Iterator[tuple[int, dict]]:
    """(number, example) of every frame, in order."""
    number = 0
    for clip in clips:
        for index, picture in enumerate(_encoded(clip)):
            yield number, {"sequence": clip.name, "index": index, "frame": io.BytesIO(picture)}
            number += 1


def _facts(builder, splits: dict[str, Found]):
    """What TFDS wants to know of a dataset; the frames of a sequence must stay together."""
    tfds = _tfds()
    features = {
        "sequence": tfds.features.Text(),
        "index": np.int64,
        "frame": tfds.features.Image(shape=(None, None, 3)),
    }
    return tfds.core.DatasetInfo(
        builder=builder,
        description=f"{builder.name}: {', '.join(splits)}",
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(sequences=_sequences(splits)),
        features=tfds.features.FeaturesDict(features),
    )


@cache
def _builder_class():
    """The one builder, defined when it is first asked for because its base class is optional."""
    tfds = _tfds()

    class StoredFrames(tfds.core.GeneratorBasedBuilder):
        """Frames of a dataset of the catalogue, or of any clips."""

        VERSION = tfds.core.Version(VERSION)
        pkg_dir_path = Path(__file__).parent  # else TFDS looks for it by optional packages
        code_path = Path(__file__)

        def __init__(self, name: str, splits: dict[str, Found], **options):
            self.name, self._found = name, splits
            super().__init__(**options)

        def _info(self):
            return _facts(self, self._found)

        def _split_generators(self, _):
            return {split: _examples(found.clips) for split, found in self._found.items()}

        def _generate_examples(self, clips):
            return _examples(clips)

    return StoredFrames
