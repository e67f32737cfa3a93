// A depthwise sweep, line by line: pieces of a line whose cells meet the same taps, channels in the lanes.
#include <algorithm>
#include <vector>

#include "pass.h"

namespace backstride {
namespace {

constexpr Index lines_of_block = 8;

// A tap of a line: its number, where its source starts for cell 0, and the cells [low, high) that meet it.
template <typename Scalar>
struct Tap {
    Index number;
    const Scalar* source;
    Index low, high;
};

}  // namespace

template <typename Scalar>
Index line_blocks(const Pass<Scalar>& pass, const Sweep& sweep) {
    return (pass.problem.batch * sweep.axes[0].count * sweep.axes[1].count + lines_of_block - 1) / lines_of_block;
}

template <typename Scalar>
void run_lines(const Pass<Scalar>& pass, Index number, Index block, Index, Index first, Index last) {
    const Sweep& sweep = pass.sweeps[static_cast<std::size_t>(number)];
    const Side& side = pass.side;
    const auto& [planes, lines, columns] = sweep.axes;
    const Index channels = side.source_channels, width = pass.panel_width(), per_image = planes.count * lines.count;
    static thread_local std::vector<Tap<Scalar>> taps;
    static thread_local std::vector<const Scalar*> sources, weights;
    static thread_local std::vector<Index> cuts;
    for (Index line = block * lines_of_block; line < std::min((block + 1) * lines_of_block, per_image * pass.problem.batch); ++line) {
        const Index image = line / per_image, q0 = line % per_image / lines.count, q1 = line % lines.count;
        taps.clear();
        cuts.assign({0, columns.count});
        Index tap = 0;
        for (const Index offset0 : planes.offsets)
            for (const Index offset1 : lines.offsets)
                for (const Index offset2 : columns.offsets) {
                    const Index i0 = q0 * planes.step + offset0, i1 = q1 * lines.step + offset1, own = tap++;
                    if (i0 < 0 || i0 >= planes.extent || i1 < 0 || i1 >= lines.extent || offset2 >= columns.extent) continue;
                    const Index low = offset2 < 0 ? (-offset2 + columns.step - 1) / columns.step : 0;
                    const Index high = std::min(columns.count, (columns.extent - 1 - offset2) / columns.step + 1);
                    if (low >= high) continue;
                    const Index start = ((image * side.source[0] + i0) * side.source[1] + i1) * side.source[2];
                    taps.push_back({own, pass.source + (start + offset2) * channels, low, high});
                    cuts.push_back(low);
                    cuts.push_back(high);
                }
        std::sort(cuts.begin(), cuts.end());
        const Index cell = ((image * side.target[0] + planes.start + q0 * planes.stride) * side.target[1] + lines.start + q1 * lines.stride) * side.target[2] + columns.start;
        for (std::size_t cut = 0; cut + 1 < cuts.size(); ++cut) {
            const Index from = cuts[cut], to = cuts[cut + 1];
            if (from >= to) continue;
            for (Index panel = first; panel < last; ++panel) {
                const Index column = panel * width, used = std::min(width, side.columns - column);
                const Index step = std::min(width, pass.stride - column);  // between the weights of taps
                sources.clear();
                weights.clear();
                for (const Tap<Scalar>& entry : taps) {
                    if (entry.low > from || entry.high < to) continue;
                    sources.push_back(entry.source + from * columns.step * channels + column);
                    weights.push_back(pass.weights[static_cast<std::size_t>(number)] + column * sweep.taps() + entry.number * step);
                }
                pass.kernels.depthwise_line({sources.data(), weights.data(), static_cast<Index>(sources.size()), to - from,
                                             columns.step * channels, columns.stride * side.target_channels,
                                             pass.target + (cell + from * columns.stride) * side.target_channels + column,
                                             pass.bias.empty() ? nullptr : pass.bias.data() + column, used, pass.activation});
            }
        }
    }
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                     \
    template Index line_blocks<Scalar>(const Pass<Scalar>&, const Sweep&); \
    template void run_lines<Scalar>(const Pass<Scalar>&, Index, Index, Index, Index, Index);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
