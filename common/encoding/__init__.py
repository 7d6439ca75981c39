"""Encodings by name: what predictors see of an architecture. A new one is one module and one line here."""

from common.encoding.base import EncodedFeatures, Encoding, FeatureSource, Joined
from common.encoding.feature_tensor import PARTS, ChannelSubset, FeatureTensor, encode, part_channels
from common.registry import Registry

ENCODINGS = Registry(
    "encoding",
    {
        "tensor": "common.encoding.feature_tensor:FeatureTensor",
        "one_hot": "common.encoding.one_hot:OneHot",
        "costs": "common.encoding.one_hot:Costs",
        "graph": "common.encoding.graph:GraphFeatures",
        "scores": "common.encoding.scores:Scores",
    },
    Encoding,
)


def make_encoding(names: str) -> Encoding:
    """The encoding called `names`, several joined by "+" standing side by side.

    A name may carry an argument after "=", which the member's constructor gets ("scores=proxies.csv").
    Raises: InputError for an unknown name.
    """
    parts = []
    for name in names.split("+"):
        member, _, argument = name.strip().partition("=")
        parts.append(ENCODINGS.make(member, *[argument] * bool(argument)))
    return parts[0] if len(parts) == 1 else Joined(tuple(parts))


__all__ = [
    "ENCODINGS",
    "PARTS",
    "ChannelSubset",
    "EncodedFeatures",
    "Encoding",
    "FeatureSource",
    "FeatureTensor",
    "Joined",
    "encode",
    "make_encoding",
    "part_channels",
]
