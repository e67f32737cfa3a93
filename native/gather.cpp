#include "gather.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "threads.h"

namespace backstride {
namespace {

constexpr Index block_rows = 168;  // divisible by the rows of every tile: 6, 8, 12, 14
constexpr Index padded_rows = block_rows + 16;

// One axis of a sweep: output q of `count` reads input q*step + offset[n] of `extent` through tap[n],
// and is written to output cell start + q*stride.
struct Axis {
    Index count, step, extent, start, stride;
    std::vector<Index> taps, offsets;
};

// How many neighbouring output cells of each axis one row holds beside each other, as if they were
// channels: all residues of the stride, or 1.
using Stack = std::array<Index, 3>;

// One dense convolution: a phase of a transposed convolution, or a whole convolution.
struct Sweep {
    std::array<Axis, 3> axes;
    Index taps() const {
        Index product = 1;
        for (const Axis& axis : axes) product *= static_cast<Index>(axis.taps.size());
        return product;
    }
    Index cells() const { return axes[0].count * axes[1].count * axes[2].count; }
};

__extension__ typedef __int128 Wide;  // strides and dilations may be as large as 2**63 - 1

Index modulo(Index a, Index b) { return ((a % b) + b) % b; }

Index residue_of(const Problem& p, std::size_t axis, Index tap) {
    return static_cast<Index>(Wide(tap) * p.dilation[axis] % p.strides[axis]);
}

// The phases of one axis that have taps, by residue of tap*dilation: where the packed weights of a phase
// lie does not depend on the crop or the sizes. There are at most as many as taps, however large the stride.
std::vector<Axis> phases(const Problem& p, std::size_t axis) {
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
        Axis phase{count, 1, p.input[axis], start, stride, {}, {}};
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
    Axis result{p.input[axis], p.strides[axis], p.output[axis], 0, 1, {}, {}};
    for (Index tap = 0; tap < p.kernel[axis]; ++tap) {
        result.taps.push_back(tap);
        result.offsets.push_back(tap * p.dilation[axis] - p.before[axis]);
    }
    return result;
}

Index padded(Index columns, Index lanes) { return (columns + lanes - 1) / lanes * lanes; }

Index floor_divided(Index a, Index b) { return (a - modulo(a, b)) / b; }

// One axis whose phases are stacked: block q holds the output cells q*stride + r - before for all residues r,
// and reads input q - t through the taps with tap*dilation = t*stride + r.
Axis stacked(const Problem& p, std::size_t axis) {
    const Index stride = p.strides[axis], before = p.before[axis];
    const Index first = floor_divided(before, stride), last = floor_divided(p.output[axis] - 1 + before, stride);
    Axis result{last - first + 1, 1, p.input[axis], first * stride - before, stride, {}, {}};
    for (Index shift = 0; shift <= (p.kernel[axis] - 1) * p.dilation[axis] / stride; ++shift) {
        result.taps.push_back(shift);
        result.offsets.push_back(first - shift);
    }
    return result;
}

// The tap of a stacked axis for a shift and a residue, or -1.
Index stacked_tap(const Problem& p, std::size_t axis, Index shift, Index residue) {
    const Index reach = shift * p.strides[axis] + residue;
    const Index tap = reach / p.dilation[axis];
    return reach % p.dilation[axis] == 0 && tap < p.kernel[axis] ? tap : -1;
}

// The share of multiplications that are neither padding of vectors nor zeros between stacked taps.
double useful(const Problem& p, const Stack& stack, Index lanes) {
    const Index columns = stack[0] * stack[1] * stack[2] * p.big;
    double share = static_cast<double>(columns) / static_cast<double>(padded(columns, lanes));
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (stack[axis] == 1) continue;
        const auto shifts = (p.kernel[axis] - 1) * p.dilation[axis] / p.strides[axis] + 1;
        share *= static_cast<double>(p.kernel[axis]) / static_cast<double>(stack[axis] * shifts);
    }
    return share;
}

// With few output channels, vectors are filled with neighbouring output cells: of the innermost axis, whose
// cells lie beside each other in memory anyway, or of all axes. Depends on the kernel alone, not on sizes.
Stack choose_stack(const Problem& p, Index lanes, bool transpose) {
    Stack best{1, 1, 1};
    constexpr Index most_inner = 4096, most_all = 256, enough_channels = 64;
    if (!transpose || p.groups > 1 || p.big >= enough_channels) return best;
    const Axes& s = p.strides;
    const auto fits = [&](Index limit, std::initializer_list<Index> factors) {
        Index columns = p.big;
        for (const Index factor : factors) {
            if (factor > limit / columns) return false;
            columns *= factor;
        }
        return true;
    };
    const Stack inner{1, 1, s[2]}, all{s[0], s[1], s[2]};
    if (fits(most_inner, {s[2]}) && useful(p, inner, lanes) > useful(p, best, lanes)) best = inner;
    if (fits(most_all, {s[0], s[1], s[2]}) && useful(p, all, lanes) > 1.2 * useful(p, best, lanes)) best = all;
    return best;
}

// Whether some stacked cells lack taps that their neighbours have: there, zeros stand in the weights.
bool has_holes(const Problem& p, const Stack& stack) {
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (stack[axis] > 1 && p.kernel[axis] != stack[axis] * ((p.kernel[axis] - 1) * p.dilation[axis] / stack[axis] + 1))
            return true;
    return false;
}

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

std::vector<Sweep> sweeps(const Problem& p, bool transpose, const Stack& stack) {
    if (!transpose) return {Sweep{{whole(p, 0), whole(p, 1), whole(p, 2)}}};
    std::array<std::vector<Axis>, 3> choices;
    for (std::size_t axis = 0; axis < 3; ++axis)
        choices[axis] = stack[axis] > 1 ? std::vector<Axis>{stacked(p, axis)} : phases(p, axis);
    std::vector<Sweep> result;
    for (const Axis& plane : choices[0])
        for (const Axis& line : choices[1])
            for (const Axis& column : choices[2]) result.push_back({{plane, line, column}});
    return result;
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

template <typename Scalar>
void correlate_kernel_gradient(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y,
                               Scalar* w) {
    const Index inputs = p.groups * p.small, outputs = p.groups * p.big;
    const Axis planes = whole(p, 0), lines = whole(p, 1), columns = whole(p, 2);
    const Index taps1 = p.kernel[1], taps2 = p.kernel[2], taps = p.kernel[0] * taps1 * taps2;
    const Index bands = std::clamp<Index>(4 * get_num_threads() / std::max<Index>(1, taps * p.groups), 1,
                                          (p.big + 5) / 6);
    const Index each = ((p.big + bands - 1) / bands + 5) / 6 * 6;
    std::fill(w, w + taps * p.big * inputs, Scalar(0));
    parallel(taps * p.groups * bands, [&](Index task) {
        const Index group = task / bands % p.groups, first = task % bands * each;
        const Index tap = task / bands / p.groups, rows = std::min(each, p.big - first);
        if (rows <= 0) return;
        const Index shift0 = planes.offsets[static_cast<std::size_t>(tap / taps2 / taps1)];
        const Index shift1 = lines.offsets[static_cast<std::size_t>(tap / taps2 % taps1)];
        const Index shift2 = columns.offsets[static_cast<std::size_t>(tap % taps2)];
        // The inputs m with 0 <= m*step + shift < extent: a run of cells along the innermost axis.
        const Index from = shift2 < 0 ? (-shift2 + columns.step - 1) / columns.step : 0;
        const Index to = std::min(columns.count, (columns.extent - shift2 + columns.step - 1) / columns.step);
        static thread_local std::vector<Run> runs;
        Index cells = 0;
        const auto flush = [&] {
            kernels.correlate({y + group * p.big + first, x + group * p.small, runs.data(),
                               static_cast<Index>(runs.size()), columns.step * outputs, inputs, rows, p.small,
                               w + (tap * p.big + first) * inputs + group * p.small, inputs});
            runs.clear();
            cells = 0;
        };
        runs.clear();
        for (Index image = 0; image < p.batch; ++image)
            for (Index m0 = 0; m0 < planes.count; ++m0)
                for (Index m1 = 0; m1 < lines.count; ++m1) {
                    const Index o0 = m0 * planes.step + shift0, o1 = m1 * lines.step + shift1;
                    if (o0 < 0 || o0 >= planes.extent || o1 < 0 || o1 >= lines.extent) continue;
                    const Index large = ((image * p.output[0] + o0) * p.output[1] + o1) * p.output[2] + shift2;
                    const Index small = ((image * p.input[0] + m0) * p.input[1] + m1) * p.input[2];
                    for (Index m2 = from; m2 < to; m2 += block_rows) {
                        const Index count = std::min(block_rows, to - m2);
                        runs.push_back({(large + m2 * columns.step) * outputs, (small + m2) * inputs, count});
                        if ((cells += count) >= block_rows) flush();
                    }
                }
        if (!runs.empty()) flush();
    });
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                         \
    template Index packed_size<Scalar>(const Problem&, const Kernels<Scalar>&, bool);                          \
    template bool pack<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Scalar*, Scalar*);          \
    template bool gather_conv_transpose<Scalar>(const Problem&, const Kernels<Scalar>&, const Scalar*,         \
                                                const Scalar*, const Epilogue<Scalar>&, Scalar*);              \
    template void gather_conv<Scalar>(const Problem&, const Kernels<Scalar>&, const Scalar*, const Scalar*,    \
                                      const Epilogue<Scalar>&, Scalar*);                                      \
    template void correlate_kernel_gradient<Scalar>(const Problem&, const Kernels<Scalar>&, const Scalar*,      \
                                                    const Scalar*, Scalar*);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
