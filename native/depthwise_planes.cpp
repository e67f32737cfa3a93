// Boxes of one channel: the source lines that a box reads are copied between zeros, those of a
// strided convolution in as many parts as the stride, so that every term of a sum is a plain vector
// of neighbours; phases meet again in the store. A copy is (planes, lines, streams, cells). Boxes
// do not depend on the number of threads, and sums are taken by rising taps. Workspace of a thread:
// one box's copy.
#include "depthwise_planes.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "buffer.h"
#include "sweep.h"
#include "threads.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::planes;

namespace {

// Target lines or planes of an axis that lie `offset` behind the start of a block, and read the same source ones: block
// b reads b*step + shifts[n], row r of it through taps[n*rows + r].
struct Group {
    Index offset, rows;
    std::vector<Index> shifts{}, taps{};
};

// An outer axis: blocks of target_step cells.
struct Outer {
    Index low, high, target_step, source_step;
    std::vector<Group> groups;
    Index least = 0, most = 0;  // shifts

    Outer(const Problem& p, std::size_t axis, bool transpose, bool together)
        : low(0), high(p.input[axis]), target_step(transpose ? p.strides[axis] : 1),
          source_step(transpose ? 1 : p.strides[axis]) {
        if (transpose)
            low = floor_div(p.before[axis], target_step),
            high = floor_div(p.output[axis] - 1 + p.before[axis], target_step) + 1;
        const Index extent = transpose ? p.input[axis] : p.output[axis];
        bool some = false;
        for (Index residue = 0; residue < target_step; ++residue) {
            Group group{.offset = transpose ? residue - p.before[axis] : 0, .rows = 1};
            for (Index tap = 0; tap < p.kernel[axis]; ++tap) {
                const Index reach = tap * p.dilation[axis];
                if (reach % target_step != residue) continue;
                const Index shift = transpose ? -(reach / target_step) : reach - p.before[axis];
                if (low * source_step + shift >= extent || (high - 1) * source_step + shift < 0) continue;
                group.shifts.push_back(shift);
                group.taps.push_back(tap);
                least = some ? std::min(least, shift) : shift, most = some ? std::max(most, shift) : shift;
                some = true;
            }
            groups.push_back(std::move(group));
        }
        if (together)
            for (const Index rows : {Index(2), Index(4)}) join(rows);
    }

    Index span() const { return most - least + 1; }
    Index reached(Index blocks) const { return (blocks - 1) * source_step + span(); }

private:
    // Neighbours of half as many rows that read the same lines.
    void join(Index rows) {
        std::vector<Group> joined;
        for (Group& next : groups) {
            const bool fits = !joined.empty() && 2 * joined.back().rows == rows && 2 * next.rows == rows &&
                              joined.back().shifts == next.shifts;
            if (!fits) {
                joined.push_back(std::move(next));
                continue;
            }
            Group& first = joined.back();
            std::vector<Index> taps;
            for (std::size_t n = 0; n < first.shifts.size(); ++n)
                for (const Group* group : {&first, &next})
                    for (Index r = 0; r < group->rows; ++r)
                        taps.push_back(
                            group->taps[n * static_cast<std::size_t>(group->rows) + static_cast<std::size_t>(r)]);
            first.taps = std::move(taps);
            first.rows = rows;
        }
        groups = std::move(joined);
    }
};

struct PhaseTap {
    Index tap, stream, shift;
};

// The innermost axis: the phases of a line, which start one cell after the other, or all its cells, which read the
// source in as many streams as the stride.
struct Inner {
    Index stride, streams, cells;  // of each phase
    std::vector<std::vector<PhaseTap>> phases;
    Index least = 0, most = 0;

