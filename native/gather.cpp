#include "gather.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "sweep.h"
#include "threads.h"

namespace backstride {
namespace {

constexpr Index block_rows = 168;  // divisible by the rows of every tile: 6, 8, 12, 14
constexpr Index padded_rows = block_rows + 16;

inline bool is_finite(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

inline bool is_finite(double x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}

template <typename Scalar>
bool all_finite(const Scalar* x, Index count) {
    constexpr Index each = 1 << 18;
    std::atomic<bool> finite{true};
    parallel((count + each - 1) / each, [&](Index task) {
        unsigned bad = 0;
        for (Index i = task * each; i < std::min(count, (task + 1) * each); ++i) bad |= !is_finite(x[i]);
        if (bad) finite.store(false);
    });
    return finite.load();
}

// What both directions have in common: depth channels of the source give columns of the target, which are
// the channels of a group, times the stacked cells. Depthwise, all groups are the columns of one.
template <typename Scalar>
struct Side {
    Stack stack;
    bool depthwise;
    Index groups, depth, channels, columns, source_channels, target_channels;
    Axes source, target;
    Side(const Problem& p, Index lanes, bool transpose)
        : stack(choose_stack(p, lanes, transpose)),
          depthwise(p.groups > 1 && p.small == 1 && p.big == 1),
          groups(depthwise ? 1 : p.groups),
          depth(transpose ? p.small : p.big),
          channels(depthwise ? p.groups : (transpose ? p.big : p.small)),
          columns(channels * stack[0] * stack[1] * stack[2]),
          source_channels(depth * p.groups),
          target_channels(channels * groups),
          source(transpose ? p.input : p.output),
          target(transpose ? p.output : p.input) {}
};

template <typename Scalar>
class Runner {
public:
    Runner(const Problem& p, const Kernels<Scalar>& kernels, bool transpose, const Scalar* source,
           const Scalar* packed, const Epilogue<Scalar>& epilogue, Scalar* target)
        : p_(p), kernels_(kernels), side_(p, kernels.lanes, transpose), run_(side_.depthwise ? kernels.depthwise : kernels.gather),
          sweeps_(sweeps(p, transpose, side_.stack)), source_(source),
          target_(target), activation_(epilogue.activation),
          zeros_(static_cast<std::size_t>(side_.source_channels + 1), Scalar(0)),
          stride_(padded(side_.columns, kernels.lanes)) {
        if (epilogue.bias) {
            bias_.assign(static_cast<std::size_t>(stride_ * side_.groups), Scalar(0));
            for (Index g = 0; g < side_.groups; ++g)
                for (Index column = 0; column < side_.columns; column += side_.channels)
                    std::copy_n(epilogue.bias + g * side_.channels, side_.channels, bias_.data() + g * stride_ + column);
        }
        Index offset = 0;
        for (const Sweep& sweep : sweeps_) {
            weights_.push_back(packed + offset);
            offset += sweep.taps() * side_.depth * stride_ * side_.groups;
        }
    }

    void run() {
        if (has_gaps()) fill();
        const Index panel = kernels_.panel_vectors * kernels_.lanes;
        const Index panels = (side_.columns + panel - 1) / panel;
        std::vector<Index> blocks;
        Index total = 0, most = 0;
        for (const Sweep& sweep : sweeps_) {
            const Index rows = sweep.cells() * p_.batch, size = rows_of(sweep);
            blocks.push_back((rows + size - 1) / size);
            most = std::max(most, blocks.back());
            total += blocks.back();
        }
        const Index wanted = 4 * get_num_threads();
        const Index pieces = std::clamp<Index>(wanted / std::max<Index>(1, total * side_.groups), 1, panels);
        const Index each = (panels + pieces - 1) / pieces;
        const Index count = static_cast<Index>(sweeps_.size());
        parallel(most * count * side_.groups * pieces, [&](Index task) {
            const Index piece = task % pieces, sweep = task / pieces % count;
            const Index group = task / pieces / count % side_.groups, block = task / pieces / count / side_.groups;
            if (block >= blocks[static_cast<std::size_t>(sweep)]) return;
            const Index first = piece * each, last = std::min(panels, first + each);
            if (first < last) run_block(sweep, block, group, first, last);
        });
    }

private:
    // Whether some output cells meet no tap at all, as with strides larger than the kernel.
    bool has_gaps() const {
        for (std::size_t axis = 0; axis < 3; ++axis) {
            if (side_.stack[axis] > 1) continue;
            std::vector<Index> starts;
            for (const Sweep& sweep : sweeps_) starts.push_back(sweep.axes[axis].start);
            std::sort(starts.begin(), starts.end());
            const auto distinct = std::unique(starts.begin(), starts.end()) - starts.begin();
            if (distinct < sweeps_.front().axes[axis].stride) return true;
        }
        return false;
    }

    // Write the activated bias to every output cell: what a cell without taps holds.
    void fill() const {
        std::vector<Scalar> cell(static_cast<std::size_t>(side_.target_channels));
        std::vector<Scalar> scratch(static_cast<std::size_t>(padded_rows * kernels_.panel_vectors * kernels_.lanes));
        Scalar* target = cell.data();
        const Index panel = kernels_.panel_vectors * kernels_.lanes;
        for (Index group = 0; group < side_.groups; ++group)
            run_({nullptr, 0, 1, 0, side_.depth, 0, group * side_.channels, zeros_.data(), &target, nullptr,
                             bias_.empty() ? nullptr : bias_.data() + group * stride_, side_.channels, 0,
                             (side_.channels + panel - 1) / panel, activation_, scratch.data()});
        const Index cells = p_.batch * side_.target[0] * side_.target[1] * side_.target[2];
        const Index each = std::max<Index>(1, 65536 / side_.target_channels);
        parallel((cells + each - 1) / each, [&](Index task) {
            for (Index at = task * each; at < std::min(cells, (task + 1) * each); ++at)
                std::copy(cell.begin(), cell.end(), target_ + at * side_.target_channels);
        });
    }

    static Index rows_of(const Sweep& sweep) {
        return sweep.taps() <= 64 ? block_rows : std::max<Index>(block_rows / (sweep.taps() / 64 + 1), 14);
    }

    void run_block(Index number, Index block, Index group, Index first_panel, Index last_panel) const {
        const Sweep& sweep = sweeps_[static_cast<std::size_t>(number)];
        const Index size = rows_of(sweep), from = block * size;
        const Index rows = std::min(sweep.cells() * p_.batch - from, size), taps = sweep.taps();
        static thread_local std::vector<const Scalar*> pointers;
        static thread_local std::vector<Scalar*> targets;
        static thread_local std::vector<Scalar> scratch, spilled;
        static thread_local std::vector<Spill> spills;
        pointers.assign(static_cast<std::size_t>(taps * padded_rows), zeros_.data());
        targets.resize(padded_rows);
        scratch.resize(static_cast<std::size_t>(padded_rows * kernels_.panel_vectors * kernels_.lanes));
        if (side_.columns > side_.channels) spilled.resize(static_cast<std::size_t>(rows * stride_));
        spills.clear();
        point(sweep, from, rows, pointers.data(), targets.data(), spilled.data(), spills);
        run_({pointers.data(), padded_rows, rows, taps, side_.depth, group * side_.depth,
                         group * side_.channels, zeros_.data(), targets.data(),
                         weights_[static_cast<std::size_t>(number)] + group * taps * side_.depth * stride_,
                         bias_.empty() ? nullptr : bias_.data() + group * stride_, side_.columns, first_panel,
                         last_panel, activation_, scratch.data()});
        const Index panel = kernels_.panel_vectors * kernels_.lanes;
        for (const Spill& spill : spills) scatter(spill, first_panel * panel, last_panel * panel);
    }

    // A row of stacked cells that could not be written in place, and the output cell of its first one, which
    // may lie outside.
    struct Spill {
        const Scalar* row;
        Index image, t0, t1, t2;
    };

    // Write those columns in [from, to) of a spilled row that are inside of the output.
    void scatter(const Spill& spill, Index from, Index to) const {
        const auto [s0, s1, s2] = side_.stack;
        const Index low = std::max<Index>(0, -spill.t2), high = std::min(s2, side_.target[2] - spill.t2);
        for (Index r0 = 0; r0 < s0; ++r0)
            for (Index r1 = 0; r1 < s1; ++r1) {
                const Index t0 = spill.t0 + r0, t1 = spill.t1 + r1;
                if (t0 < 0 || t0 >= side_.target[0] || t1 < 0 || t1 >= side_.target[1]) continue;
                const Index base = (r0 * s1 + r1) * s2 * side_.channels;
                const Index first = std::max(base + low * side_.channels, from);
                const Index last = std::min(base + high * side_.channels, to);
                const Index line = ((spill.image * side_.target[0] + t0) * side_.target[1] + t1) * side_.target[2];
                if (first < last)
                    std::copy(spill.row + first, spill.row + last,
                              target_ + (line + spill.t2) * side_.target_channels + (first - base));
            }
    }

    // Rows are ordered cell by cell with the images innermost where maps are small, so that a tile's rows
    // meet the same taps at the border; image by image otherwise. They are pointed in runs: of images at one
    // cell, or of cells along the innermost axis.
    void point(const Sweep& sweep, Index from, Index rows, const Scalar** pointers, Scalar** targets, Scalar* spilled,
               std::vector<Spill>& spills) const {
        const auto& [planes, lines, columns] = sweep.axes;
        const Index cells = sweep.cells();
        const bool images_inside = p_.batch >= 6 && columns.count < 64;
        const Index source_image = side_.source[0] * side_.source[1] * side_.source[2] * side_.source_channels;
        const Index source_step = images_inside ? source_image : columns.step * side_.source_channels;
        for (Index row = 0, run = 0; row < rows; row += run) {
            const Index image = images_inside ? (from + row) % p_.batch : (from + row) / cells;
            const Index cell = images_inside ? (from + row) / p_.batch : (from + row) % cells;
            const Index q2 = cell % columns.count, q1 = cell / columns.count % lines.count;
            const Index q0 = cell / columns.count / lines.count;
            run = std::min(rows - row, images_inside ? p_.batch - image : columns.count - q2);
            for (Index n = 0; n < run; ++n)
                aim({nullptr, image + (images_inside ? n : 0), planes.start + q0 * planes.stride,
                     lines.start + q1 * lines.stride, columns.start + (q2 + (images_inside ? 0 : n)) * columns.stride},
                    targets[row + n], spilled ? spilled + (row + n) * stride_ : nullptr, spills);
            const Scalar** pointer = pointers + row;
            for (const Index offset0 : planes.offsets) {
                const Index i0 = q0 * planes.step + offset0;
                const bool in0 = i0 >= 0 && i0 < planes.extent;
                for (const Index offset1 : lines.offsets) {
                    const Index i1 = q1 * lines.step + offset1;
                    const bool in1 = in0 && i1 >= 0 && i1 < lines.extent;
                    for (const Index offset2 : columns.offsets) {
                        // Cells first + n*step of the innermost axis that lie inside.
                        const Index first = q2 * columns.step + offset2;
                        Index low = 0, high = in1 ? run : 0;
                        if (images_inside) {
                            if (first < 0 || first >= columns.extent) high = 0;
                        } else if (in1) {
                            low = first < 0 ? (-first + columns.step - 1) / columns.step : 0;
                            high = first >= columns.extent
                                       ? 0
                                       : std::min(run, (columns.extent - 1 - first) / columns.step + 1);
                        }
                        const Scalar* base = source_ + image * source_image;
                        if (low < high)
                            base += ((i0 * side_.source[1] + i1) * side_.source[2] + first) * side_.source_channels;
                        for (Index n = low; n < high; ++n) pointer[n] = base + n * source_step;
                        pointer += padded_rows;
                    }
                }
            }
        }
    }

    // Where a row goes: in place, or beside, to be scattered, where its stacked cells do not lie together.
    void aim(Spill spill, Scalar*& target, Scalar* beside, std::vector<Spill>& spills) const {
        const auto [s0, s1, s2] = side_.stack;
        if (s0 * s1 == 1 && (s2 == 1 || (spill.t2 >= 0 && spill.t2 + s2 <= side_.target[2]))) {
            const Index line = ((spill.image * side_.target[0] + spill.t0) * side_.target[1] + spill.t1) * side_.target[2];
            target = target_ + (line + spill.t2) * side_.target_channels;
            return;
        }
        target = beside;
        spill.row = beside;
        spills.push_back(spill);
    }

    const Problem& p_;
    const Kernels<Scalar>& kernels_;
    Side<Scalar> side_;
    void (*run_)(const Block<Scalar>&);
    std::vector<Sweep> sweeps_;
    const Scalar* source_;
    Scalar* target_;
    Activation activation_;
    std::vector<Scalar> zeros_, bias_;
    std::vector<const Scalar*> weights_;
    Index stride_;  // columns of a group, padded to whole vectors
};

}  // namespace

template <typename Scalar>
Index packed_size(const Problem& p, const Kernels<Scalar>& kernels, bool transpose) {
    const Side<Scalar> side(p, kernels.lanes, transpose);
    Index taps = 0;
    for (const Sweep& sweep : sweeps(p, transpose, side.stack)) taps += sweep.taps();
    return taps * side.depth * padded(side.columns, kernels.lanes) * side.groups;
}

template <typename Scalar>
bool pack(const Problem& p, const Kernels<Scalar>& kernels, bool transpose, const Scalar* w, Scalar* packed) {
    const Side<Scalar> side(p, kernels.lanes, transpose);
    const Index inputs = p.groups * p.small, panel = kernels.panel_vectors * kernels.lanes;
    const Index all = p.kernel[0] * p.kernel[1] * p.kernel[2] * p.big * inputs;
    if (!all_finite(w, all)) return false;
    const Index across = transpose && !side.depthwise ? inputs : 1;  // from one column's numbers to the next's
    // The kernel's numbers for one column of one tap of a sweep, or null where it has none.
    const auto column_of = [&](const Axes& tap, Index column) -> const Scalar* {
        Index rest = column / side.channels, flat = 0;
        Axes residue{};
        for (std::size_t axis = 3; axis-- > 0; rest /= side.stack[axis]) residue[axis] = rest % side.stack[axis];
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const Index own = side.stack[axis] > 1 ? stacked_tap(p, axis, tap[axis], residue[axis]) : tap[axis];
            if (own < 0) return nullptr;
            flat = flat * p.kernel[axis] + own;
        }
        return w + flat * p.big * inputs + column % side.channels * across;
    };
    const Index step = transpose ? 1 : inputs;  // from one number of the depth to the next
    for (const Sweep& sweep : sweeps(p, transpose, side.stack)) {
        for (Index group = 0; group < side.groups; ++group) {
            for (Index column = 0; column < side.columns; column += panel) {
                const Index width = std::min(padded(side.columns - column, kernels.lanes), panel);
                for (const Index t0 : sweep.axes[0].taps)
                    for (const Index t1 : sweep.axes[1].taps)
                        for (const Index t2 : sweep.axes[2].taps) {
                            for (Index n = 0; n < width; ++n) {
                                const Scalar* from = column + n < side.columns ? column_of({t0, t1, t2}, column + n) : nullptr;
                                if (from) from += group * p.small;
                                for (Index c = 0; c < side.depth; ++c)
                                    packed[c * width + n] = from ? from[c * step] : Scalar(0);
                            }
                            packed += side.depth * width;
                        }
            }
        }
    }
    return true;
}

template <typename Scalar>
bool gather_conv_transpose(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* packed,
                           const Epilogue<Scalar>& epilogue, Scalar* y) {
    const Index inputs = p.batch * p.input[0] * p.input[1] * p.input[2] * p.groups * p.small;
    if (has_holes(p, choose_stack(p, kernels.lanes, true)) && !all_finite(x, inputs)) return false;
    Runner<Scalar>(p, kernels, true, x, packed, epilogue, y).run();
    return true;
}

template <typename Scalar>
void gather_conv(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* y, const Scalar* packed,
                 const Epilogue<Scalar>& epilogue, Scalar* x) {
    Runner<Scalar>(p, kernels, false, y, packed, epilogue, x).run();
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                         \
    template Index packed_size<Scalar>(const Problem&, const Kernels<Scalar>&, bool);                          \
    template bool pack<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Scalar*, Scalar*);          \
    template bool gather_conv_transpose<Scalar>(const Problem&, const Kernels<Scalar>&, const Scalar*,         \
                                                const Scalar*, const Epilogue<Scalar>&, Scalar*);              \
    template void gather_conv<Scalar>(const Problem&, const Kernels<Scalar>&, const Scalar*, const Scalar*,    \
                                      const Epilogue<Scalar>&, Scalar*);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
