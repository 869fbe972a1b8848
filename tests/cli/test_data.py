"""``skyfold data``: public data by name, fetched from a server on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from invocation import Run

from skyfold.data import registry
from skyfold.data.fetch import PINS, data_folder, fetch
from skyfold.data.registry import DATA_SETS, DataSet, PublicFile
from skyfold.errors import SkyfoldError

pytest.importorskip("pooch")

CONTENT = b"some numbers\n"


class _Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Address of a server, the folder it serves, and what it was asked for."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = type("Handler", (_Quiet,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder, handler.asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def toy(server: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Data set ``toy`` of two files, one with a checksum; returns what the server was asked for."""
    address, folder, asked = server
    for name in ("known.txt", "unknown.txt"):
        (folder / name).write_bytes(CONTENT)
    files = (
        PublicFile("known.txt", f"{address}/known.txt", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)),
        PublicFile("unknown.txt", f"{address}/unknown.txt"),
    )
    monkeypatch.setitem(DATA_SETS, "toy", DataSet("Toys", files, "none", "here", "nobody"))
    monkeypatch.setenv("SKYFOLD_DATA", str(tmp_path / "cache"))
    return asked


def test_fetch(toy: list[str], tmp_path: Path, run: Callable[..., Run]) -> None:
    found = run("data", "fetch", "toy")
    place = tmp_path / "cache" / "toy"
    assert found.code == 0, found.err
    assert found.out.strip() == str(place) == str(data_folder() / "toy")
    assert "licence: none" in found.err and "1 of the files" in found.err
    assert {p.name for p in place.iterdir()} == {"known.txt", "unknown.txt", PINS}
    assert (place / "unknown.txt").read_bytes() == CONTENT
    assert list(json.loads((place / PINS).read_text()).values()) == [hashlib.sha256(CONTENT).hexdigest()]
    assert len(toy) == 2
    # a second time nothing is asked for
    found = run("data", "fetch", "toy")
    assert found.code == 0 and "of the files" not in found.err
    assert len(toy) == 2
    assert str(place) in run("data", "list").out


def test_what_has_changed_is_refused(
    toy: list[str], server: tuple[str, Path, list[str]], tmp_path: Path, run: Callable[..., Run]
) -> None:
    _, folder, _ = server
    place = tmp_path / "there"
    assert run("data", "fetch", "toy", "--to", place).code == 0
    # a file that was changed here
    (place / "unknown.txt").write_text("mine")
    found = run("data", "fetch", "toy", "--to", place)
    assert found.code == 2
    assert "unknown.txt" in found.error and "changed" in found.error
    assert (place / "unknown.txt").read_text() == "mine"
    # one that was changed where it is published
    (place / "unknown.txt").unlink()
    (folder / "unknown.txt").write_text("another")
    found = run("data", "fetch", "toy", "--to", place)
    assert found.code == 2
    assert "unknown.txt" in found.error and "another sha256" in found.error
    assert sorted(p.name for p in place.iterdir()) == ["known.txt", PINS]


def test_what_lies_there_is_taken(toy: list[str], tmp_path: Path) -> None:
    place = tmp_path / "there"
    place.mkdir()
    (place / "unknown.txt").write_text("downloaded elsewhere")
    found = fetch("toy", place)
    assert found.downloaded == ("known.txt",) and found.pinned == ("unknown.txt",)
    assert toy == ["/known.txt"]


def test_a_wrong_checksum_or_size_is_refused(
    server: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address, folder, _ = server
    (folder / "a.txt").write_bytes(CONTENT)
    for file, words in (
        (PublicFile("a.txt", f"{address}/a.txt", "0" * 64), "another sha256"),
        (PublicFile("a.txt", f"{address}/a.txt", None, 3), "13 bytes came"),
    ):
        monkeypatch.setitem(DATA_SETS, "toy", DataSet("Toys", (file,), "none", "here", "nobody"))
        with pytest.raises(SkyfoldError, match=words):
            fetch("toy", tmp_path / "there")
        assert not (tmp_path / "there" / "a.txt").exists()


def test_bad_input(
    server: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Callable[..., Run]
) -> None:
    address, _, _ = server
    found = run("data", "fetch", "fermi")
    assert found.code == 2 and "fermi-573w" in found.error
    for url, words in ((f"{address}/gone.txt", "404"), ("http://127.0.0.1:9/a.txt", "cannot be reached")):
        entry = DataSet("Toys", (PublicFile("gone.txt", url),), "none", "here", "nobody")
        monkeypatch.setitem(DATA_SETS, "toy", entry)
        found = run("data", "fetch", "toy", "--to", tmp_path / "there")
        assert found.code == 2
        assert words in found.err and url in found.err and "Traceback" not in found.err
        assert not (tmp_path / "there" / "gone.txt").exists()
    (tmp_path / "file").write_text("")
    found = run("data", "fetch", "toy", "--to", tmp_path / "file")
    assert found.code == 2 and "is a file" in found.error
    (tmp_path / "there" / PINS).parent.mkdir(exist_ok=True)
    (tmp_path / "there" / PINS).write_text("[")
    assert PINS in run("data", "fetch", "toy", "--to", tmp_path / "there").error


def test_table(run: Callable[..., Run]) -> None:
    listed = run("data", "list")
    assert listed.code == 0
    for name, entry in registry.DATA_SETS.items():
        assert name in listed.out and entry.title in listed.out
        assert entry.licence and entry.reference and entry.source.startswith("https://")
        assert len({file.name for file in entry.files}) == len(entry.files) > 0
        for file in entry.files:
            assert file.url.startswith("https://") and file.url.endswith(f"/{file.name}")
            assert file.sha256 is None or len(file.sha256) == 64
    maps = {file.name for file in DATA_SETS["fermi-573w"].files}
    assert {"fermidata_counts.npy", "template_Opi.npy", "template_psc_3fgl.npy"} <= maps