    Inner(const Problem& p, bool transpose)
        : stride(transpose ? p.strides[2] : 1), streams(transpose ? 1 : p.strides[2]),
          cells(transpose ? ceil_div(p.output[2], stride) : p.input[2]), phases(static_cast<std::size_t>(stride)) {
        const Index extent = transpose ? p.input[2] : p.output[2], before = p.before[2];
        for (Index start = 0; start < stride; ++start) {
            const Index first = floor_div(start + before, stride), residue = start + before - first * stride;
            for (Index tap = 0; tap < p.kernel[2]; ++tap) {
                const Index reach = tap * p.dilation[2], offset = transpose ? first - reach / stride : reach - before;
                if ((transpose && reach % stride != residue) || offset >= extent || offset + (cells - 1) * streams < 0)
                    continue;
                const Index shift = floor_div(offset, streams);
                phases[static_cast<std::size_t>(start)].push_back(
                    {.tap = tap, .stream = offset - shift * streams, .shift = shift});
                least = std::min(least, shift), most = std::max(most, shift);
            }
        }
    }
};

// The terms of a group of lines in a group of planes, as the kernel takes them, and where its weights lie.
struct Pattern {
    const Group *planes, *lines;
    std::vector<Index> offsets{}, counts{}, weights{};
    Index start;  // of its weights
};

template <typename Scalar>
struct Planes {
    const Problem& p;
    const Kernels<Scalar>& kernels;
    const bool transpose;
    const Scalar* kernel;
    const View<const Scalar>& source;
    const Epilogue<Scalar>& epilogue;
    const View<Scalar>& target;
    const Axes from, to;
    const Inner inner;
    const Outer planes, lines;
    Axes box;  // blocks of planes and lines, and cells of each phase
    Index left, pitch, total, line_step, plane_step;
    std::vector<Pattern> patterns;
    Index weight_count = 0;

    Planes(const Problem& p, const Kernels<Scalar>& kernels, bool transpose, const Scalar* kernel,
           const View<const Scalar>& source, const Epilogue<Scalar>& epilogue, const View<Scalar>& target)
        : p(p), kernels(kernels), transpose(transpose), kernel(kernel), source(source), epilogue(epilogue),
          target(target), from(transpose ? p.input : p.output), to(transpose ? p.output : p.input), inner(p, transpose),
          planes(p, 0, transpose, false), lines(p, 1, transpose, true),
          box{planes.high - planes.low, lines.high - lines.low, inner.cells} {
        shape();
        while (bytes() > scratch_bytes && box[0] > 1) halve(0);
        while (bytes() > scratch_bytes && box[1] > std::max(least_lines, lines.span())) halve(1);
        while (bytes() > scratch_bytes && box[2] > std::max(least_cells, inner.most - inner.least)) halve(2);
    }

    Index size() const { return planes.reached(box[0]) * plane_step + 8 * kernels.lanes; }
    Index bytes() const { return size() * static_cast<Index>(sizeof(Scalar)); }
    std::array<Index, 3> counts() const {
        return {ceil_div(planes.high - planes.low, box[0]), ceil_div(lines.high - lines.low, box[1]),
                ceil_div(inner.cells, box[2])};
    }

    void find_patterns() {
        for (const Group& plane : planes.groups)
            for (const Group& line : lines.groups) {
                Pattern pattern{.planes = &plane, .lines = &line, .start = weight_count};
                for (const auto& phase : inner.phases) {
                    pattern.counts.push_back(
                        static_cast<Index>(plane.shifts.size() * line.shifts.size() * phase.size()));
                    for (std::size_t a = 0; a < plane.shifts.size(); ++a)
                        for (std::size_t b = 0; b < line.shifts.size(); ++b)
                            for (const PhaseTap& term : phase) {
                                pattern.offsets.push_back((plane.shifts[a] - planes.least) * plane_step +
                                                          (line.shifts[b] - lines.least) * line_step +
                                                          term.stream * pitch + term.shift);
                                for (Index r = 0; r < line.rows; ++r) {
                                    const Index tap = line.taps[b * static_cast<std::size_t>(line.rows) +
                                                                static_cast<std::size_t>(r)];
                                    pattern.weights.push_back(
                                        ((plane.taps[a] * p.kernel[1] + tap) * p.kernel[2] + term.tap) * p.groups);
                                }
                            }
                }
                weight_count += static_cast<Index>(pattern.weights.size());
                patterns.push_back(std::move(pattern));
            }
    }

