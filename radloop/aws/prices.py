"""Prices as AWS's Price List API tells them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import translated
from radloop.cost import Price, Prices

_REGION = "us-east-1"  # where the Price List API answers for all regions
_MOST_PRODUCTS = 100


def asked(prices: Prices) -> dict[str, float]:
    """What AWS says of every price that it tells plainly, US dollars a unit by name.

    Raises:
        RadloopError: AWS refuses, or does not answer.
    """
    try:
        client = boto3.session.Session().client("pricing", region_name=_REGION)
        told = {price.name: found(client, price, prices.region) for price in prices.by_name.values()}
    except (BotoCoreError, ClientError) as error:
        raise translated(error, "pricing") from error
    return {name: usd for name, usd in told.items() if usd is not None}


def found(client: Any, price: Price, region: str) -> float | None:
    """The price of one unit that is in force on demand, US dollars.

    Args:
        client: boto3's client of `pricing`.
        price: Says what to look for.
        region: Whose price, such as `eu-west-1`.

    Returns:
        None where nothing matches, or products of different prices do: then nobody can tell which is meant.
    """
    wanted = {"regionCode": region, **price.filters}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    answer = client.get_products(ServiceCode=price.service, Filters=filters, MaxResults=_MOST_PRODUCTS)
    figures = {figure for product in answer["PriceList"] for figure in _first_tier(json.loads(product))}
    return figures.pop() if len(figures) == 1 and not answer.get("NextToken") else None


def _first_tier(product: Mapping[str, Any]) -> Iterator[float]:
    """What the first unit that is not free of charge costs."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        tiers = sorted(term["priceDimensions"].values(), key=lambda tier: float(tier.get("beginRange") or 0))
        paid = [amount for tier in tiers if (amount := float(tier["pricePerUnit"].get("USD", 0))) > 0]
        yield from paid[:1]
