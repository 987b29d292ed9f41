"""`alrare watch`: two addresses, this machine alone, nothing from outside the run folder."""

import http.client
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alrare.campaign.page.watch import ADDRESS, WatchServer
from alrare.errors import AlrareError
from report_run import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "ethyl")


@pytest.fixture
def server(run: Path) -> Iterator[WatchServer]:
    with WatchServer(run) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(
    server: WatchServer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, str]:
    """Ask for an address; return the status and the content."""
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{ADDRESS}:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content


def test_the_page_follows_the_campaign_and_nothing_is_written(
    server: WatchServer, run: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    status, page = get(server, "/")
    assert status == 200 and "<h1>ethyl</h1>" in page and "connect-src" in page
    (run / "log.txt").write_text("\n".join(f"line {k}" for k in range(9)) + "\n")
    first = json.loads(get(server, "/state")[1])
    assert first["log"] == ["line 6", "line 7", "line 8"]
    assert f'data-state="{first["state"]}"' in page
    assert get(server, "/") == (200, page)
    os.utime(run / "results.json", ns=(1, 1))  # as when an iteration has finished
    second = json.loads(get(server, "/state")[1])
    assert second["state"] != first["state"]
    assert f'data-state="{second["state"]}"' in get(server, "/")[1]
    ours = {run / "log.txt", run / "results.json", run}
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert {p: t for p, t in after.items() if p not in ours} == {
        p: t for p, t in before.items() if p not in ours
    }


@pytest.mark.parametrize(
    "path",
    [
        "/config.toml", "/results.json", "/labels/labels.sqlite", "/../secret", "/..%2fsecret",
        "//etc/passwd", "/state/../../secret", "/./", "/%2e%2e/secret", "/link", "/?file=/etc/mtab",
    ],
)  # fmt: skip
def test_no_file_is_served(path: str, server: WatchServer, run: Path) -> None:
    (run.parent / "secret").write_text("a secret")
    (run / "link").symlink_to(run.parent / "secret")
    status, content = get(server, path)
    assert status == 404 and "secret" not in content


def test_links_that_lead_out_of_the_run_folder_are_not_read(server: WatchServer, run: Path) -> None:
    (run.parent / "secret").write_text("a secret")
    for name in ("config.toml", "log.txt"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(run.parent / "secret")
    assert "a secret" not in get(server, "/")[1] + get(server, "/state")[1]


def test_it_answers_this_machine_alone(server: WatchServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert get(server, "/", host=f"localhost:{server.server_port}")[0] == 200
    for host in ("example.org", f"example.org:{server.server_port}", "127.0.0.1:1"):
        status, content = get(server, "/state", host=host)
        assert status == 403 and "log" not in content
    for method in ("POST", "PUT", "DELETE"):
        assert get(server, "/", method=method)[0] == 501


def test_a_damaged_results_file_is_said(server: WatchServer, run: Path) -> None:
    (run / "results.json").write_text("{")
    status, content = get(server, "/")
    assert status == 500 and "results.json: damaged" in content


def test_no_run_folder_and_a_taken_port_are_errors(server: WatchServer, tmp_path: Path) -> None:
    with pytest.raises(AlrareError, match="run folder"):
        WatchServer(tmp_path / "nowhere")
    with pytest.raises(AlrareError, match="cannot be used"):
        WatchServer(server._run, server.server_port)
    with pytest.raises(AlrareError, match="--port 70000"):
        WatchServer(server._run, 70000)
