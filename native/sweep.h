// Which input cells each output cell meets, as integers alone: a transposed convolution as one
// dense convolution for each phase, or with phases stacked beside each other; a convolution as a
// single one. A cell is a place of the three spatial axes with all its channels. There is neither
// zero insertion nor a column buffer.
#pragma once

#include <array>
#include <vector>

#include "direct.h"
#include "kernels.h"

namespace backstride {

// One axis of a sweep: output q of `count` reads input q*step + offset[n] of `extent` through tap[n],
// and is written to output cell start + q*stride.
struct Axis {
    Index count, step, extent, start, stride;
    std::vector<Index> taps{}, offsets{};
};

// How many neighbouring output cells of each axis one row holds beside each other, as if they were
// channels: all residues of the stride, or 1.
using Stack = std::array<Index, 3>;

// One dense convolution: a phase of a transposed convolution, or a whole convolution.
struct Sweep {
    std::array<Axis, 3> axes;
    Index taps() const {
        Index product = 1;
        for (const Axis& axis : axes) product *= static_cast<Index>(axis.taps.size());
        return product;
    }
    Index cells() const { return axes[0].count * axes[1].count * axes[2].count; }
};

// Taps of one axis whose inputs follow each other at the step of the outputs, so that along them the sweep is a
// convolution of stride 1: those of a residue of the step. Output q reads inputs q*step + offset + n*step.
struct Strand {
    Index offset;
    std::vector<Index> taps{};
};

// The strands of an axis, split into ones of at most `most` taps, those of most taps first; none where one has gaps or
// more taps than are worth splitting.
std::vector<Strand> strands(const Axis& axis, std::size_t most);

// One tap of the outermost axis with a strand of each inner one: what a sweep sums, term by term.
struct Term {
    Index offset, tap;
    const Strand *lines, *columns;
};

// The terms of a sweep; the first one has the longest strands.
struct Terms {
    std::vector<Strand> lines, columns;
    std::vector<Term> all;
    Terms(const Sweep& sweep, std::size_t most_taps);
    Terms(const Terms&) = delete;
    Index count() const { return static_cast<Index>(all.size()); }
};

// The tap of a stacked axis for a shift and a residue, or -1.
Index stacked_tap(const Problem& p, std::size_t axis, Index shift, Index residue);

// Whether some stacked cells lack taps that their neighbours have: there, zeros stand in the weights.
bool has_holes(const Problem& p, const Stack& stack);

// The axis of a whole convolution: input cell q reads output cells q*stride + tap*dilation - before.
Axis whole(const Problem& p, std::size_t axis);

// How many innermost taps of a convolution stand beside each other in its source as if they were channels: all where
// they are neighbours and either never reach beyond the ends of a line or channels are few, otherwise 1.
Index merged_taps(const Problem& p, bool transpose);

// The phases that have taps, in an order that does not depend on the crop or the sizes.
std::vector<Sweep> sweeps(const Problem& p, bool transpose, const Stack& stack, Index merged);

}  // namespace backstride
