// The weights of a sweep in the order in which its blocks read them, from w (*kernel, big,
// groups*small): [group][panel][tap][depth][column] for plain products,
// [group][term][plane][panel][depth][column] where the sweep runs as Winograd tiles, [tap][channel]
// depthwise. Columns are padded with zeros to whole vectors.
#include <algorithm>
#include <vector>

#include "buffer.h"
#include "dense_call.h"
#include "threads.h"
#include "tuning.h"

namespace backstride {
namespace {

// Lays the numbers of one tap out as [depth][columns], `width` numbers from one to the next; columns that the tap does
// not have, and those beyond the last, are zero.
template <typename Scalar>
class TapLayout {
public:
    TapLayout(const Problem& p, const Side& side, const Kernels<Scalar>& kernels, bool transpose, const Scalar* w)
        : p_(p), side_(side), kernels_(kernels), transpose_(transpose), w_(w) {}

    void lay(const Axes& tap, Index group, Index column, Index width, Index from, Index depth, Scalar* to) const {
        const Index inputs = p_.groups * p_.small, row = transpose_ && !side_.depthwise ? inputs : 1;
        for (Index n = 0, run = 0; n < width; n += run) {
            const Index within = (column + n) % side_.channels;
            run = std::min(width - n, column + n < side_.columns ? side_.channels - within : width - n);
            const Scalar* numbers = column + n < side_.columns ? at(tap, column + n) : nullptr;
            // Stacked cells may follow each other as channels do.
            while (numbers && n + run < width && column + n + run < side_.columns &&
                   at(tap, column + n + run) == numbers + run * row)
                run += std::min(width - n - run, side_.channels);
            if (!numbers) {
                for (Index c = 0; c < depth; ++c) std::fill_n(to + c * width + n, run, Scalar(0));
            } else if (transpose_ && !side_.depthwise) {
                kernels_.transpose({
                    .from = numbers + group * p_.small + from,
                    .step = inputs,
                    .rows = run,
                    .columns = depth,
                    .to = to + n,
                    .pitch = width,
                });
            } else {
                for (Index c = 0; c < depth; ++c)
                    std::copy_n(numbers + group * p_.small + (from + c) * (transpose_ ? 1 : inputs), run,
                                to + c * width + n);
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
void transform_weights(const Problem& p, const Side& side, const Term& term, const Forms& forms,
                       const Kernels<Scalar>& kernels, const Scalar* w, const Patch& patch, Scalar* laid, Scalar* to,
                       Index pitch) {
    static thread_local std::vector<const Scalar*> taps;
    const Index group = patch.group, column = patch.column, width = patch.width, from = patch.from, depth = patch.depth;
    const Index inputs = p.groups * p.small, pitch_of_taps = side.transpose ? width : inputs;
    const TapLayout<Scalar> layout(p, side, kernels, side.transpose, w);
    taps.resize(static_cast<std::size_t>(forms.lines.taps * forms.columns.taps));
    point_taps(term, forms, taps, [&](Index n, const Axes& tap) -> const Scalar* {
        if (!side.transpose)
            return w + (((tap[0] * p.kernel[1] + tap[1]) * p.kernel[2] + tap[2]) * p.big + from) * inputs +
                   group * p.small + column;
        layout.lay(tap, group, column, width, from, depth, laid + n * depth * width);
        return laid + n * depth * width;
    });
    const Index count = side.transpose ? width : side.columns - column;
    kernels.winograd_weights({
        .taps = taps.data(),
        .step = pitch_of_taps,
        .depth = depth,
        .columns = count,
        .width = width,
        .planes = to,
        .plane_stride = pitch,
        .line_form = forms.lines,
        .column_form = forms.columns,
    });
}

template <typename Scalar>
void pack(const Problem& p, const Side& side, const Sweep& sweep, const Forms& forms, const Kernels<Scalar>& kernels,
          const Scalar* w, Scalar* packed) {
    const TapLayout<Scalar> layout(p, side, kernels, side.transpose, w);
    const Index panel = kernels.panel_vectors * kernels.lanes, stride = padded(side.columns, kernels.lanes);
    const Index panels = ceil_div(side.columns, panel);
    const auto& [outer, lines, columns] = sweep.axes;
    if (forms.tiled() && side.transforms_on_the_fly) return;
    if (!side.transpose && !side.depthwise) {
        // Columns lie together in w: whole rows of it, spread over the panels.
        const Index inputs = p.groups * p.small, products = sweep.taps();
        parallel(products * side.groups, [&](Index task) {
            const Index group = task / products, tap = task % products;
            const Scalar* from = w + tap * side.depth * inputs + group * p.small;
            for (Index c = 0; c < side.depth; ++c, from += inputs)
                for (Index column = 0; column < stride; column += panel) {
                    const Index width = std::min(stride - column, panel),
                                count = std::min(side.columns - column, width);
                    Scalar* to =
                        packed + (group * stride + column) * side.depth * products + (tap * side.depth + c) * width;
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
                        layout.lay({t0, t1, t2}, group, column, width, 0, side.depth, to);
                        to += side.depth * width;
                    }
        });
        return;
    }
    const Terms terms(sweep, most_tile_taps);
    const Index planes = forms.planes();
    constexpr Index piece = tuning::packing::depth_of_piece;
    const Index pieces = ceil_div(side.depth, piece);
    parallel(side.groups * panels, [&](Index task) {
        const Index group = task / panels, column = task % panels * panel, width = std::min(stride - column, panel);
        static thread_local Scratch<Scalar> buffer;
        Scalar* const laid = buffer.get(forms.lines.taps * forms.columns.taps * piece * width);
        for (Index number = 0; number < terms.count() * pieces; ++number) {
            const Term& term = terms.all[static_cast<std::size_t>(number / pieces)];
            const Index from = number % pieces * piece, depth = std::min(piece, side.depth - from);
            Scalar* to = packed + (group * terms.count() + number / pieces) * planes * side.depth * stride +
                         column * side.depth + from * width;
            const Patch patch{.group = group, .column = column, .width = width, .from = from, .depth = depth};
            transform_weights(p, side, term, forms, kernels, w, patch, laid, to, side.depth * stride);
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

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                             \
    template void pack<Scalar>(const Problem&, const Side&, const Sweep&, const Forms&, const Kernels<Scalar>&,    \
                               const Scalar*, Scalar*);                                                            \
    template void transform_weights<Scalar>(const Problem&, const Side&, const Term&, const Forms&,                \
                                            const Kernels<Scalar>&, const Scalar*, const Patch&, Scalar*, Scalar*, \
                                            Index);                                                                \
    template void pack_depthwise<Scalar>(const Problem&, Index, const Scalar*, Scalar*);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
