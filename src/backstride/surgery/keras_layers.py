"""The layers that a Keras network from here may have.

Importing them lets `keras.saving.load_model` find them.
"""

from backstride.surgery.keras.layers import (
    AtrousPooling,
    Bins,
    Coarse,
    CropLike,
    CutToSmallest,
    LocalNorm,
    Padding,
)

__all__ = ["AtrousPooling", "Bins", "Coarse", "CropLike", "CutToSmallest", "LocalNorm", "Padding"]
