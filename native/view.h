// Where the numbers of one side of a call lie: steps along the axes of (batch, *size, channels), in
// any order in memory.
#pragma once

#include "direct.h"
#include "kernels.h"

namespace backstride {

inline Index cells(const Axes& size) { return size[0] * size[1] * size[2]; }

// (batch, *size, channels) in any order of axes: steps between neighbours, in numbers.
template <typename Scalar>
struct View {
    Scalar* data;
    Index image, plane, line, cell, channel;
    Scalar* at(Index n, Index i0, Index i1, Index i2) const {
        return data + n * image + i0 * plane + i1 * line + i2 * cell;
    }

    // Whether it is (batch, *size, channels) without gaps, the channels innermost.
    bool is_dense(const Axes& size, Index channels) const {
        return (channel == 1 || channels == 1) && (cell == channels || size[2] == 1) &&
               (line == size[2] * channels || size[1] == 1) &&
               (plane == size[1] * size[2] * channels || size[0] == 1) && image == cells(size) * channels;
    }
};

template <typename Scalar>
View<Scalar> dense(Scalar* data, const Axes& size, Index channels) {
    return {
        .data = data,
        .image = cells(size) * channels,
        .plane = size[1] * size[2] * channels,
        .line = size[2] * channels,
        .cell = channels,
        .channel = 1,
    };
}

}  // namespace backstride