    // Channel by channel, all boxes of an image.
    void run(Index first, Index last) const {
        static thread_local Scratch<Scalar> copies, numbers;
        Scalar* const copy = copies.get(size());
        Scalar* const weights = numbers.get(weight_count + 1);
        const auto [n0, n1, n2] = counts();
        const Index boxes = n0 * n1 * n2;
        Index own = -1, number = first % boxes, channel = first / boxes % p.groups, image = first / boxes / p.groups;
        for (Index unit = first; unit < last; ++unit) {
            if (channel != own)
                for (const Pattern& pattern : patterns)
                    for (std::size_t n = 0; n < pattern.weights.size(); ++n)
                        weights[static_cast<std::size_t>(pattern.start) + n] = kernel[pattern.weights[n] + channel];
            own = channel;
            const Axes start = boxes == 1
                                   ? Axes{0, 0, 0}
                                   : Axes{number / n2 / n1 * box[0], number / n2 % n1 * box[1], number % n2 * box[2]};
            run_box(image, channel, {planes.low + start[0], lines.low + start[1], start[2]}, copy, weights);
            if (++number < boxes) continue;
            number = 0;
            if (++channel == p.groups) channel = 0, ++image;
        }
    }

private:
    void shape() {
        left = padded(std::max<Index>(0, -inner.least), kernels.lanes);
        total = left + box[2] + std::max<Index>(0, inner.most);
        pitch = padded(total + kernels.lanes, kernels.lanes);
        line_step = inner.streams * pitch;
        plane_step = lines.reached(box[1]) * line_step;
    }

    void halve(std::size_t axis) {
        box[axis] = ceil_div(box[axis], 2);
        if (axis == 2) box[2] = padded(box[2], kernels.lanes);
        shape();
    }

    // The source lines of a box, in their streams.
    void copy_lines(const Scalar* plane, const Axes& start, const Axes& end, Scalar* copy) const {
        const Index first0 = start[0] * planes.source_step + planes.least,
                    first1 = start[1] * lines.source_step + lines.least;
        const Index origin = start[2] - left, inside = std::clamp<Index>(-origin, 0, total);
        const Index begin = (origin + inside) * inner.streams,
                    count = std::max<Index>(0, std::min(from[2], (origin + total) * inner.streams) - begin);
        for (Index n0 = 0; n0 < planes.reached(end[0] - start[0]); ++n0)
            for (Index n1 = 0; n1 < lines.reached(end[1] - start[1]); ++n1) {
                const Index i0 = first0 + n0, i1 = first1 + n1;
                const bool there = i0 >= 0 && i0 < from[0] && i1 >= 0 && i1 < from[1] && count > 0;
                kernels.part_line({
                    .from = there ? plane + i0 * source.plane + i1 * source.line + begin : nullptr,
                    .count = there ? count : 0,
                    .streams = inner.streams,
                    .to = copy + n0 * plane_step + n1 * line_step,
                    .pitch = pitch,
                    .left = inside,
                    .total = total,
                    .ahead = source.channel,
                });
            }
    }

