// The weights of a sweep in the order in which its blocks read them: panels of columns, tap after tap, or plane after
// plane where the sweep runs as Winograd tiles.
#include <algorithm>
#include <vector>

#include "buffer.h"
#include "pass.h"
#include "threads.h"

namespace backstride {
namespace {

// Lays the numbers of one tap out as [depth][columns], `width` numbers from one to the next; columns that the tap does
// not have, and those beyond the last, are zero.
template <typename Scalar>
class Columns {
public:
    Columns(const Problem& p, const Side& side, const Kernels<Scalar>& kernels, bool transpose, const Scalar* w)
        : p_(p), side_(side), kernels_(kernels), transpose_(transpose), w_(w) {}

    void lay(const Axes& tap, Index group, Index column, Index width, Index from, Index depth, Scalar* to) const {
        const Index inputs = p_.groups * p_.small, row = transpose_ && !side_.depthwise ? inputs : 1;
        for (Index n = 0, run = 0; n < width; n += run) {
            const Index within = (column + n) % side_.channels;
            run = std::min(width - n, column + n < side_.columns ? side_.channels - within : width - n);
            const Scalar* numbers = column + n < side_.columns ? at(tap, column + n) : nullptr;
            // Stacked cells may follow each other as channels do.
            while (numbers && n + run < width && column + n + run < side_.columns && at(tap, column + n + run) == numbers + run * row)
                run += std::min(width - n - run, side_.channels);
            if (!numbers) {
                for (Index c = 0; c < depth; ++c) std::fill_n(to + c * width + n, run, Scalar(0));
            } else if (transpose_ && !side_.depthwise) {
                kernels_.transpose(numbers + group * p_.small + from, inputs, run, depth, to + n, width, false);
            } else {
                for (Index c = 0; c < depth; ++c)
                    std::copy_n(numbers + group * p_.small + (from + c) * (transpose_ ? 1 : inputs), run, to + c * width + n);
            }
        }
    }

private:
    // The kernel's numbers for one column of one tap, or null where it has none.
    const Scalar* at(const Axes& tap, Index column) const {
        const Index inputs = p_.groups * p_.small;
        Index rest = column / side_.channels, flat = 0;
        Axes residue{};
        for (std::size_t axis = 3; axis-- > 0; rest /= side_.stack[axis]) residue[axis] = rest % side_.stack[axis];
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const Index own = side_.stack[axis] > 1 ? stacked_tap(p_, axis, tap[axis], residue[axis]) : tap[axis];
            if (own < 0) return nullptr;
            flat = flat * p_.kernel[axis] + own;
        }
        return w_ + flat * p_.big * inputs + column % side_.channels * (transpose_ && !side_.depthwise ? inputs : 1);
    }

    const Problem& p_;
    const Side& side_;
    const Kernels<Scalar>& kernels_;
    bool transpose_;
    const Scalar* w_;
};

}  // namespace

template <typename Scalar>
void transform_weights(const Problem& p, const Side& side, const Term& term, const Forms& forms, const Kernels<Scalar>& kernels,
                       const Scalar* w, const Patch& patch, Scalar* laid, Scalar* to, Index pitch) {
    static thread_local std::vector<const Scalar*> taps;
    const auto [group, column, width, from, depth] = patch;
    const Index inputs = p.groups * p.small, pitch_of_taps = side.transpose ? width : inputs;
    const Columns<Scalar> columns_of(p, side, kernels, side.transpose, w);
    taps.resize(static_cast<std::size_t>(forms.lines.taps * forms.columns.taps));
    point_taps(term, forms, taps, [&](Index n, const Axes& tap) -> const Scalar* {
        if (!side.transpose) return w + (((tap[0] * p.kernel[1] + tap[1]) * p.kernel[2] + tap[2]) * p.big + from) * inputs + group * p.small + column;
        columns_of.lay(tap, group, column, width, from, depth, laid + n * depth * width);
        return laid + n * depth * width;
    });
    const Index count = side.transpose ? width : side.columns - column;
    kernels.tile_weights({taps.data(), pitch_of_taps, depth, count, width, to, pitch, forms.lines, forms.columns});
}

