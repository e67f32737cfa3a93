// A sweep as products of whole rows: blocks of output cells against the packed taps.
#include <algorithm>
#include <cstring>

#include "buffer.h"
#include "pass.h"

namespace backstride {
namespace {

constexpr Index block_rows = 168;  // divisible by the rows of every tile: 6, 8, 12, 14
constexpr Index padded_rows = block_rows + 16;

Index rows_of(const Sweep& sweep) {
    return sweep.taps() <= 64 ? block_rows : std::max<Index>(block_rows / (sweep.taps() / 64 + 1), 14);
}

// `merged` neighbouring cells of a line from `first` on: in place, or copied to where `edges` points, between zeros.
template <typename Scalar>
const Scalar* merged_cells(const Pass<Scalar>& pass, const Scalar* line, Index first, Index extent, Scalar*& edges) {
    const Index channels = pass.side.source_channels, count = pass.side.merged;
    const Index low = std::max<Index>(0, -first), high = std::min(count, extent - first);
    if (low >= high) return pass.zeros.data();
    if (low == 0 && high == count) return line + first * channels;
    Scalar* copy = edges;
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
void point(const Pass<Scalar>& pass, const Sweep& sweep, Index from, Index rows, const Scalar** pointers, Scalar** targets,
           Scalar* spilled, std::vector<Spill<Scalar>>& spills, Scalar* edges) {
    const auto& [planes, lines, columns] = sweep.axes;
    const Side& side = pass.side;
    const Index cells = sweep.cells(), batch = pass.problem.batch;
    const bool images_inside = batch >= 6 && columns.count < 64;
    const Index source_image = side.source[0] * side.source[1] * side.source[2] * side.source_channels;
    const Index source_step = images_inside ? source_image : columns.step * side.source_channels;
    const Index target_image = side.target[0] * side.target[1] * side.target[2] * side.target_channels;
    const bool in_place = !images_inside && side.stack[0] * side.stack[1] == 1;
    for (Index row = 0, run = 0; row < rows; row += run) {
        const Index image = images_inside ? (from + row) % batch : (from + row) / cells;
        const Index cell = images_inside ? (from + row) / batch : (from + row) % cells;
        const Index q2 = cell % columns.count, q1 = cell / columns.count % lines.count;
        const Index q0 = cell / columns.count / lines.count;
        run = std::min(rows - row, images_inside ? batch - image : columns.count - q2);
        const Index t0 = planes.start + q0 * planes.stride, t1 = lines.start + q1 * lines.stride;
        const Index t2 = columns.start + q2 * columns.stride;
        const auto aim = [&](Index n) {
            targets[row + n] = pass.aim(image + (images_inside ? n : 0), t0, t1, t2 + (images_inside ? 0 : n * columns.stride),
                                        spilled ? spilled + (row + n) * pass.stride : nullptr, spills);
        };
        // In place, rows lie evenly; only the first and the last of a line may reach outside.
        const Index target_step = images_inside ? target_image : columns.stride * side.target_channels;
        if (!in_place) {
            for (Index n = 0; n < run; ++n) aim(n);
        } else {
            aim(0);
            aim(run - 1);
            if (run > 2) aim(1);
            for (Index n = 2; n < run - 1; ++n) targets[row + n] = targets[row + 1] + (n - 1) * target_step;
        }
        const Scalar** pointer = pointers + row;
        for (const Index offset0 : planes.offsets) {
            const Index i0 = q0 * planes.step + offset0;
            const bool in0 = i0 >= 0 && i0 < planes.extent;
            for (const Index offset1 : lines.offsets) {
                const Index i1 = q1 * lines.step + offset1;
                const bool in1 = in0 && i1 >= 0 && i1 < lines.extent;
                for (const Index offset2 : columns.offsets) {
                    const Index first = q2 * columns.step + offset2;
                    if (side.merged > 1) {
                        for (Index n = 0; n < run; ++n) {
                            const Index at = first + (images_inside ? 0 : n * columns.step);
                            const Scalar* line = pass.source + (image + (images_inside ? n : 0)) * source_image +
                                                 (in1 ? (i0 * side.source[1] + i1) * side.source[2] * side.source_channels : 0);
                            pointer[n] = in1 ? merged_cells(pass, line, at, columns.extent, edges) : pass.zeros.data();
                        }
                        pointer += padded_rows;
                        continue;
                    }
                    // Cells first + n*step of the innermost axis that lie inside.
                    Index low = 0, high = in1 ? run : 0;
                    if (images_inside) {
                        if (first < 0 || first >= columns.extent) high = 0;
                    } else if (in1) {
                        low = first < 0 ? (-first + columns.step - 1) / columns.step : 0;
                        high = first >= columns.extent
                                   ? 0
                                   : std::min(run, (columns.extent - 1 - first) / columns.step + 1);
                    }
                    const Scalar* base = pass.source + image * source_image;
                    if (low < high)
                        base += ((i0 * side.source[1] + i1) * side.source[2] + first) * side.source_channels;
                    low = std::min(low, run);
                    high = std::max(low, high);
                    std::fill(pointer, pointer + low, pass.zeros.data());
                    for (Index n = low; n < high; ++n) pointer[n] = base + n * source_step;
                    std::fill(pointer + high, pointer + run, pass.zeros.data());
                    pointer += padded_rows;
                }
            }
        }
    }
}

}  // namespace

template <typename Scalar>
Index row_blocks(const Pass<Scalar>& pass, const Sweep& sweep) {
    const Index rows = sweep.cells() * pass.problem.batch, size = rows_of(sweep);
    return (rows + size - 1) / size;
}

template <typename Scalar>
void run_rows(const Pass<Scalar>& pass, Index number, Index block, Index group, Index first, Index last) {
    const Sweep& sweep = pass.sweeps[static_cast<std::size_t>(number)];
    const Side& side = pass.side;
    const Index size = rows_of(sweep), from = block * size;
    const Index rows = std::min(sweep.cells() * pass.problem.batch - from, size), taps = sweep.taps();
    static thread_local std::vector<const Scalar*> pointers;
    static thread_local std::vector<Scalar*> targets;
    static thread_local Scratch<Scalar> scratch_buffer, spilled_buffer, edges;
    static thread_local std::vector<Spill<Scalar>> spills;
    pointers.resize(static_cast<std::size_t>(taps * padded_rows));
    for (Index tap = 0; tap < taps; ++tap) std::fill_n(pointers.data() + tap * padded_rows + rows, std::min<Index>(16, padded_rows - rows), pass.zeros.data());
    targets.resize(padded_rows);
    Scalar* const scratch = scratch_buffer.get(padded_rows * pass.panel_width());
    Scalar* const spilled = side.columns > side.channels ? spilled_buffer.get(rows * pass.stride) : nullptr;
    spills.clear();
    point(pass, sweep, from, rows, pointers.data(), targets.data(), spilled, spills,
          side.merged > 1 ? edges.get(rows * taps * side.depth) : nullptr);
    pass.kernels.gather({pointers.data(), padded_rows, rows, taps, side.depth, group * side.depth, group * side.channels,
         pass.zeros.data(), targets.data(),
         pass.weights[static_cast<std::size_t>(number)] + group * taps * side.depth * pass.stride, pass.bias_of(group),
         side.columns, first, last, pass.activation, scratch, true, pass.bypasses});
    for (const Spill<Scalar>& spill : spills) pass.scatter(spill, first * pass.panel_width(), last * pass.panel_width());
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                    \
    template Index row_blocks<Scalar>(const Pass<Scalar>&, const Sweep&); \
    template void run_rows<Scalar>(const Pass<Scalar>&, Index, Index, Index, Index, Index);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
