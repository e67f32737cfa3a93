// Depthwise, channels last: one target line (cells, channels) after the other, channels in the
// lanes. Whole blocks of a stride's cells where all taps meet the source, and pieces of the phases,
// whose cells meet the same taps, elsewhere. Weights are [tap][channel], padded to whole vectors.
// No workspace.
#include <algorithm>
#include <vector>

#include "dense_call.h"
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
    const DenseCall<Scalar>& call;
    Index column, columns;  // channels that are computed
    DepthwiseKernel<Scalar> kernel;
    Index low, high;      // blocks that lie inside; none where the lines run phase by phase
    Index column_phases;  // sweeps that share target lines stand together

    Lines(const DenseCall<Scalar>& call, Index first, Index last)
        : call(call), column(first * call.panel_width()),
          columns(std::min(last * call.panel_width(), call.side.columns) - column), kernel(nullptr), low(0), high(0),
          column_phases(1) {
        const Problem& p = call.problem;
        // A last panel of less than a vector goes with the one before, so that the same kernel computes it for any
        // number of threads.
        const Index left = call.side.columns - column, behind = left - columns;
        if (first > 0 && left < call.kernels.lanes) columns = 0;
        else if (behind < call.kernels.lanes) columns = left;
        const auto& front = call.sweeps.front().axes;
        while (column_phases < static_cast<Index>(call.sweeps.size()) &&
               call.sweeps[static_cast<std::size_t>(column_phases)].axes[0].taps == front[0].taps &&
               call.sweeps[static_cast<std::size_t>(column_phases)].axes[1].taps == front[1].taps)
            ++column_phases;
        if (p.dilation[2] != 1 || columns < call.kernels.lanes || call.activation > Activation::relu) return;
        kernel = call.kernels.depthwise_kernel(call.side.transpose, p.strides[2], p.kernel[2]);
        if (!kernel) return;
        const Index taps = p.kernel[2], stride = p.strides[2], before = p.before[2],
                    first_inside = -floor_div(-before, stride);
        low = std::max(first_inside, call.side.transpose ? (taps - 1) / stride : Index(0));
        high = call.side.transpose ? std::min(p.input[2], floor_div(p.output[2] + before, stride))
                                   : std::min(p.input[2], floor_div(p.output[2] + before - taps, stride) + 1);
    }
};

template <typename Scalar>
void run_blocks(const Lines<Scalar>& lines, const std::vector<LineTaps<Scalar>>& line_taps, Scalar* target) {
    static thread_local std::vector<const Scalar*> sources, weights;
    const DenseCall<Scalar>& call = lines.call;
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
        .weight_step = call.stride,
        .source_cells = call.side.source[2],
        .target_cells = call.side.target[2],
        .before = call.problem.before[2],
        .low = lines.low,
        .high = lines.high,
        .step = call.side.source_channels,
        .target = target + lines.column,
        .bias = call.bias.empty() ? nullptr : call.bias.data() + lines.column,
        .columns = lines.columns,
        .activation = call.activation,
    });
}

// One phase of a line, in pieces whose cells meet the same taps.
template <typename Scalar>
void run_phase(const Lines<Scalar>& lines, const std::vector<LineTaps<Scalar>>& line_taps, const Axis& phase,
               Scalar* target) {
    static thread_local std::vector<const Scalar*> sources, weights;
    static thread_local std::vector<std::size_t> met;
    const DenseCall<Scalar>& call = lines.call;
    const Index channels = call.side.source_channels, width = call.panel_width(), step = phase.step,
                end = lines.column + lines.columns;
    for (Index from = 0, next; from < phase.count; from = next) {
        // Taps that meet the source at `from`, and where others do.
        next = phase.count;
        met.clear();
        for (std::size_t tap = 0; tap < phase.taps.size(); ++tap) {
            const Index offset = phase.offsets[tap], reached = from * step + offset;
            if (offset >= phase.extent || reached >= phase.extent) continue;
            if (reached < 0) next = std::min(next, ceil_div(-offset, step));
            else next = std::min(next, (phase.extent - 1 - offset) / step + 1), met.push_back(tap);
        }
        for (Index column = lines.column; column < end; column += width) {
            sources.clear();
            weights.clear();
            for (const LineTaps<Scalar>& taps : line_taps)
                for (const std::size_t tap : met) {
                    sources.push_back(taps.source + (from * step + phase.offsets[tap]) * channels + column);
                    weights.push_back(taps.weights + phase.taps[tap] * call.stride + column);
                }
            call.kernels.depthwise_line({
                .sources = sources.data(),
                .weights = weights.data(),
                .taps = static_cast<Index>(sources.size()),
                .count = next - from,
                .source_step = step * channels,
                .target_step = phase.stride * channels,
                .target = target + (phase.start + from * phase.stride) * channels + column,
                .bias = call.bias.empty() ? nullptr : call.bias.data() + column,
                .columns = std::min(width, end - column),
                .activation = call.activation,
            });
        }
    }
}

