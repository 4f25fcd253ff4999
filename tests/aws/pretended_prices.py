"""A Price List API on the loopback that answers `GetProducts` from products of the shape AWS gives them.

The products are made up in AWS's shape (sku, attributes, terms, tiers), with what makes its list hard to read: types of
use under a region's name, other products in the same group, tiers of which the first is free, many pages, products that
belong to no region.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = 2
KNOWN = frozenset(
    {*("AmazonS3", "AmazonDynamoDB", "awskms", "AWSLambda", "AmazonCloudWatch", "AmazonGuardDuty", "AmazonCloudFront")}
)


def product(service: str, usage: str, *tiers: tuple[str, str], region: str = "eu-west-1", **attributes: str) -> str:
    """One product as the API gives it: JSON in a string. A tier is where it begins, and what a unit of it costs."""
    sku = f"{abs(hash((service, usage, tiers))):016X}"[:16]
    dimensions = {
        f"{sku}.JRTCKXETXF.{place}": {
            "unit": "Units",
            "beginRange": begin,
            "endRange": tiers[place + 1][0] if place + 1 < len(tiers) else "Inf",
            "description": f"${usd} a unit",
            "appliesTo": [],
            "rateCode": f"{sku}.JRTCKXETXF.{place}",
            "pricePerUnit": {"USD": usd},
        }
        for place, (begin, usd) in enumerate(tiers)
    }
    term = {
        "sku": sku,
        "offerTermCode": "JRTCKXETXF",
        "effectiveDate": "2026-11-01T00:00:00Z",
        "termAttributes": {},
        "priceDimensions": dimensions,
    }
    where = {"regionCode": region} if region else {}
    described = {"servicecode": service, **where, "usagetype": usage, **attributes}
    return json.dumps(
        {
            "product": {"productFamily": "any", "attributes": described, "sku": sku},
            "serviceCode": service,
            "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}},
            "version": "20261101000000",
            "publicationDate": "2026-11-01T00:00:00Z",
        }
    )


TO_US = {"transferType": "CloudFront Outbound", "fromLocation": "United States"}
REQUESTS = {"location": "United States", "requestType": "CloudFront-Request-HTTPS-Proxy"}
STANDARD = {"volumeType": "Standard", "storageClass": "General Purpose"}
PRODUCTS = [
    product("AmazonS3", "EU-TimedStorage-ByteHrs", ("0", "0.0240000000"), ("51200", "0.0230000000"), **STANDARD),
    product("AmazonS3", "EU-TimedStorage-SIA-ByteHrs", ("0", "0.0131"), volumeType="Standard - Infrequent Access"),
    product("AmazonDynamoDB", "EU-ReplWriteRequestUnits", ("0", "0.0000009"), group="DDB-WriteUnits"),
    product("AmazonDynamoDB", "EU-WriteRequestUnits", ("0", "0.0000007"), group="DDB-WriteUnits"),
    product("AmazonDynamoDB", "EU-ReadRequestUnits", ("0", "0.00014"), group="DDB-ReadUnits"),
    product("awskms", "eu-west-1-KMS-Requests-GenerateDatakeyPair-RSA", ("0", "0.0000120000")),
    product("awskms", "eu-west-1-KMS-Requests", ("0", "0.0"), ("20000", "0.0000030000")),
    product("awskms", "eu-west-1-KMS-Keys", ("0", "1.0000000000")),
    product("AmazonCloudWatch", "EU-CW:AlarmMonitorUsage", ("0", "0.10"), group="Alarm"),
    product("AmazonCloudWatch", "EU-CW:HighResAlarmMonitorUsage", ("0", "0.30"), group="Alarm"),
    product("AmazonGuardDuty", "EUW1-PaidEventsAnalyzed", ("0", "0.0000044")),
    product("AmazonGuardDuty", "EUW1-PaidEventsAnalyzed-Bytes", ("0", "1.05"), ("500", "0.55")),
    product("AmazonGuardDuty", "EUW1-PaidLambdaNetworkLogsAnalyzed-Bytes", ("0", "1.1"), ("500", "0.55")),
    product("AmazonCloudFront", "US-DataTransfer-Out-Bytes", ("0", "0.09"), ("10240", "0.08"), region="", **TO_US),
    product(
        "AmazonCloudFront", "EU-DataTransfer-Out-Bytes", ("0", "0.07"), region="", **(TO_US | {"fromLocation": "EU"})
    ),
    product("AmazonCloudFront", "US-Requests-Tier2-HTTPS", ("0", "0.0000012"), region="", **REQUESTS),
]


@contextmanager
def price_list(*, refuses: str = "") -> Iterator[str]:
    """The address of such an API; with `refuses` it answers everything with this code."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = _answer(self.headers["X-Amz-Target"], question) if not refuses else (400, _error(refuses))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(target: str, question: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    assert target == "AWSPriceListService.GetProducts"
    if question["ServiceCode"] not in KNOWN:
        return 400, _error("NotFoundException")
    wanted = {each["Field"]: each["Value"] for each in question["Filters"]}
    assert all(each["Type"] == "TERM_MATCH" for each in question["Filters"])
    found = [text for text in PRODUCTS if _matches(json.loads(text), question["ServiceCode"], wanted)]
    start = int(question.get("NextToken", "0"))
    answer: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": found[start : start + PAGE]}
    return 200, answer | ({"NextToken": str(start + PAGE)} if start + PAGE < len(found) else {})


def _matches(each: Mapping[str, Any], service: str, wanted: Mapping[str, str]) -> bool:
    attributes = each["product"]["attributes"]
    return each["serviceCode"] == service and all(attributes.get(name) == value for name, value in wanted.items())


def _error(code: str) -> dict[str, str]:
    return {"__type": code, "message": "words of AWS"}
