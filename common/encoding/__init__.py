"""Feature tensors of architectures (ReNAS, section 3.1)."""

from common.encoding.feature_tensor import PARTS, ChannelSubset, EncodedFeatures, encode, part_channels

__all__ = ["PARTS", "ChannelSubset", "EncodedFeatures", "encode", "part_channels"]