// The line of cells [t0][t1] of an image, by the phases of its lines; nothing where these do not reach it.
template <typename Scalar>
void run_line(const Lines<Scalar>& lines, std::size_t first_sweep, Index image, Index t0, Index t1) {
    static thread_local std::vector<LineTaps<Scalar>> line_taps;
    const DenseCall<Scalar>& call = lines.call;
    const Side& side = call.side;
    const Axis &outer = call.sweeps[first_sweep].axes[0], &inner = call.sweeps[first_sweep].axes[1];
    const Index q0 = (t0 - outer.start) / outer.stride, q1 = (t1 - inner.start) / inner.stride;
    if (t0 != outer.start + q0 * outer.stride || t1 != inner.start + q1 * inner.stride || q0 >= outer.count ||
        q1 >= inner.count)
        return;
    line_taps.clear();
    for (std::size_t a = 0; a < outer.taps.size(); ++a)
        for (std::size_t b = 0; b < inner.taps.size(); ++b) {
            const Index i0 = q0 * outer.step + outer.offsets[a], i1 = q1 * inner.step + inner.offsets[b];
            if (i0 < 0 || i0 >= outer.extent || i1 < 0 || i1 >= inner.extent) continue;
            const Index start = ((image * side.source[0] + i0) * side.source[1] + i1) * side.source[2];
            const Index tap = (outer.taps[a] * call.problem.kernel[1] + inner.taps[b]) * call.problem.kernel[2];
            line_taps.push_back({.source = call.source + start * side.source_channels,
                                 .weights = call.weights.front() + tap * call.stride});
        }
    Scalar* target =
        call.target + ((image * side.target[0] + t0) * side.target[1] + t1) * side.target[2] * side.target_channels;
    if (lines.high > lines.low) return run_blocks(lines, line_taps, target);
    for (Index n = 0; n < lines.column_phases; ++n)
        run_phase(lines, line_taps, call.sweeps[first_sweep + static_cast<std::size_t>(n)].axes[2], target);
}

}  // namespace

template <typename Scalar>
Index line_blocks(const DenseCall<Scalar>& call) {
    const Index lines = call.problem.batch * call.side.target[0] * call.side.target[1];
    return ceil_div(lines, lines_of_block);
}

template <typename Scalar>
void run_lines(const DenseCall<Scalar>& call, const BlockTask& task) {
    const Lines<Scalar> lines(call, task.first_panel, task.last_panel);
    if (lines.columns == 0) return;
    const Index planes = call.side.target[0], height = call.side.target[1];
    for (Index at = task.block * lines_of_block;
         at < std::min((task.block + 1) * lines_of_block, call.problem.batch * planes * height); ++at)
        for (std::size_t sweep = 0; sweep < call.sweeps.size(); sweep += static_cast<std::size_t>(lines.column_phases))
            run_line(lines, sweep, at / height / planes, at / height % planes, at % height);
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                            \
    template Index line_blocks<Scalar>(const DenseCall<Scalar>&); \
    template void run_lines<Scalar>(const DenseCall<Scalar>&, const BlockTask&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
