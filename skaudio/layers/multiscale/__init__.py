"""Multi-time-scale convolution."""

from skaudio.layers.multiscale.convolution import MultiscaleConv2d

__all__ = ["MultiscaleConv2d"]
