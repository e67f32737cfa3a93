// A sweep as products of whole rows: a block of output cells, a row of all their channels each,
// against the packed taps. Rows are pointers to source cells, so nothing is copied but cells at the
// ends of lines where taps are merged. Workspace of a thread: pointers, sums of a block, stacked
// rows.
#include <algorithm>
#include <cstring>

#include "buffer.h"
#include "dense_call.h"
#include "tuning.h"
#include "view.h"

namespace backstride {

using namespace tuning::rows;

namespace {

constexpr Index padded_rows = block_rows + rows_beyond;

// A part of the products of every row: some taps, or part of the depth of one.
struct Piece {
    Index tap = 0, taps, from = 0, depth;
};

// All of them where they fit into the cache, or where a single panel reads them, which cuts itself; otherwise pieces.
Piece first_piece(const Sweep& sweep, Index depth, Index rows, Index panels, Index size) {
    const Index taps = std::min(sweep.taps(), most_taps), most = sources_of_piece / (rows * size);
    if (panels == 1 || taps * depth <= sources_in_cache / (rows * size)) return {.taps = taps, .depth = depth};
    if (depth <= most) return {.taps = std::min(taps, most / depth), .depth = depth};
    const Index parts = ceil_div(depth, most);
    return {.taps = 1, .depth = padded(ceil_div(depth, parts), depth_step)};
}

// `merged` neighbouring cells of a line from `first` on: in place, or copied to where `edges` points, between zeros.
// The next block copies those that are `ahead`, before its products can have fetched them.
template <typename Scalar>
const Scalar* merged_cells(const DenseCall<Scalar>& call, const Scalar* line, Index first, Index extent, Index ahead,
                           Scalar*& edges) {
    const Index channels = call.side.source_channels, count = call.side.merged;
    const Index low = std::max<Index>(0, -first), high = std::min(count, extent - first);
    if (low >= high) return call.zeros.data();
    if (low == 0 && high == count) return line + first * channels;
    Scalar* copy = edges;
    __builtin_prefetch(line + (first + low) * channels + ahead);
    edges += count * channels;
    std::fill_n(copy, low * channels, Scalar(0));
    std::copy_n(line + (first + low) * channels, (high - low) * channels, copy + low * channels);
    std::fill_n(copy + high * channels, (count - high) * channels, Scalar(0));
    return copy;
}

// Rows are ordered cell by cell with the images innermost where maps are small, so that a tile's rows
// meet the same taps at the border; image by image otherwise. They are pointed in runs: of images at one
// cell, or of cells along the innermost axis.
template <typename Scalar>
void point(const DenseCall<Scalar>& call, const Sweep& sweep, const Piece& piece, Index from, Index rows,
           const Scalar** pointers, Scalar** targets, Scalar* spilled, std::vector<Spill<Scalar>>& spills,
           Scalar* edges) {
    const auto& [planes, lines, columns] = sweep.axes;
    const Side& side = call.side;
    const Index cells = sweep.cells(), batch = call.problem.batch;
    const bool inner_images = images_inside(call.problem, sweep);
    const Index source_image = side.source[0] * side.source[1] * side.source[2] * side.source_channels;
    const Index source_step = inner_images ? source_image : columns.step * side.source_channels;
    const Index target_image = side.target[0] * side.target[1] * side.target[2] * side.target_channels;
    const Index ahead = inner_images || lines.count == 1
                            ? 0
                            : (block_rows / columns.count + 1) * lines.step * side.source[2] * side.source_channels;
    const bool in_place = !inner_images && side.stack[0] * side.stack[1] == 1;
    for (Index row = 0, run = 0; row < rows; row += run) {
        const Index image = inner_images ? (from + row) % batch : (from + row) / cells;
        const Index cell = inner_images ? (from + row) / batch : (from + row) % cells;
        const Index q2 = cell % columns.count, q1 = cell / columns.count % lines.count;
        const Index q0 = cell / columns.count / lines.count;
        run = std::min(rows - row, inner_images ? batch - image : columns.count - q2);
        const Index t0 = planes.start + q0 * planes.stride, t1 = lines.start + q1 * lines.stride;
        const Index t2 = columns.start + q2 * columns.stride;
        const auto aim = [&](Index n) {
            targets[row + n] =
                call.aim(image + (inner_images ? n : 0), t0, t1, t2 + (inner_images ? 0 : n * columns.stride),
                         spilled ? spilled + (row + n) * call.stride : nullptr, spills);
        };
        // In place, rows lie evenly; only the first and the last of a line may reach outside.
        const Index target_step = inner_images ? target_image : columns.stride * side.target_channels;
        if (piece.tap > 0) {
            // They are known.
        } else if (!in_place) {
            for (Index n = 0; n < run; ++n) aim(n);
        } else {
            aim(0);
            aim(run - 1);
            if (run > 2) aim(1);
            for (Index n = 2; n < run - 1; ++n) targets[row + n] = targets[row + 1] + (n - 1) * target_step;
        }
        const Scalar** pointer = pointers + row;
        const auto wide = static_cast<Index>(columns.offsets.size()), high = static_cast<Index>(lines.offsets.size());
        for (Index tap = piece.tap; tap < piece.tap + piece.taps; ++tap, pointer += padded_rows) {
            const auto offset = [](const Axis& axis, Index n) { return axis.offsets[static_cast<std::size_t>(n)]; };
            const Index i0 = q0 * planes.step + offset(planes, tap / wide / high),
                        i1 = q1 * lines.step + offset(lines, tap / wide % high);
            const Index first = q2 * columns.step + offset(columns, tap % wide);
            const bool in = i0 >= 0 && i0 < planes.extent && i1 >= 0 && i1 < lines.extent;
            // Cells first + n*step of the innermost axis that lie inside, with all that are merged with them.
            const Index ends = columns.extent - side.merged;
            Index low = 0, high_end = in ? run : 0;
            if (inner_images) {
                if (first < 0 || first > ends) high_end = 0;
            } else if (in) {
                low = first < 0 ? ceil_div(-first, columns.step) : 0;
                high_end = first > ends ? 0 : std::min(run, (ends - first) / columns.step + 1);
            }
            low = std::min(low, run);
            high_end = std::max(low, high_end);
            const Scalar* base = call.source + image * source_image;
            if (in) base += (i0 * side.source[1] + i1) * side.source[2] * side.source_channels;
            const auto outside = [&](Index start, Index end) {
                if (side.merged == 1 || !in) {
                    std::fill(pointer + start, pointer + end, call.zeros.data());
                    return;
                }
                for (Index n = start; n < end; ++n)
                    pointer[n] =
                        merged_cells(call, base + (inner_images ? n * source_image : 0),
                                     first + (inner_images ? 0 : n * columns.step), columns.extent, ahead, edges);
            };
            outside(0, low);
            for (Index n = low; n < high_end; ++n) pointer[n] = base + (first * side.source_channels + n * source_step);
            outside(high_end, run);
        }
    }
}

// How many rows of a block may need copies of their cells: those that reach beyond the ends of a line.
template <typename Scalar>
Index edge_rows(const DenseCall<Scalar>& call, const Sweep& sweep, Index rows) {
    const Axis& columns = sweep.axes[2];
    const Index first = columns.offsets.front(), last = first + (columns.count - 1) * columns.step + call.side.merged;
    return first < 0 || last > columns.extent ? rows : 0;
}

}  // namespace

template <typename Scalar>
Index row_blocks(const DenseCall<Scalar>& call, const Sweep& sweep) {
    return ceil_div(sweep.cells() * call.problem.batch, block_rows);
}

template <typename Scalar>
void run_rows(const DenseCall<Scalar>& call, const BlockTask& task) {
    const Index number = task.sweep, group = task.group, first = task.first_panel, last = task.last_panel;
    const Sweep& sweep = call.sweeps[static_cast<std::size_t>(number)];
    const Side& side = call.side;
    const Index from = task.block * block_rows, width = call.panel_width();
    const Index rows = std::min(sweep.cells() * call.problem.batch - from, block_rows), taps = sweep.taps();
    static thread_local std::vector<const Scalar*> pointers;
    static thread_local std::vector<Scalar*> targets;
    static thread_local Scratch<Scalar> scratch_buffer, spilled_buffer, edges;
    static thread_local std::vector<Spill<Scalar>> spills;
    const Index together =
        std::min(last - first, sums_in_cache / (padded_rows * width * static_cast<Index>(sizeof(Scalar))));
    Piece piece = first_piece(sweep, side.depth, rows, together, static_cast<Index>(sizeof(Scalar)));
    const Index most = piece.taps, depth = piece.depth;
    const bool whole = most == taps && depth == side.depth;
    pointers.resize(static_cast<std::size_t>(most * padded_rows));
    for (Index tap = 0; tap < most; ++tap)
        std::fill_n(pointers.data() + tap * padded_rows + rows, std::min(rows_beyond, padded_rows - rows),
                    call.zeros.data());
    targets.resize(padded_rows);
    Scalar* const scratch = scratch_buffer.get(padded_rows * width * (whole ? 1 : together));
    Scalar* const spilled = side.columns > side.channels ? spilled_buffer.get(rows * call.stride) : nullptr;
    Scalar* const copies = side.merged > 1 ? edges.get(most * edge_rows(call, sweep, rows) * side.depth) : nullptr;
    const Scalar* const weights =
        call.weights[static_cast<std::size_t>(number)] + group * taps * side.depth * call.stride;
    for (Index panel = first; panel < last; panel += whole ? last - first : together) {
        const Index end = whole ? last : std::min(last, panel + together);
        for (piece.tap = 0; piece.tap < taps; piece.tap += most) {
            piece.taps = std::min(most, taps - piece.tap);
            const bool points = panel == first || most < taps;
            if (points && piece.tap == 0) spills.clear();
            if (points) point(call, sweep, piece, from, rows, pointers.data(), targets.data(), spilled, spills, copies);
            for (piece.from = 0; piece.from < side.depth; piece.from += depth) {
                piece.depth = std::min(depth, side.depth - piece.from);
                const bool begins = piece.tap + piece.from == 0,
                           ends = piece.tap + piece.taps == taps && piece.from + piece.depth == side.depth;
                // Panel by panel, unless one piece is all there is.
                const auto place = [&](Index at) {
                    const Index column = std::min(at * width, call.stride),
                                used = std::min(width, call.stride - column);
                    return weights + taps * side.depth * column + (piece.tap * side.depth + piece.from) * used;
                };
                for (Index at = panel; at < end; at = whole ? end : at + 1) {
                    const Index next = whole ? end : at + 1;
                    // The next sweep's weights stand behind.
                    const bool goes_on = next < end || (whole && call.weights_after(number));
                    const Scalar* next_weights = call.prefetches_weights ? place(goes_on ? next : at) : nullptr;
                    call.kernels.multiply_rows({
                        .rows = pointers.data(),
                        .row_stride = padded_rows,
                        .row_count = rows,
                        .taps = piece.taps,
                        .depth = piece.depth,
                        .source_offset = group * side.depth + piece.from,
                        .target_offset = group * side.channels,
                        .zero = call.zeros.data(),
                        .targets = targets.data(),
                        .weights = place(at) - piece.taps * piece.depth * at * width,
                        .bias = call.bias_of(group),
                        .columns = side.columns,
                        .first_panel = at,
                        .last_panel = next,
                        .activation = call.activation,
                        .scratch = scratch + (whole ? 0 : (at - panel) * padded_rows * width),
                        .streams = true,
                        .bypasses = call.bypasses,
                        .begins = begins,
                        .ends = ends,
                        .next_weights = next_weights,
                    });
                }
            }
        }
    }
    for (const Spill<Scalar>& spill : spills)
        call.scatter(spill, first * call.panel_width(), last * call.panel_width());
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                         \
    template Index row_blocks<Scalar>(const DenseCall<Scalar>&, const Sweep&); \
    template void run_rows<Scalar>(const DenseCall<Scalar>&, const BlockTask&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
