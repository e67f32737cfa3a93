// The integers of phases, stacked axes, and strands of neighbouring taps. Strides and dilations may
// be as large as an Index: residues of their products with taps are taken in 128 bits.
#include "sweep.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "tuning.h"

namespace backstride {

using namespace tuning::choice;

__extension__ typedef __int128 Wide;  // strides and dilations may be as large as 2**63 - 1

static Index residue_of(const Problem& p, std::size_t axis, Index tap) {
    return static_cast<Index>(Wide(tap) * p.dilation[axis] % p.strides[axis]);
}

// The phases of one axis that have taps, by residue of tap*dilation: where the packed weights of a phase
// lie does not depend on the crop or the sizes. There are at most as many as taps, however large the stride.
static std::vector<Axis> phases(const Problem& p, std::size_t axis) {
    const Index stride = p.strides[axis], before = p.before[axis];
    std::vector<Index> residues;
    for (Index tap = 0; tap < p.kernel[axis]; ++tap) residues.push_back(residue_of(p, axis, tap));
    std::sort(residues.begin(), residues.end());
    residues.erase(std::unique(residues.begin(), residues.end()), residues.end());
    std::vector<Axis> result;
    for (const Index residue : residues) {
        const Index start = modulo(residue - before, stride);
        const Index first = (start + before - residue) / stride;
        const Index count = start < p.output[axis] ? (p.output[axis] - start - 1) / stride + 1 : 0;
        Axis phase{.count = count, .step = 1, .extent = p.input[axis], .start = start, .stride = stride};
        for (Index tap = 0; tap < p.kernel[axis]; ++tap) {
            if (residue_of(p, axis, tap) != residue) continue;
            phase.taps.push_back(tap);
            phase.offsets.push_back(first - static_cast<Index>(Wide(tap) * p.dilation[axis] / stride));
        }
        result.push_back(phase);
    }
    return result;
}

Axis whole(const Problem& p, std::size_t axis) {
    Axis result{
        .count = p.input[axis],
        .step = p.strides[axis],
        .extent = p.output[axis],
        .start = 0,
        .stride = 1,
    };
    for (Index tap = 0; tap < p.kernel[axis]; ++tap) {
        result.taps.push_back(tap);
        result.offsets.push_back(tap * p.dilation[axis] - p.before[axis]);
    }
    return result;
}

// One after the other, as even as they can be: so that all strands of an axis have as many taps as the longest, or one
// less.
static void split(const Strand& whole, Index step, Index parts, std::vector<Strand>& to) {
    const auto count = static_cast<Index>(whole.taps.size());
    for (Index part = 0, from = 0; part < parts; ++part) {
        const Index own = ceil_div(count - from, parts - part);
        if (own == 0) return;
        const auto first = whole.taps.begin() + from;
        to.push_back({
            .offset = whole.offset + from * step,
            .taps = {first, first + own},
        });
        from += own;
    }
}

std::vector<Strand> strands(const Axis& axis, std::size_t most) {
    const std::size_t count = axis.taps.size();
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t(0));
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return axis.offsets[a] < axis.offsets[b]; });
    std::vector<Strand> whole, result;
    std::map<Index, std::size_t> of_residue;
    std::size_t longest = 0;
    for (const std::size_t n : order) {
        const Index offset = axis.offsets[n];
        const auto [own, fresh] = of_residue.emplace(modulo(offset, axis.step), whole.size());
        if (fresh) whole.push_back({.offset = offset});
        Strand& strand = whole[own->second];
        if ((offset - strand.offset) / axis.step != static_cast<Index>(strand.taps.size())) return {};
        strand.taps.push_back(axis.taps[n]);
        longest = std::max(longest, strand.taps.size());
        if (longest > most_strand_taps) return {};
    }
    const Index parts = ceil_div(static_cast<Index>(longest), static_cast<Index>(most));
    for (const Strand& strand : whole) split(strand, axis.step, parts, result);
    std::stable_sort(result.begin(), result.end(),
                     [](const Strand& a, const Strand& b) { return a.taps.size() > b.taps.size(); });
    return result;
}

Terms::Terms(const Sweep& sweep, std::size_t most_taps)
    : lines(strands(sweep.axes[1], most_taps)), columns(strands(sweep.axes[2], most_taps)) {
    const Axis& outer = sweep.axes[0];
    for (std::size_t n = 0; n < outer.taps.size(); ++n)
        for (const Strand& line : lines)
            for (const Strand& column : columns)
                all.push_back({
                    .offset = outer.offsets[n],
                    .tap = outer.taps[n],
                    .lines = &line,
                    .columns = &column,
                });
}

// One axis whose phases are stacked: block q holds the output cells q*stride + r - before for all residues r,
// and reads input q - t through the taps with tap*dilation = t*stride + r.
static Axis stacked(const Problem& p, std::size_t axis) {
    const Index stride = p.strides[axis], before = p.before[axis];
    const Index first = floor_div(before, stride), last = floor_div(p.output[axis] - 1 + before, stride);
    Axis result{
        .count = last - first + 1,
        .step = 1,
        .extent = p.input[axis],
        .start = first * stride - before,
        .stride = stride,
    };
    for (Index shift = 0; shift <= (p.kernel[axis] - 1) * p.dilation[axis] / stride; ++shift) {
        result.taps.push_back(shift);
        result.offsets.push_back(first - shift);
    }
    return result;
}

Index stacked_tap(const Problem& p, std::size_t axis, Index shift, Index residue) {
    const Index reach = shift * p.strides[axis] + residue;
    const Index tap = reach / p.dilation[axis];
    return reach % p.dilation[axis] == 0 && tap < p.kernel[axis] ? tap : -1;
}

bool has_holes(const Problem& p, const Stack& stack) {
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (stack[axis] > 1 &&
            p.kernel[axis] != stack[axis] * ((p.kernel[axis] - 1) * p.dilation[axis] / stack[axis] + 1))
            return true;
    return false;
}

Index merged_taps(const Problem& p, bool transpose) {
    if (transpose || p.groups > 1 || p.dilation[2] > 1) return 1;
    const bool inside =
        p.before[2] <= 0 && Wide(p.input[2] - 1) * p.strides[2] + p.kernel[2] - p.before[2] <= p.output[2];
    const bool few =
        p.big <= few_merged_channels && Wide(p.kernel[0]) * p.kernel[1] * p.kernel[2] * p.big <= most_merged_products;
    return inside || few ? p.kernel[2] : 1;
}

std::vector<Sweep> sweeps(const Problem& p, bool transpose, const Stack& stack, Index merged) {
    if (!transpose) {
        Axis inner = whole(p, 2);
        if (merged > 1) inner.taps = {0}, inner.offsets = {-p.before[2]};
        return {Sweep{{whole(p, 0), whole(p, 1), inner}}};
    }
    std::array<std::vector<Axis>, 3> choices;
    for (std::size_t axis = 0; axis < 3; ++axis)
        choices[axis] = stack[axis] > 1 ? std::vector<Axis>{stacked(p, axis)} : phases(p, axis);
    std::vector<Sweep> result;
    for (const Axis& plane : choices[0])
        for (const Axis& line : choices[1])
            for (const Axis& column : choices[2]) result.push_back({{plane, line, column}});
    return result;
}

}  // namespace backstride
