// Depthwise, one target line after the other, channels in the lanes: whole blocks of a stride's cells where all taps
// meet the source, and pieces of the phases, whose cells meet the same taps, elsewhere.
#include <algorithm>
#include <vector>

#include "pass.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::depthwise;

namespace {


// A line of taps and the source line that it meets.
template <typename Scalar>
struct LineTaps {
    const Scalar* source;   // its first cell
    const Scalar* weights;  // of its first tap
};

// What the lines of a call have in common.
template <typename Scalar>
struct Lines {
    const Pass<Scalar>& pass;
    Index column, columns;  // channels that are computed
    DepthwiseKernel<Scalar> kernel;
    Index low, high;      // blocks that lie inside; none where the lines run phase by phase
    Index column_phases;  // sweeps that share target lines stand together

    Lines(const Pass<Scalar>& pass, Index first, Index last)
        : pass(pass), column(first * pass.panel_width()), columns(std::min(last * pass.panel_width(), pass.side.columns) - column),
          kernel(nullptr), low(0), high(0), column_phases(1) {
        const Problem& p = pass.problem;
        // A last panel of less than a vector goes with the one before, so that the same kernel computes it for any number
        // of threads.
        const Index left = pass.side.columns - column, behind = left - columns;
        if (first > 0 && left < pass.kernels.lanes) columns = 0;
        else if (behind < pass.kernels.lanes) columns = left;
        const auto& front = pass.sweeps.front().axes;
        while (column_phases < static_cast<Index>(pass.sweeps.size()) &&
               pass.sweeps[static_cast<std::size_t>(column_phases)].axes[0].taps == front[0].taps &&
               pass.sweeps[static_cast<std::size_t>(column_phases)].axes[1].taps == front[1].taps) ++column_phases;
        if (p.dilation[2] != 1 || columns < pass.kernels.lanes || pass.activation > Activation::relu) return;
        kernel = pass.kernels.depthwise_kernel(pass.side.transpose, p.strides[2], p.kernel[2]);
        if (!kernel) return;
        const Index taps = p.kernel[2], stride = p.strides[2], before = p.before[2], first_inside = -floor_divided(-before, stride);
        low = std::max(first_inside, pass.side.transpose ? (taps - 1) / stride : Index(0));
        high = pass.side.transpose ? std::min(p.input[2], floor_divided(p.output[2] + before, stride))
                                   : std::min(p.input[2], floor_divided(p.output[2] + before - taps, stride) + 1);
    }
};

template <typename Scalar>
void run_blocks(const Lines<Scalar>& lines, const std::vector<LineTaps<Scalar>>& line_taps, Scalar* target) {
    static thread_local std::vector<const Scalar*> sources, weights;
    const Pass<Scalar>& pass = lines.pass;
    sources.clear();
    weights.clear();
    for (const LineTaps<Scalar>& taps : line_taps) {
        sources.push_back(taps.source + lines.column);
        weights.push_back(taps.weights + lines.column);
    }
    lines.kernel({
        .sources = sources.data(),
        .weights = weights.data(),
        .lines = static_cast<Index>(sources.size()),
        .weight_step = pass.stride,
        .source_cells = pass.side.source[2],
        .target_cells = pass.side.target[2],
        .before = pass.problem.before[2],
        .low = lines.low,
        .high = lines.high,
        .step = pass.side.source_channels,
        .target = target + lines.column,
        .bias = pass.bias.empty() ? nullptr : pass.bias.data() + lines.column,
        .columns = lines.columns,
        .activation = pass.activation,
    });
}

// One phase of a line, in pieces whose cells meet the same taps.
template <typename Scalar>
void run_phase(const Lines<Scalar>& lines, const std::vector<LineTaps<Scalar>>& line_taps, const Axis& phase, Scalar* target) {
    static thread_local std::vector<const Scalar*> sources, weights;
    static thread_local std::vector<std::size_t> met;
    const Pass<Scalar>& pass = lines.pass;
    const Index channels = pass.side.source_channels, width = pass.panel_width(), step = phase.step, end = lines.column + lines.columns;
    for (Index from = 0, next; from < phase.count; from = next) {
        // Taps that meet the source at `from`, and where others do.
        next = phase.count;
        met.clear();
        for (std::size_t tap = 0; tap < phase.taps.size(); ++tap) {
            const Index offset = phase.offsets[tap], reached = from * step + offset;
            if (offset >= phase.extent || reached >= phase.extent) continue;
            if (reached < 0) next = std::min(next, (-offset + step - 1) / step);
            else next = std::min(next, (phase.extent - 1 - offset) / step + 1), met.push_back(tap);
        }
        for (Index column = lines.column; column < end; column += width) {
            sources.clear();
            weights.clear();
            for (const LineTaps<Scalar>& taps : line_taps)
                for (const std::size_t tap : met) {
                    sources.push_back(taps.source + (from * step + phase.offsets[tap]) * channels + column);
                    weights.push_back(taps.weights + phase.taps[tap] * pass.stride + column);
                }
            pass.kernels.depthwise_line({
                .sources = sources.data(),
                .weights = weights.data(),
                .taps = static_cast<Index>(sources.size()),
                .count = next - from,
                .source_step = step * channels,
                .target_step = phase.stride * channels,
                .target = target + (phase.start + from * phase.stride) * channels + column,
                .bias = pass.bias.empty() ? nullptr : pass.bias.data() + column,
                .columns = std::min(width, end - column),
                .activation = pass.activation,
            });
        }
    }
}

// The line of cells [t0][t1] of an image, by the phases of its lines; nothing where these do not reach it.
template <typename Scalar>
void run_line(const Lines<Scalar>& lines, std::size_t first_sweep, Index image, Index t0, Index t1) {
    static thread_local std::vector<LineTaps<Scalar>> line_taps;
    const Pass<Scalar>& pass = lines.pass;
    const Side& side = pass.side;
    const Axis &outer = pass.sweeps[first_sweep].axes[0], &inner = pass.sweeps[first_sweep].axes[1];
    const Index q0 = (t0 - outer.start) / outer.stride, q1 = (t1 - inner.start) / inner.stride;
    if (t0 != outer.start + q0 * outer.stride || t1 != inner.start + q1 * inner.stride || q0 >= outer.count || q1 >= inner.count) return;
    line_taps.clear();
    for (std::size_t a = 0; a < outer.taps.size(); ++a)
        for (std::size_t b = 0; b < inner.taps.size(); ++b) {
            const Index i0 = q0 * outer.step + outer.offsets[a], i1 = q1 * inner.step + inner.offsets[b];
            if (i0 < 0 || i0 >= outer.extent || i1 < 0 || i1 >= inner.extent) continue;
            const Index start = ((image * side.source[0] + i0) * side.source[1] + i1) * side.source[2];
            const Index tap = (outer.taps[a] * pass.problem.kernel[1] + inner.taps[b]) * pass.problem.kernel[2];
            line_taps.push_back({.source = pass.source + start * side.source_channels,
                                 .weights = pass.weights.front() + tap * pass.stride});
        }
    Scalar* target = pass.target + ((image * side.target[0] + t0) * side.target[1] + t1) * side.target[2] * side.target_channels;
    if (lines.high > lines.low) return run_blocks(lines, line_taps, target);
    for (Index n = 0; n < lines.column_phases; ++n)
        run_phase(lines, line_taps, pass.sweeps[first_sweep + static_cast<std::size_t>(n)].axes[2], target);
}

}  // namespace

template <typename Scalar>
Index line_blocks(const Pass<Scalar>& pass) {
    return (pass.problem.batch * pass.side.target[0] * pass.side.target[1] + lines_of_block - 1) / lines_of_block;
}

template <typename Scalar>
void run_lines(const Pass<Scalar>& pass, const BlockTask& task) {
    const Lines<Scalar> lines(pass, task.first_panel, task.last_panel);
    if (lines.columns == 0) return;
    const Index planes = pass.side.target[0], height = pass.side.target[1];
    for (Index at = task.block * lines_of_block; at < std::min((task.block + 1) * lines_of_block, pass.problem.batch * planes * height); ++at)
        for (std::size_t sweep = 0; sweep < pass.sweeps.size(); sweep += static_cast<std::size_t>(lines.column_phases))
            run_line(lines, sweep, at / height / planes, at / height % planes, at % height);
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                       \
    template Index line_blocks<Scalar>(const Pass<Scalar>&); \
    template void run_lines<Scalar>(const Pass<Scalar>&, const BlockTask&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