template <typename Scalar>
void pack(const Problem& p, const Side& side, const Sweep& sweep, const Forms& forms, const Kernels<Scalar>& kernels,
          const Scalar* w, Scalar* packed) {
    const Columns<Scalar> columns_of(p, side, kernels, side.transpose, w);
    const Index panel = kernels.panel_vectors * kernels.lanes, stride = padded(side.columns, kernels.lanes);
    const Index panels = (side.columns + panel - 1) / panel;
    const auto& [outer, lines, columns] = sweep.axes;
    if (forms.tiled() && side.passing) return;
    if (!side.transpose && !side.depthwise) {
        // Columns lie together in w: whole rows of it, spread over the panels.
        const Index inputs = p.groups * p.small, products = sweep.taps();
        parallel(products * side.groups, [&](Index task) {
            const Index group = task / products, tap = task % products;
            const Scalar* from = w + tap * side.depth * inputs + group * p.small;
            for (Index c = 0; c < side.depth; ++c, from += inputs)
                for (Index column = 0; column < stride; column += panel) {
                    const Index width = std::min(stride - column, panel), count = std::min(side.columns - column, width);
                    Scalar* to = packed + (group * stride + column) * side.depth * products + (tap * side.depth + c) * width;
                    std::copy_n(from + column, count, to);
                    std::fill_n(to + count, width - count, Scalar(0));
                }
        });
        return;
    }
    if (!forms.tiled()) {
        parallel(side.groups * panels, [&](Index task) {
            const Index group = task / panels, column = task % panels * panel, width = std::min(stride - column, panel);
            Scalar* to = packed + (group * stride + column) * side.depth * sweep.taps();
            for (const Index t0 : outer.taps)
                for (const Index t1 : lines.taps)
                    for (const Index t2 : columns.taps) {
                        columns_of.lay({t0, t1, t2}, group, column, width, 0, side.depth, to);
                        to += side.depth * width;
                    }
        });
        return;
    }
    const Terms terms(sweep, most_tile_taps);
    const Index planes = forms.planes();
    constexpr Index piece = 32;  // of the depth, so that all taps of it stay in the cache
    const Index pieces = (side.depth + piece - 1) / piece;
    parallel(side.groups * panels, [&](Index task) {
        const Index group = task / panels, column = task % panels * panel, width = std::min(stride - column, panel);
        static thread_local Scratch<Scalar> buffer;
        Scalar* const laid = buffer.get(forms.lines.taps * forms.columns.taps * piece * width);
        for (Index number = 0; number < terms.count() * pieces; ++number) {
            const Term& term = terms.all[static_cast<std::size_t>(number / pieces)];
            const Index from = number % pieces * piece, depth = std::min(piece, side.depth - from);
            Scalar* to = packed + (group * terms.count() + number / pieces) * planes * side.depth * stride + column * side.depth + from * width;
            transform_weights(p, side, term, forms, kernels, w, {group, column, width, from, depth}, laid, to, side.depth * stride);
        }
    });
}

template <typename Scalar>
void pack_depthwise(const Problem& p, Index lanes, const Scalar* w, Scalar* packed) {
    const Index stride = padded(p.groups, lanes);
    for (Index tap = 0; tap < p.kernel[0] * p.kernel[1] * p.kernel[2]; ++tap, w += p.groups, packed += stride) {
        std::copy_n(w, p.groups, packed);
        std::fill_n(packed + p.groups, stride - p.groups, Scalar(0));
    }
}