    void run_box(Index image, Index channel, const Axes& start, Scalar* copy, const Scalar* weights) const {
        static thread_local Scratch<Scalar> outside;
        const Axes end{std::min(start[0] + box[0], planes.high), std::min(start[1] + box[1], lines.high),
                       std::min(start[2] + box[2], inner.cells)};
        copy_lines(source.data + image * source.image + channel * source.channel, start, end, copy);
        Scalar* const plane = target.data + image * target.image + channel * target.channel + start[2] * inner.stride;
        const Index cells = std::min(end[2] * inner.stride, to[2]) - start[2] * inner.stride;
        Scalar* const beside = outside.get(box[2] * inner.stride);
        const Scalar bias = epilogue.bias ? epilogue.bias[channel] : Scalar(0);
        for (Index b0 = start[0]; b0 < end[0]; ++b0)
            for (Index b1 = start[1]; b1 < end[1]; ++b1)
                for (const Pattern& pattern : patterns) {
                    const Index t0 = b0 * planes.target_step + pattern.planes->offset,
                                t1 = b1 * lines.target_step + pattern.lines->offset;
                    const Index rows = pattern.lines->rows;
                    if (t0 < 0 || t0 >= to[0] || t1 + rows <= 0 || t1 >= to[1]) continue;
                    std::array<Scalar*, 4> targets;
                    for (Index r = 0; r < rows; ++r)
                        targets[static_cast<std::size_t>(r)] =
                            t1 + r >= 0 && t1 + r < to[1] ? plane + t0 * target.plane + (t1 + r) * target.line : beside;
                    const Scalar* at = copy + (b0 - start[0]) * planes.source_step * plane_step +
                                       (b1 - start[1]) * lines.source_step * line_step + left;
                    kernels.plane_lines({
                        .source = at,
                        .offsets = pattern.offsets.data(),
                        .weights = weights + pattern.start,
                        .counts = pattern.counts.data(),
                        .rows = rows,
                        .stride = inner.stride,
                        .cells = cells,
                        .targets = targets.data(),
                        .ahead = lines.target_step * target.line,
                        .bias = bias,
                        .activation = epilogue.activation,
                    });
                }
    }
};

// By measurements. Boxes are transposed otherwise, and fill vectors with channels however short the lines.
bool faster_than_boxes(const Problem& p, bool transpose) {
    const Index width = transpose ? p.output[2] : p.input[2];
    return width >= (p.strides[2] == 1 ? least_width_of_stride_1 : least_width);
}

// Whether the kernel interleaves the phases of a line, and no offset is out of all proportion.
bool fits(const Problem& p) {
    const Index stride = p.strides[2];
    if (stride != 1 && stride != 2 && stride != 4 && stride != 8) return false;
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (p.strides[axis] > most_stride || p.dilation[axis] > most_reach || p.kernel[axis] > most_reach ||
            p.dilation[axis] * (p.kernel[axis] - 1) > most_reach || std::abs(p.before[axis]) > most_reach)
            return false;
    return true;
}

}  // namespace

template <typename Scalar>
bool run_planes(const Problem& p, const Kernels<Scalar>& kernels, bool transpose, const Scalar* kernel,
                const View<const Scalar>& source, const Epilogue<Scalar>& epilogue, const View<Scalar>& target) {
    if (source.cell != 1 || target.cell != 1 || !fits(p) || !faster_than_boxes(p, transpose)) return false;
    Planes<Scalar> planes(p, kernels, transpose, kernel, source, epilogue, target);
    if (planes.bytes() > most_scratch_bytes) return false;
    planes.find_patterns();
    const auto [n0, n1, n2] = planes.counts();
    const Index units = n0 * n1 * n2 * p.groups * p.batch,
                numbers = p.batch * p.groups * cells(transpose ? p.output : p.input);
    const double terms = cycles_of_vector +
                         static_cast<double>(cells(p.kernel)) / (transpose ? static_cast<double>(cells(p.strides)) : 1);
    const Index wanted =
        static_cast<Index>(static_cast<double>(numbers) * terms / static_cast<double>(kernels.lanes * cycles_of_task));
    const Index tasks = std::clamp<Index>(wanted, 1, units);
    parallel(tasks, [&](Index task) { planes.run(units * task / tasks, units * (task + 1) / tasks); });
    return true;
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                            \
    template bool run_planes<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Scalar*, \
                                     const View<const Scalar>&, const Epilogue<Scalar>&, const View<Scalar>&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
