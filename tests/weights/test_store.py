"""Downloads are checked, kept, and never left half done; so are weights that are written."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jax
import numpy as np
import pytest

from jaxvsr import weights
from jaxvsr.errors import OutputError, SpaceError, WeightsError
from jaxvsr.models.espcn import ESPCN
from jaxvsr.weights import store

BODY = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """(URL, list of requested paths): /net.pth is there, /short.pth breaks off, else 404."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404 if "missing" in self.path else 200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[:1000] if "short" in self.path else BODY)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("JAXVSR_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()
        thread.join()


def kept():
    return sorted(p.suffix for p in store.cache_folder().iterdir())


def test_a_download_happens_once(server):
    url, asked = server
    first = store.fetch(f"{url}/net.pth?x=1#sha256={DIGEST}")
    assert first.read_bytes() == BODY and first.name.endswith("-net.pth")
    assert store.fetch(f"{url}/net.pth?x=1#sha256={DIGEST}") == first
    assert asked == ["/net.pth?x=1"]


def test_a_damaged_cache_is_noticed_and_fetched_again(server):
    url, asked = server
    path = store.fetch(f"{url}/net.pth")
    path.write_bytes(BODY[:-1])
    assert store.fetch(f"{url}/net.pth").read_bytes() == BODY
    assert len(asked) == 2


def test_another_digest_is_refused_and_nothing_kept(server):
    url, _ = server
    with pytest.raises(WeightsError, match="sha256"):
        store.fetch(f"{url}/net.pth#sha256={'0' * 64}")
    assert kept() == []


@pytest.mark.parametrize(
    "name, message", [("missing.pth", "404"), ("short.pth", "cannot be reached.*offline|bytes")]
)
def test_a_failed_download_says_why_and_leaves_nothing(server, name, message):
    url, _ = server
    with pytest.raises(WeightsError, match=message):
        store.fetch(f"{url}/{name}")
    assert kept() == []


def test_offline_names_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVSR_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="give its path"):
        store.fetch("http://127.0.0.1:9/net.pth")
    assert kept() == []


def test_progress_shows_on_a_terminal_only(server, capsys, monkeypatch):
    url, _ = server
    store.fetch(f"{url}/net.pth")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    store.fetch(f"{url}/other.pth")
    assert "100%" in capsys.readouterr().err


def test_a_full_disk_leaves_the_weights_that_were_there(tmp_path):
    """Linux's /dev/full has no space for anybody."""
    net, path = ESPCN(scale=2, widths=(4, 4)), tmp_path / "net.safetensors"
    params = net.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))["params"]
    weights.save(path, params, weights.metadata_of(net))
    before = path.read_bytes()
    (tmp_path / ".net.part.safetensors").symlink_to("/dev/full")
    with pytest.raises(SpaceError, match=r"net\.safetensors: no space left; free some") as full:
        weights.save(path, params, weights.metadata_of(net))
    assert "\n" not in str(full.value) and path.read_bytes() == before
    with pytest.raises(OutputError, match="cannot be written"):
        weights.save(tmp_path / "nowhere" / "net.safetensors", params, weights.metadata_of(net))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