namespace {

// Part of the outputs of an axis, and the tiles they are cut into.
struct Stretch {
    Axis axis;
    Form form;
};

Stretch stretch(const Axis& whole, Index from, Index count, const Form& form) {
    Stretch result{whole, form};
    result.axis.count = count;
    result.axis.start += from * whole.stride;
    for (Index& offset : result.axis.offsets) offset += from * whole.step;
    return result;
}

// The ways to cut an axis into tiles: of one form, or of three outputs until the rest is a multiple of two.
std::vector<std::vector<Stretch>> cuts(const Axis& axis, const Strand& longest, bool mixes) {
    const auto taps = static_cast<Index>(longest.taps.size());
    if (taps != 2) return {{{axis, {taps == 1 ? 1 : 2, taps}}}};
    std::vector<std::vector<Stretch>> result{{{axis, {2, 2}}}, {{axis, {3, 2}}}};
    const Index rest = (3 - axis.count % 3) % 3 * 2;
    if (mixes && rest > 0 && axis.count > rest)
        result.push_back({stretch(axis, 0, axis.count - rest, {3, 2}), stretch(axis, axis.count - rest, rest, {2, 2})});
    return result;
}

// The share of meetings of outputs and taps that a plain product does not leave out.
double inside(const Problem& p, const Sweep& sweep) {
    double share = 1;
    if (!images_inside(p, sweep)) return share;
    for (const Axis& axis : sweep.axes) {
        Index count = 0;
        for (Index q = 0; q < axis.count; ++q)
            for (const Index offset : axis.offsets) count += q * axis.step + offset >= 0 && q * axis.step + offset < axis.extent;
        share *= static_cast<double>(count) / static_cast<double>(axis.count * static_cast<Index>(axis.taps.size()));
    }
    return share;
}

// Cycles of all images of one group, in vectors: products, and what the transforms load, add and store.
template <typename Scalar>
double cycles(const Problem& p, const Side& side, const Sweep& sweep, const Terms& terms, const Forms& forms, Index lanes, Index& tiles) {
    constexpr Index rows = 6;  // that are multiplied at once
    constexpr double transform = 8;  // of a vector of weights, from memory
    const auto& [outer, lines, columns] = sweep.axes;
    Index own = outer.count * ((lines.count + forms.lines.outputs - 1) / forms.lines.outputs) *
                ((columns.count + forms.columns.outputs - 1) / forms.columns.outputs) * p.batch;
    tiles += own;
    if (!side.transpose) own = (own + rows - 1) / rows * rows;
    const auto vectors = static_cast<double>(padded(side.columns, lanes) / lanes), depth = static_cast<double>(side.depth);
    const auto planes = static_cast<double>(forms.planes()), of_terms = static_cast<double>(terms.count());
    double products = 0;
    for (const Term& term : terms.all) products += static_cast<double>(products_of(term, forms));
    // Along one axis, tiles are few cells, from far apart in memory.
    const double turns = side.transpose && (forms.lines.outputs == 1 || forms.columns.outputs == 1) ? 2.4 : 1;
    const double each = products * depth * vectors + turns * planes * (5 * of_terms * depth / static_cast<double>(lanes) + 8 * vectors);
    const double once = side.transpose ? 0 : transform * planes * of_terms * depth * vectors;
    // Of numbers that come from memory and go there, which a plain product does meanwhile.
    constexpr double loading = 0.375, storing = 0.5;
    const double of_tile = static_cast<double>(forms.lines.outputs * forms.columns.outputs);
    const double moved = side.transpose ? 0 : of_tile * (loading * of_terms * depth + storing * static_cast<double>(side.columns));
    return static_cast<double>(own) * (each + moved) + once * static_cast<double>(tile_blocks_of<Scalar>(p, side, sweep, forms));
}

}  // namespace

template <typename Scalar>
std::vector<Tiled> choose_tiles(const Problem& p, const Side& side, const Sweep& sweep, const Kernels<Scalar>& kernels, bool forced) {
    std::vector<Tiled> found{{sweep, Forms()}};
    if (side.depthwise || sweep.cells() == 0) return found;
    const Terms terms(sweep, most_tile_taps);
    if (terms.all.empty()) return found;
    const Index fewest_tiles = side.transpose && terms.count() > 1 ? 24 : 12;  // that meet weights from memory
    constexpr double packing = 20;  // of a vector of weights, from memory
    const auto vectors = static_cast<double>(padded(side.columns, kernels.lanes) / kernels.lanes);
    const double weights = static_cast<double>(sweep.taps() * side.depth) * vectors;
    // Long runs of merged taps cost less.
    const double each = merged_taps(p, side.transpose) > 1 ? 0.88 : 0.95;
    double best = each * static_cast<double>(sweep.cells() * p.batch) * weights;
    best *= inside(p, sweep);
    if (!side.transpose) best += packing * weights;
    if (forced) best = 1e300;
    for (const auto& lines : cuts(sweep.axes[1], terms.lines.front(), !side.transpose))
        for (const auto& columns : cuts(sweep.axes[2], terms.columns.front(), !side.transpose)) {
            std::vector<Tiled> parts;
            double cost = 0;
            Index tiles = 0;
            for (const Stretch& line : lines)
                for (const Stretch& column : columns) {
                    const Forms forms{line.form, column.form};
                    if (!forms.tiled()) return found;
                    parts.push_back({{{sweep.axes[0], line.axis, column.axis}}, forms});
                    cost += cycles<Scalar>(p, side, parts.back().sweep, terms, forms, kernels.lanes, tiles);
                }
            if (cost < best && (tiles >= fewest_tiles || forced)) best = cost, found = parts;
        }
    return found;
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                            \
    template void pack<Scalar>(const Problem&, const Side&, const Sweep&, const Forms&, const Kernels<Scalar>&,  \
                               const Scalar*, Scalar*);                                                          \
    template void transform_weights<Scalar>(const Problem&, const Side&, const Term&, const Forms&, const Kernels<Scalar>&, \
                                            const Scalar*, const Patch&, Scalar*, Scalar*, Index);               \
    template void pack_depthwise<Scalar>(const Problem&, Index, const Scalar*, Scalar*);                            \
    template std::vector<Tiled> choose_tiles<Scalar>(const Problem&, const Side&, const Sweep&, const Kernels<Scalar>&, bool);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
