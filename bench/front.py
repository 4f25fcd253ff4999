"""nginx where CloudFront stands: packs as files, and everything else from the radloop behind it, under one origin.

with front(folder, server.address, packs, tls) as fronts:
    fronts["packs"].address      # its index names the packs
    fronts["api"].address        # the same server without that word, so that every frame comes from the API
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from peers import Peer, child, free_port, wait_for

_KINDS = ("packs", "api")


@contextmanager
def front(
    folder: Path, server: str, packs: Mapping[str, str], tls: tuple[Path, Path], *, has_http2: bool = True
) -> Iterator[dict[str, Peer] | None]:
    """Two doors over TLS to one radloop, which differ in one header; None where nginx is not installed.

    Args:
        folder: In whose folder `packs` the packs lie.
        server: HOST:PORT of a radloop without TLS.
        packs: Where those of an image set lie, such as `packs/abc/1/`, by its id.
        tls: Certificate and key, PEM.
        has_http2: Whether browsers are offered HTTP/2, as CloudFront does.
    """
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    ports = {kind: free_port() for kind in _KINDS}
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    settings = folder / f"front-{ports['packs']}.conf"
    servers = "".join(
        _server(port, folder, packs if kind == "packs" else {}, tls, "ssl http2" if has_http2 else "ssl")
        for kind, port in ports.items()
    )
    temporary = " ".join(
        f"{name}_temp_path {folder}/logs/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    settings.write_text(
        f"daemon off; worker_processes 1; pid {settings}.pid; error_log {folder}/logs/error.log;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; {temporary}\n"
        f" upstream radloop {{ server {server}; keepalive 16; }}\n{servers}}}\n"
    )
    with child([program, "-c", str(settings), "-e", str(folder / "logs" / "error.log")]) as process:
        doors = {}
        for kind, port in ports.items():
            wait_for(lambda port=port: f"https://127.0.0.1:{port}", process, "/healthz")
            doors[kind] = Peer(f"nginx, {kind}", f"127.0.0.1:{port}", "", [process], scheme="https")
        yield doors


def _server(port: int, folder: Path, packs: Mapping[str, str], tls: tuple[Path, Path], listen: str) -> str:
    """One door."""
    passed = (
        "proxy_pass http://radloop; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off;"
        " proxy_set_header Host $http_host;"
    )
    indexes = "".join(
        f"  location = /stream/v1/{image_set}/index"
        f" {{ {passed} add_header X-Radloop-Packs '/{place}?Signature=none'; }}\n"
        for image_set, place in packs.items()
    )
    return (
        f" server {{ listen 127.0.0.1:{port} {listen};\n"
        f"  ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]}; ssl_protocols TLSv1.3;\n"
        f"  location / {{ {passed} }}\n"
        f"  location /packs/ {{ root {folder}; default_type application/octet-stream; }}\n{indexes} }}\n"
    )
