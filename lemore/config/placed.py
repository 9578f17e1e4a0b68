"""The files of a dataset that lie on this machine, and whether they still are those fetched.

Snakemake compares times, and every copy of a folder has new ones. So fetch leaves the hash of each
file beside its JSON, and a file with another time is compared by content. Torch-free: the Snakefile
asks at every start.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lemore.config.dataset import Archive, DatasetConfig
from lemore.runtime.files import is_junk, key_of, read_json, walk_files, write_json
from lemore.runtime.hashes import Hashes, Stamps, hash_files, stamp_files

MOST = 200_000  # files of a folder that are compared; listing more takes too long at every start


@dataclass(frozen=True)
class Placed:
    """A dataset's archives (those that are there), or all files of its unpacked folder.

    names: paths below `folder`, none where `too_many`.
    """

    folder: Path
    unpacked: bool
    names: tuple[str, ...]
    too_many: bool = False

    def make_key(self) -> str:
        """Returns a hash of names, sizes and times, by which one fetch knows another's files."""
        return "too many files to compare" if self.too_many else key_of(self.stamp())

    def stamp(self) -> Stamps:
        return stamp_files(self.folder, self.names)


def find_placed(name: str, config: DatasetConfig, archives_dir: Path) -> Placed:
    """Finds the files that are there before anything is downloaded."""
    folder = find_folder(name, config, archives_dir)
    if not is_unpacked(folder, config):
        found = (find_archive(archive, folder) for archive in config.archives)
        return Placed(folder, False, tuple(path.name for path in found if path))
    names = tuple(islice(walk_files(folder), MOST + 1))
    return Placed(folder, True, () if len(names) > MOST else names, len(names) > MOST)


def find_folder(name: str, config: DatasetConfig, archives_dir: Path) -> Path:
    """Returns `folder`, or ARCHIVES_DIR/<dataset>, or the folder it shares unless that exists."""
    if config.folder is not None:
        return Path(config.folder).expanduser()
    own = archives_dir / name
    return own if own.is_dir() else archives_dir / (config.archives_folder or name)


def is_unpacked(folder: Path, config: DatasetConfig) -> bool:
    """Returns whether the folder holds the dataset's folders rather than its archives."""
    if not folder.is_dir():
        return False
    if config.archives and all(find_archive(archive, folder) for archive in config.archives):
        return False
    visible = (path for path in folder.iterdir() if not is_junk(path.name))
    return any(path.is_dir() or not config.archives for path in visible)


def find_archive(archive: Archive, folder: Path) -> Path | None:
    """Returns the archive, or a file that serves as well, if it lies in the folder."""
    for file in (archive.file, *archive.instead):
        if (folder / file).is_file():
            return folder / file
    return None


def remember_fetched(fetched: Path, key: str, hashes: Hashes) -> None:
    """Writes beside the JSON of a fetch what it has taken. key: of the files before it."""
    write_json(_name_hashes(fetched), {"key": key, "files": hashes})


def read_hashes(fetched: Path) -> Hashes:
    """Reads the hashes that the last fetch has left beside its JSON, {} if there was none."""
    return _read_remembered(fetched)["files"]


def find_key(placed: Placed, fetched: Path) -> str:
    """Returns the key that the last fetch began with as long as the files are what it took, else
    another. fetched: its JSON.

    Files that are gone count only if others of their folder are left: archives and photos may be
    removed once they are prepared.
    """
    seen = _read_remembered(fetched)
    stamps, files = placed.stamp(), seen["files"]
    gone = placed.unpacked and not stamps.keys() >= files.keys()
    if gone or any(stamp[0] != files.get(name, [None])[0] for name, stamp in stamps.items()):
        return placed.make_key()
    found = hash_files(placed.folder, stamps, files)
    if any(found[name][2] != files[name][2] for name in found):
        return placed.make_key()
    if any(found[name] != files[name] for name in found):
        remember_fetched(fetched, seen["key"], files | found)
    return seen["key"] or placed.make_key()


def _read_remembered(fetched: Path) -> dict[str, Any]:
    path = _name_hashes(fetched)
    return read_json(path) if path.exists() else {"key": "", "files": {}}


def _name_hashes(fetched: Path) -> Path:
    return fetched.with_suffix(".hashes.json")
