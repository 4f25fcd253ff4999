"""Prices as AWS's Price List API tells them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import code_of, translated
from radloop.cost import Price, Prices

_REGION = "us-east-1"  # where the Price List API answers for all regions
_MOST_PRODUCTS = 100  # the API gives no more at once
_MOST_PAGES = 20
_ABOUT_THE_QUESTION = frozenset({"InvalidParameterException", "NotFoundException"})
_BEFORE_USAGE = r"(?:[A-Z]{2,5}\d?-|[a-z]{2}-[a-z]+-\d-)?"  # EUW1-, USE1- or us-east-1-; nothing in us-east-1
_GREATEST_CHANGE = 10.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the list says of one price.

    Attributes:
        usd: US dollars a unit, or None where it cannot be told.
        why: Why it cannot, in words; empty where it can.
    """

    usd: float | None
    why: str = ""


def asked(prices: Prices, region: str) -> dict[str, Told]:
    """What AWS says of every price, by name.

    Args:
        prices: Say what to look for, and what is known already.
        region: Whose prices, such as `eu-west-1`.

    Raises:
        RadloopError: AWS refuses, or does not answer.
    """
    try:
        client = boto3.session.Session().client("pricing", region_name=_REGION)
        return {price.name: _asked_one(client, price, region) for price in prices.by_name.values()}
    except (BotoCoreError, ClientError) as error:
        raise translated(error, "the Price List API") from error


def _asked_one(client: Any, price: Price, region: str) -> Told:
    """The same of one price; a question that AWS does not understand costs this price and no other."""
    try:
        return found(client, price, region)
    except ClientError as error:
        if code_of(error) not in _ABOUT_THE_QUESTION:
            raise
        return Told(None, f"the list does not take the question: {code_of(error)}")


def found(client: Any, price: Price, region: str) -> Told:
    """The price of one unit that is in force on demand.

    Nothing is taken where products of different prices match, since nobody can tell which is meant, nor where the price
    is more than ten times what is known or less than a tenth: then it is most likely of another unit.

    Args:
        client: boto3's client of `pricing`.
        price: Says what to look for.
        region: Whose price.
    """
    matching = [product for product in _products(client, price, region) if _is_used_as(price.usage, product)]
    figures = sorted({figure for product in matching for figure in _first_tier(product)})
    if not figures:
        return Told(None, f"{len(matching)} products match, none with a price" if matching else "nothing matches")
    if len(figures) > 1:
        return Told(None, f"{len(matching)} products match, from {figures[0]:g} to {figures[-1]:g}")
    (usd,) = figures
    if not price.usd / _GREATEST_CHANGE <= usd <= price.usd * _GREATEST_CHANGE:
        return Told(None, f"{usd:g} instead of {price.usd:g} a {price.unit}: of another unit?")
    return Told(usd)


def _products(client: Any, price: Price, region: str) -> Iterator[dict[str, Any]]:
    """Every product that the filters of a price match."""
    wanted = {**({} if price.is_everywhere else {"regionCode": region}), **price.filters}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    question = {"ServiceCode": price.service, "Filters": filters, "MaxResults": _MOST_PRODUCTS}
    for _ in range(_MOST_PAGES):
        answer = client.get_products(**question)
        yield from map(json.loads, answer["PriceList"])
        if not answer.get("NextToken"):
            return
        question["NextToken"] = answer["NextToken"]


def _is_used_as(usage: str, product: Mapping[str, Any]) -> bool:
    """Whether a product's type of use is `usage`, with or without what names the region; any is, where it is empty.

    >>> _is_used_as("KMS-Keys", {"product": {"attributes": {"usagetype": "us-east-1-KMS-Keys"}}})
    True
    >>> _is_used_as("ReadRequestUnits", {"product": {"attributes": {"usagetype": "ReplReadRequestUnits"}}})
    False
    """
    told = str(product.get("product", {}).get("attributes", {}).get("usagetype", ""))
    return not usage or re.fullmatch(_BEFORE_USAGE + re.escape(usage), told) is not None


def _first_tier(product: Mapping[str, Any]) -> Iterator[float]:
    """What the first unit that is not free of charge costs."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        tiers = sorted(term["priceDimensions"].values(), key=lambda tier: float(tier.get("beginRange") or 0))
        paid = [amount for tier in tiers if (amount := float(tier["pricePerUnit"].get("USD", 0))) > 0]
        yield from paid[:1]
