// All sweeps of a call, in blocks, on all threads; and the cells that no tap reaches, which hold
// the activated bias. Work is cut by blocks and panels, so that no sum is divided.
#include <algorithm>
#include <vector>

#include "dense_call.h"
#include "threads.h"
#include "tuning.h"
#include "view.h"

namespace backstride {

using namespace tuning::run;

namespace {

// What a target cell without taps holds.
template <typename Scalar>
std::vector<Scalar> untouched(const DenseCall<Scalar>& call) {
    const Side& side = call.side;
    std::vector<Scalar> cell(static_cast<std::size_t>(side.target_channels)),
        scratch(static_cast<std::size_t>(64 * call.panel_width()));
    const Index panels = ceil_div(side.channels, call.panel_width());
    Scalar* target = cell.data();
    for (Index group = 0; group < side.groups; ++group)
        call.kernels.multiply_rows({
            .row_count = 1,
            .taps = 0,
            .depth = side.depth,
            .target_offset = group * side.channels,
            .zero = call.zeros.data(),
            .targets = &target,
            .bias = call.bias_of(group),
            .columns = side.channels,
            .last_panel = panels,
            .activation = call.activation,
            .scratch = scratch.data(),
        });
    return cell;
}

// The same in every cell.
template <typename Scalar>
void fill(const DenseCall<Scalar>& call) {
    const Side& side = call.side;
    const std::vector<Scalar> cell = untouched(call);
    const Index count = call.problem.batch * cells(side.target);
    const Index each = std::max<Index>(1, numbers_of_task / side.target_channels);
    parallel(ceil_div(count, each), [&](Index task) {
        for (Index at = task * each; at < std::min(count, (task + 1) * each); ++at)
            std::copy(cell.begin(), cell.end(), call.target + at * side.target_channels);
    });
}

// Cells of an inner axis that no tap takes to the other side, but for those between neighbouring taps: tiles leave
// rounding errors of their neighbours in them.
std::vector<Index> unreached(const Problem& p, std::size_t axis, bool transpose) {
    const Index stride = p.strides[axis], before = p.before[axis], reach = (p.kernel[axis] - 1) * p.dilation[axis];
    const Index size = (transpose ? p.output : p.input)[axis], other = (transpose ? p.input : p.output)[axis];
    const auto reached = [&](Index cell) {
        if (p.dilation[axis] == 1) {  // the taps of a cell lie `stride` apart, or beside each other
            const Index at = transpose ? (cell + before) / stride : cell * stride - before,
                        first = transpose ? (cell + before) % stride : 0;
            if (transpose && (cell + before < 0 || first > reach)) return false;
            const Index most = transpose ? (reach - first) / stride : reach;
            return transpose ? std::max<Index>(0, at - other + 1) <= std::min(most, at)
                             : std::max<Index>(0, -at) <= std::min(most, other - 1 - at);
        }
        for (Index tap = 0; tap < p.kernel[axis]; ++tap) {
            const Index shift = tap * p.dilation[axis] - before, at = transpose ? cell - shift : cell * stride + shift;
            if (at >= 0 && (!transpose || at % stride == 0) && (transpose ? at / stride : at) < other) return true;
        }
        return false;
    };
    // From `low` to `high`, cells have all their taps.
    const Index low = std::clamp<Index>(transpose ? reach - before : ceil_div(before, stride), 0, size);
    const Index last = transpose ? (other - 1) * stride - before : floor_div(other - 1 + before - reach, stride);
    const Index high = std::clamp<Index>(last + 1, low, size);
    std::vector<Index> found;
    for (Index cell = 0; cell < size; ++cell) {
        if (cell == low) cell = high;
        if (cell < size && !reached(cell)) found.push_back(cell);
    }
    return found;
}

// Makes them exact.
template <typename Scalar>
void settle(const DenseCall<Scalar>& call) {
    const Side& side = call.side;
    const std::vector<Index> lines = unreached(call.problem, 1, side.transpose),
                             columns = unreached(call.problem, 2, side.transpose);
    if (lines.empty() && columns.empty()) return;
    const std::vector<Scalar> cell = untouched(call);
    const auto set = [&](Index line, Index column) {
        std::copy(cell.begin(), cell.end(), call.target + (line * side.target[2] + column) * side.target_channels);
    };
    parallel(call.problem.batch * side.target[0], [&](Index plane) {
        for (const Index line : lines)
            for (Index column = 0; column < side.target[2]; ++column) set(plane * side.target[1] + line, column);
        for (Index line = 0; line < side.target[1]; ++line)
            for (const Index column : columns) set(plane * side.target[1] + line, column);
    });
}

}  // namespace

bool has_gaps(const Side& side, const std::vector<Sweep>& sweeps) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (side.stack[axis] > 1) continue;
        std::vector<Index> starts;
        for (const Sweep& sweep : sweeps) starts.push_back(sweep.axes[axis].start);
        std::sort(starts.begin(), starts.end());
        const auto distinct = std::unique(starts.begin(), starts.end()) - starts.begin();
        if (distinct < sweeps.front().axes[axis].stride) return true;
    }
    return false;
}

