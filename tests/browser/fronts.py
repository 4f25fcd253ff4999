"""A web server before a radloop, as a CDN stands: packs as static files, everything else from behind, one origin.

nginx where it is installed; and a small Starlette that does the same, for everywhere. Both read what they shall do from
files in `folder/flags`, so that a test changes it while they run:

    <signature>     the query `Signature=<signature>` opens packs
    two             indexes name the signature `two` instead of `one`
    whole           packs come from a place that knows no ranges
    elsewhere       packs come from another origin, which lets any page in
    unnamed         indexes name no packs
    policy          pages may fetch from that other origin
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; connect-src 'self'"
)
_UP_S = 20.0
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_NOT_PASSED = frozenset({"content-length", "transfer-encoding", "connection", "date", "server"})


@dataclass(frozen=True)
class Front:
    """A running front.

    Attributes:
        url: Its address.
        elsewhere: Of the other origin, which has nothing but packs.
        folder: In whose `packs/` the packs lie.
    """

    url: str
    elsewhere: str
    folder: Path

    def set_flags(self, *names: str) -> None:
        """Have these flags and no others."""
        flags = self.folder / "flags"
        for name in names:
            (flags / name).touch()
        for flag in flags.iterdir():
            if flag.name not in names:
                flag.unlink()


@contextmanager
def front(kind: str, folder: Path, server: str, image_set: str, place: str) -> Iterator[Front]:
    """A front of this kind, `nginx` or `starlette`.

    Args:
        kind: Which server.
        folder: In whose `packs/` the packs lie.
        server: The radloop's address.
        image_set: Whose index names the packs.
        place: Where they lie, such as `packs/abc/1/`.
    """
    (folder / "flags").mkdir(exist_ok=True)
    port, other = _free_port(), _free_port()
    made = Front(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}", folder)
    made.set_flags("one")
    if kind == "nginx":
        settings = folder / "nginx.conf"
        settings.write_text(_settings(made, server, image_set, place))
        command = ["nginx", "-c", str(settings), "-e", str(folder / "error.log")]
    else:
        command = [sys.executable, "-m", "tests.browser.fronts", str(port), str(other), str(folder), server]
        command += [image_set, place]
    process = subprocess.Popen(command)
    try:
        for url in (made.url, made.elsewhere):
            _wait_for(url, process)
        yield made
    finally:
        process.terminate()
        process.wait(timeout=20)


def kinds() -> list[str]:
    """Those that can run here."""
    return ["nginx", "starlette"] if shutil.which("nginx") else ["starlette"]


def _settings(made: Front, server: str, image_set: str, place: str) -> str:
    """Of nginx."""
    folder, flags = made.folder, made.folder / "flags"
    opened = f"if (!-f {flags}/$arg_Signature) {{ return 403; }} root {folder}; default_type application/octet-stream;"
    passed = f"proxy_pass {server}; proxy_http_version 1.1; proxy_buffering off; proxy_set_header Host $http_host;"
    temporary = " ".join(
        f"{name}_temp_path {folder}/tmp-{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 256; }}
http {{
  access_log off; {temporary}
  server {{
    listen {made.url.rpartition("/")[2]};
    location / {{ {passed} }}
    location = /app/ {{
      {passed}
      set $allowed "";
      if (-f {flags}/policy) {{ set $allowed " {made.elsewhere}"; }}
      proxy_hide_header Content-Security-Policy;
      add_header Content-Security-Policy "{POLICY}$allowed";
    }}
    location = /stream/v1/{image_set}/index {{
      set $signature one; set $base /;
      if (-f {flags}/two) {{ set $signature two; }}
      if (-f {flags}/whole) {{ set $base /whole/; }}
      if (-f {flags}/elsewhere) {{ set $base {made.elsewhere}/; }}
      set $told "${{base}}{place}?Signature=$signature";
      if (-f {flags}/unnamed) {{ set $told ""; }}
      {passed}
      add_header X-Radloop-Packs $told;
    }}
    location /packs/ {{ {opened} }}
    location /whole/ {{ rewrite ^/whole(/.*)$ $1 break; max_ranges 0; {opened} }}
  }}
  server {{
    listen {made.elsewhere.rpartition("/")[2]};
    location / {{
      add_header Access-Control-Allow-Origin * always;
      add_header Access-Control-Allow-Headers Range always;
      if ($request_method = OPTIONS) {{ return 204; }}
      {opened}
    }}
  }}
}}
"""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _UP_S
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(f"{url}/packs/none", timeout=2)
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the front did not start")


def app(made: Front, server: str, image_set: str, place: str) -> Starlette:
    """The same as `_settings`, in Starlette."""
    flags, behind = made.folder / "flags", httpx.AsyncClient(base_url=server, timeout=60)

    def has(name: str) -> bool:
        return (flags / name).is_file()

    async def packs(request: Request) -> Response:
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "Range"}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        signature = request.query_params.get("Signature", "")
        path = made.folder / "packs" / request.path_params["path"]
        if not signature.isalnum() or not has(signature):
            return Response(status_code=403, headers=headers)
        if not path.is_file():
            return Response(status_code=404, headers=headers)
        if request.url.path.startswith("/whole/"):
            return Response(path.read_bytes(), media_type="application/octet-stream")
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    async def passed(request: Request) -> Response:
        headers = [(name, value) for name, value in request.headers.raw if name != b"accept-encoding"]
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        answer = await behind.request(request.method, path, headers=headers, content=await request.body())
        told = {name: value for name, value in answer.headers.items() if name not in _NOT_PASSED}
        told.pop("content-encoding", None)
        if request.url.path == "/app/":
            told["content-security-policy"] = POLICY + (f" {made.elsewhere}" if has("policy") else "")
        if request.url.path == f"/stream/v1/{image_set}/index" and not has("unnamed"):
            base = f"{made.elsewhere}/" if has("elsewhere") else "/whole/" if has("whole") else "/"
            told["x-radloop-packs"] = f"{base}{place}?Signature={'two' if has('two') else 'one'}"
        return Response(answer.content, status_code=answer.status_code, headers=told)

    return Starlette(
        routes=[
            Route("/packs/{path:path}", packs, methods=["GET", "OPTIONS"]),
            Route("/whole/packs/{path:path}", packs, methods=["GET"]),
            Route("/{path:path}", passed, methods=_METHODS),
        ]
    )


def main() -> None:
    """Serve at both ports."""
    port, other, folder, server, image_set, place = sys.argv[1:]
    made = Front(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}", Path(folder))
    doors = [socket.create_server(("127.0.0.1", int(each))) for each in (port, other)]
    config = uvicorn.Config(app(made, server, image_set, place), log_level="error", lifespan="off")
    uvicorn.Server(config).run(sockets=doors)


if __name__ == "__main__":
    main()
