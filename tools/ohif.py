# ruff: noqa: INP001, T201 — a program that is run by itself and tells where it listens
"""Serve the OHIF viewer beside a running radloop: python tools/ohif.py FOLDER RADLOOP_URL PORT.

FOLDER is the `dist` of the npm package @ohif/app. Pages of the viewer are one page, so what is no file is its index.
The two headers let it share memory between its workers, which volumes need.
"""

import http.server
import json
import sys
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

HTJ2K = "multipart/related; type=image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202"
ANY = "multipart/related; type=application/octet-stream; transfer-syntax=*"


def config(radloop: str) -> str:
    """The viewer's configuration, with radloop as its only source."""
    root = f"{radloop.rstrip('/')}/dicomweb"
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "radloop",
        "configuration": {
            "friendlyName": "radloop",
            "name": "radloop",
            "qidoRoot": root,
            "wadoRoot": root,
            "wadoUriRoot": root,
            "qidoSupportsIncludeField": True,
            "supportsFuzzyMatching": True,
            "supportsWildcard": True,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "acceptHeader": [HTJ2K, ANY],
            "singlepart": "bulkdata",
            "bulkDataURI": {"enabled": True},
            "omitQuotationForMultipartRequest": True,
        },
    }
    settings = {
        "routerBasename": "/",
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 3,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "defaultDataSourceName": "radloop",
        "investigationalUseDialog": {"option": "never"},
        "dataSources": [source],
    }
    return f"window.config = {json.dumps(settings, indent=2)};\n"


class Viewer(http.server.SimpleHTTPRequestHandler):
    """Files of the viewer, its index for any other address, and its configuration made here."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, app_config: bytes, **options: object) -> None:
        self.app_config = app_config
        super().__init__(*args, **options)

    def end_headers(self) -> None:
        """See the module."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def do_GET(self) -> None:
        """One file."""
        path = urlsplit(self.path).path
        if path == "/app-config.js":
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript")
            self.send_header("Content-Length", str(len(self.app_config)))
            self.end_headers()
            self.wfile.write(self.app_config)
            return
        if not Path(self.translate_path(path)).is_file():
            self.path = "/index.html"
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class calls it so
        """Say nothing: addresses hold UIDs."""


def main(folder: str, radloop: str, port: str) -> None:
    """Serve until interrupted."""
    handler = partial(Viewer, directory=folder, app_config=config(radloop).encode())
    with http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), handler) as server:
        print(f"OHIF is up at http://127.0.0.1:{port}/ on {radloop}; Ctrl-C ends it", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