template <typename Scalar>
void run_all(const DenseCall<Scalar>& call) {
    if (has_gaps(call.side, call.sweeps)) fill(call);
    const Index count = call.side.depthwise ? 1 : static_cast<Index>(call.sweeps.size()), panels = call.panels(),
                groups = call.side.groups;
    std::vector<Index> blocks;
    Index total = 0, most = 0;
    double products = 0;
    for (const Sweep& sweep : call.sweeps) products += static_cast<double>(sweep.taps() * sweep.cells());
    products *=
        static_cast<double>(call.problem.batch * call.side.depth) * static_cast<double>(call.side.columns * groups);
    for (Index n = 0; n < count; ++n) {
        const auto at = static_cast<std::size_t>(n);
        const bool tiled = call.forms[at].tiled();
        blocks.push_back(call.side.depthwise ? line_blocks(call)
                         : tiled             ? winograd_blocks(call, call.sweeps[at], call.forms[at])
                                             : row_blocks(call, call.sweeps[at]));
        most = std::max(most, blocks.back());
        total += blocks.back();
    }
    const auto worth = static_cast<Index>(std::min(products / products_of_piece, 1e9));
    const Index wanted =
        std::min<Index>(tasks_of_thread * get_num_threads() / std::max<Index>(1, total * groups), worth);
    const Index pieces = get_num_threads() == 1 ? 1 : std::clamp<Index>(wanted, 1, panels);
    const Index each = ceil_div(panels, pieces);
    const auto run = [&](Index sweep, Index block, Index group, Index piece) {
        const Index first = piece * each, last = std::min(panels, first + each);
        if (block >= blocks[static_cast<std::size_t>(sweep)] || first >= last) return;
        const bool tiled = call.forms[static_cast<std::size_t>(sweep)].tiled();
        const auto run_block = call.side.depthwise ? run_lines<Scalar>
                               : tiled             ? run_winograd<Scalar>
                                                   : run_rows<Scalar>;
        run_block(call, {.sweep = sweep, .block = block, .group = group, .first_panel = first, .last_panel = last});
    };
    // The sweeps of a block read the same cells: they stay with a thread where there are blocks enough for all.
    const Index together = most * groups * pieces >= tasks_to_stay * get_num_threads() ? count : 1,
                runs = count / together;
    parallel(most * runs * groups * pieces, [&](Index task) {
        const Index from = task / pieces % runs * together, group = task / pieces / runs % groups;
        for (Index sweep = from; sweep < from + together; ++sweep)
            run(sweep, task / pieces / runs / groups, group, task % pieces);
    });
    if (std::any_of(call.forms.begin(), call.forms.end(), [](const Forms& forms) { return forms.tiled(); }))
        settle(call);
}

template void run_all<float>(const DenseCall<float>&);
template void run_all<double>(const DenseCall<double>&);

}  // namespace backstride
