// How boxes are cut, and how cells come and go: runs of cells that lie evenly in memory are copied
// where channels are innermost, transposed where cells are, and taken number by number otherwise.
#include "boxes.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "buffer.h"
#include "sweep.h"
#include "threads.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::boxes;

namespace {

// The cells [from, to) of one axis.
struct Span {
    Index from, to;
};

Span reach(const Problem& p, std::size_t axis, bool transpose, Span target) {
    const Index stride = p.strides[axis], before = p.before[axis], last = p.dilation[axis] * (p.kernel[axis] - 1);
    if (!transpose) {
        const Index low = std::clamp<Index>(target.from * stride - before, 0, p.output[axis] - 1);
        const Index end = (target.to - 1) * stride + last - before + 1;
        return {.from = low, .to = std::clamp<Index>(end, low + 1, p.output[axis])};
    }
    const Index low = std::clamp<Index>(-floor_div(-(target.from + before - last), stride), 0, p.input[axis] - 1);
    const Index end = floor_div(target.to - 1 + before, stride) + 1;
    return {.from = low, .to = std::clamp<Index>(end, low + 1, p.input[axis])};
}

// The part of a problem that gives the target cells of a box.
Problem part_of(const Problem& p, bool transpose, Index images, const std::array<Span, 3>& target,
                const std::array<Span, 3>& source) {
    Problem part = p;
    part.batch = images;
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const Span &in = transpose ? source[axis] : target[axis], &out = transpose ? target[axis] : source[axis];
        part.input[axis] = in.to - in.from;
        part.output[axis] = out.to - out.from;
        part.before[axis] = p.before[axis] + out.from - in.from * p.strides[axis];
    }
    return part;
}

// Runs of cells of a box that lie evenly in memory: whole lines, or all lines at once where nothing lies between them.
template <typename Scalar, typename Visit>
void for_each_run(const View<Scalar>& view, Index image, Index images, const std::array<Span, 3>& box, Visit visit) {
    const Index width = box[2].to - box[2].from, height = box[1].to - box[1].from;
    const bool even = view.line == width * view.cell;
    for (Index n = 0; n < images; ++n)
        for (Index i0 = box[0].from; i0 < box[0].to; ++i0)
            for (Index i1 = box[1].from; i1 < box[1].to; i1 += even ? height : 1)
                visit(view.at(image + n, i0, i1, box[2].from), even ? width * height : width);
}

template <typename Scalar>
void load(const Kernels<Scalar>& kernels, const View<const Scalar>& view, Index channels, const Scalar* from,
          Index count, Scalar* to, Storage) {
    if (view.cell == 1)
        return kernels.transpose({
            .from = from,
            .step = view.channel,
            .rows = channels,
            .columns = count,
            .to = to,
            .pitch = channels,
        });
    for (Index n = 0; n < count; ++n)
        if (view.channel == 1) std::copy_n(from + n * view.cell, channels, to + n * channels);
        else
            for (Index c = 0; c < channels; ++c) to[n * channels + c] = from[n * view.cell + c * view.channel];
}

template <typename Scalar>
void store(const Kernels<Scalar>& kernels, const View<Scalar>& view, Index channels, const Scalar* from, Index count,
           Scalar* to, Storage) {
    if (view.cell == 1)
        return kernels.transpose({
            .from = from,
            .step = channels,
            .rows = count,
            .columns = channels,
            .to = to,
            .pitch = view.channel,
        });
    for (Index n = 0; n < count; ++n)
        if (view.channel == 1) std::copy_n(from + n * channels, channels, to + n * view.cell);
        else
            for (Index c = 0; c < channels; ++c) to[n * view.cell + c * view.channel] = from[n * channels + c];
}

// Two numbers of bfloat16 from each of two lines, beside each other in the place of one number.
template <typename Scalar>
void pair(const Half* one, const Half* two, Index step, Index count, Scalar* to) {
    for (Index n = 0; n < count; ++n) {
        const unsigned both = one[n * step] | static_cast<unsigned>(two[n * step]) << 16;
        std::memcpy(to + n, &both, sizeof both);
    }
}

template <typename Scalar>
void load_pairs(const Kernels<Scalar>& kernels, const View<const Half>& view, Index pairs, const Half* from,
                Index count, Scalar* to) {
    static thread_local Scratch<Scalar> transposed;
    if (view.channel == 1) {
        if (view.cell == 2 * pairs) std::memcpy(to, from, static_cast<std::size_t>(count * pairs) * 4);
        else
            for (Index n = 0; n < count; ++n)
                std::memcpy(to + n * pairs, from + n * view.cell, static_cast<std::size_t>(pairs) * 4);
        return;
    }
    for (Index n = 0; n < count; n += cells_at_once, to += cells_at_once * pairs) {
        const Index some = std::min(cells_at_once, count - n);
        Scalar* lines = transposed.get(pairs * some);
        for (Index c = 0; c < pairs; ++c) {
            const Half* at = from + n * view.cell + 2 * c * view.channel;
            pair(at, at + view.channel, view.cell, some, lines + c * some);
        }
        kernels.transpose({
            .from = lines,
            .step = some,
            .rows = pairs,
            .columns = some,
            .to = to,
            .pitch = pairs,
        });
    }
}

template <typename Scalar>
void load(const Kernels<Scalar>& kernels, const View<const Half>& view, Index channels, const Half* from, Index count,
          Scalar* to, Storage storage) {
    static thread_local Scratch<Scalar> transposed;
    if (storage == Storage::pairs) return load_pairs(kernels, view, channels, from, count, to);
    if (view.channel == 1 && view.cell == channels) return kernels.widen(from, count * channels, to, storage);
    for (Index n = 0; n < count; n += cells_at_once, to += cells_at_once * channels) {
        const Index some = std::min(cells_at_once, count - n);
        const Half* at = from + n * view.cell;
        if (view.cell == 1) {
            Scalar* wide = transposed.get(channels * some);
            for (Index c = 0; c < channels; ++c) kernels.widen(at + c * view.channel, some, wide + c * some, storage);
            kernels.transpose({
                .from = wide,
                .step = some,
                .rows = channels,
                .columns = some,
                .to = to,
                .pitch = channels,
            });
            continue;
        }
        for (Index m = 0; m < some; ++m)
            if (view.channel == 1) kernels.widen(at + m * view.cell, channels, to + m * channels, storage);
            else
                for (Index c = 0; c < channels; ++c)
                    kernels.widen(at + m * view.cell + c * view.channel, 1, to + m * channels + c, storage);
    }
}

template <typename Scalar>
void store(const Kernels<Scalar>& kernels, const View<Half>& view, Index channels, const Scalar* from, Index count,
           Half* to, Storage storage) {
    static thread_local Scratch<Scalar> transposed;
    if (view.channel == 1 && view.cell == channels) return kernels.narrow(from, count * channels, to, storage);
    for (Index n = 0; n < count; n += cells_at_once, from += cells_at_once * channels) {
        const Index some = std::min(cells_at_once, count - n);
        Half* at = to + n * view.cell;
        if (view.cell == 1) {
            Scalar* wide = transposed.get(channels * some);
            kernels.transpose({
                .from = from,
                .step = channels,
                .rows = some,
                .columns = channels,
                .to = wide,
                .pitch = some,
            });
            for (Index c = 0; c < channels; ++c) kernels.narrow(wide + c * some, some, at + c * view.channel, storage);
            continue;
        }
        for (Index m = 0; m < some; ++m)
            if (view.channel == 1) kernels.narrow(from + m * channels, channels, at + m * view.cell, storage);
            else
                for (Index c = 0; c < channels; ++c)
                    kernels.narrow(from + m * channels + c, 1, at + m * view.cell + c * view.channel, storage);
    }
}

// Target cells cut into boxes, each of which fits the caches together with the source cells that it needs. Does not
// depend on the number of threads.
class Boxes {
public:
    struct Box {
        Index image, images;
        std::array<Span, 3> target, source;
    };

    Boxes(const Problem& p, bool transpose, Index source_channels, Index target_channels, Index bytes_each)
        : p_(p), transpose_(transpose), size_(transpose ? p.output : p.input), box_(size_) {
        const auto bytes = [&] {
            Index reached = 1;
            for (std::size_t axis = 0; axis < 3; ++axis) {
                const Span span = reach(p, axis, transpose, {.from = 0, .to = box_[axis]});
                reached *= std::max(span.to - span.from, std::min(transpose ? p.input[axis] : p.output[axis],
                                                                  transpose ? box_[axis] / p.strides[axis] + 1
                                                                            : box_[axis] * p.strides[axis]));
            }
            return (reached * source_channels + cells(box_) * target_channels) * bytes_each;
        };
        // Planes apart first, then bands of lines, then pieces of lines.
        const Axes step{transpose ? p.strides[0] : 1, lines_of_step * (transpose ? p.strides[1] : 1),
                        cells_of_step * (transpose ? p.strides[2] : 1)};
        for (std::size_t axis = 0; axis < 3; ++axis)
            while (bytes() > box_bytes && box_[axis] > step[axis])
                box_[axis] = std::max(ceil_div(box_[axis] / 2, step[axis]), Index(1)) * step[axis];
        for (std::size_t axis = 0; axis < 3; ++axis)
            while (bytes() > box_bytes && box_[axis] > 1) box_[axis] = ceil_div(box_[axis], 2);
        images_ = std::clamp<Index>(box_bytes / std::max<Index>(1, bytes()), 1, p.batch);
        for (std::size_t axis = 0; axis < 3; ++axis) counts_[axis] = ceil_div(size_[axis], box_[axis]);
    }

    Index count() const { return ceil_div(p_.batch, images_) * cells(counts_); }

    Box operator[](Index number) const {
        Box result;
        Index rest = number;
        for (std::size_t axis = 3; axis-- > 0; rest /= counts_[axis]) {
            const Index start = rest % counts_[axis] * box_[axis];
            result.target[axis] = {.from = start, .to = std::min(start + box_[axis], size_[axis])};
            result.source[axis] = reach(p_, axis, transpose_, result.target[axis]);
        }
        result.image = rest * images_, result.images = std::min(images_, p_.batch - result.image);
        return result;
    }

private:
    const Problem& p_;
    bool transpose_;
    Axes size_, box_, counts_;
    Index images_;
};

// Cells of a view that lie evenly, and where they go.
template <typename Scalar, typename Stored>
struct Piece {
    const Stored* from;
    Index count;
    Scalar* to;
};

template <typename Scalar, typename Stored>
void cut(const View<const Stored>& view, Index channels, Index image, Index images, const std::array<Span, 3>& box,
         Scalar* to, std::vector<Piece<Scalar, Stored>>& pieces) {
    const Index most = std::max<Index>(1, numbers_of_piece / channels / cells_at_once) * cells_at_once;
    for_each_run(view, image, images, box, [&](const Stored* first, Index cells) {
        for (Index at = 0; at < cells; at += most) {
            pieces.push_back({.from = first + at * view.cell, .count = std::min(most, cells - at), .to = to});
            to += pieces.back().count * channels;
        }
    });
}

// Boxes of both sides, each of which all threads fill and sum; false where tiles gave sums that are not finite.
template <typename Scalar, typename Stored>
bool correlate_boxes(const Problem& p, const Kernels<Scalar>& kernels, const View<const Stored>& x,
                     const View<const Stored>& y, Scalar* w, GradientChoice choice, Storage storage) {
    static thread_local Scratch<Scalar> smalls, larges;
    const Index inputs = p.groups * p.small, outputs = p.groups * p.big;
    const Boxes boxes(p, false, outputs, inputs, sizeof(Scalar));
    std::vector<Piece<Scalar, Stored>> pieces;
    for (Index number = 0; number < boxes.count(); ++number) {
        const Boxes::Box box = boxes[number];
        const Problem part = part_of(p, false, box.images, box.target, box.source);
        Scalar* small = smalls.get(box.images * cells(part.input) * inputs);
        Scalar* large = larges.get(box.images * cells(part.output) * outputs);
        pieces.clear();
        cut(x, inputs, box.image, box.images, box.target, small, pieces);
        const std::size_t border = pieces.size();
        cut(y, outputs, box.image, box.images, box.source, large, pieces);
        parallel(static_cast<Index>(pieces.size()), [&](Index task) {
            const auto at = static_cast<std::size_t>(task);
            const bool first = at < border;
            load(kernels, first ? x : y, first ? inputs : outputs, pieces[at].from, pieces[at].count, pieces[at].to,
                 storage);
        });
        if (!correlate_part(part, kernels, small, large, w, choice, number > 0)) return false;
    }
    return true;
}

}  // namespace

template <typename Scalar, typename Stored>
void run_boxes(const Problem& p, const Kernels<Scalar>& kernels, bool transpose, const View<const Stored>& source,
               const View<Stored>& target, const DenseRun<Scalar>& run, Storage storage) {
    const Index source_channels = p.groups * (transpose ? p.small : p.big);
    const Index target_channels = p.groups * (transpose ? p.big : p.small);
    const Boxes boxes(p, transpose, source_channels, target_channels, sizeof(Scalar));
    const auto one = [&](Index task) {
        static thread_local Scratch<Scalar> sources, targets;
        const Boxes::Box box = boxes[task];
        const Problem part = part_of(p, transpose, box.images, box.target, box.source);
        Scalar* in = sources.get(box.images * cells(transpose ? part.input : part.output) * source_channels);
        Scalar* out = targets.get(box.images * cells(transpose ? part.output : part.input) * target_channels);
        Scalar* at = in;
        for_each_run(source, box.image, box.images, box.source, [&](const Stored* first, Index cells) {
            load(kernels, source, source_channels, first, cells, at, storage);
            at += cells * source_channels;
        });
        run(part, in, out, boxes.count() == 1);
        at = out;
        for_each_run(target, box.image, box.images, box.target, [&](Stored* first, Index cells) {
            store(kernels, target, target_channels, at, cells, first, storage);
            at += cells * target_channels;
        });
    };
    if (boxes.count() == 1) one(0);  // the product itself runs on all threads
    else parallel(boxes.count(), one);
}

void store_box(const Kernels<float>& kernels, const View<Half>& target, Index image, Index images, const Axes& from,
               const Axes& to, Index channels, const float* box, Storage storage) {
    std::array<Span, 3> spans;
    for (std::size_t axis = 0; axis < 3; ++axis) spans[axis] = {.from = from[axis], .to = to[axis]};
    for_each_run(target, image, images, spans, [&](Half* first, Index cells) {
        store(kernels, target, channels, box, cells, first, storage);
        box += cells * channels;
    });
}

template <typename Scalar, typename Stored>
void correlate_views(const Problem& p, const Kernels<Scalar>& kernels, const View<const Stored>& x,
                     const View<const Stored>& y, Scalar* w, GradientChoice choice, Storage storage) {
    if constexpr (std::is_same_v<Scalar, Stored>)
        if (p.batch == 0 || (x.is_dense(p.input, p.groups * p.small) && y.is_dense(p.output, p.groups * p.big)))
            return correlate_kernel_gradient(p, kernels, x.data, y.data, w, choice);
    if (p.batch == 0) std::fill_n(w, cells(p.kernel) * p.big * p.groups * p.small, Scalar(0));
    else if (!correlate_boxes(p, kernels, x, y, w, choice, storage))
        correlate_boxes(p, kernels, x, y, w, GradientChoice::tap_by_tap, storage);
}

template <typename Scalar>
void narrow_all(const Kernels<Scalar>& kernels, const Scalar* from, Index count, Half* to, Storage storage) {
    parallel(ceil_div(count, numbers_of_piece), [&](Index task) {
        const Index at = task * numbers_of_piece;
        kernels.narrow(from + at, std::min(numbers_of_piece, count - at), to + at, storage);
    });
}

template <typename Scalar>
void transpose_all(const Kernels<Scalar>& kernels, const Scalar* from, Index count, Index rows, Index columns,
                   Scalar* to) {
    const Index pieces = ceil_div(columns, cells_at_once);
    parallel(count * pieces, [&](Index task) {
        const Index first = task % pieces * cells_at_once, start = task / pieces * rows * columns;
        kernels.transpose({
            .from = from + start + first,
            .step = columns,
            .rows = rows,
            .columns = std::min(cells_at_once, columns - first),
            .to = to + start + first * rows,
            .pitch = rows,
        });
    });
}

template <typename Scalar>
void transpose_kernel(const Kernels<Scalar>& kernels, const Scalar* from, Index taps, Index big, Index small,
                      Scalar* to, bool back) {
    // Rows of a piece of the small side: those of all taps for some neighbours of the large side lie together on one
    // end.
    const Index some = std::max<Index>(1, cells_at_once / taps), bands = ceil_div(big, some),
                pieces = ceil_div(small, cells_at_once);
    parallel(bands * pieces, [&](Index task) {
        static thread_local Scratch<Scalar> together;
        const Index first = task / bands * cells_at_once, count = std::min(cells_at_once, small - first);
        const Index band = task % bands * some, rows = (std::min(band + some, big) - band) * taps,
                    front = (first * big + band) * taps;
        Scalar* const piece = together.get(rows * count);
        if (back)
            kernels.transpose({
                .from = from + front,
                .step = big * taps,
                .rows = count,
                .columns = rows,
                .to = piece,
                .pitch = count,
            });
        for (Index row = 0; row < rows; ++row) {
            const Index last = (row % taps * big + band + row / taps) * small + first;
            if (back) std::copy_n(piece + row * count, count, to + last);
            else std::copy_n(from + last, count, piece + row * count);
        }
        if (!back)
            kernels.transpose({
                .from = piece,
                .step = count,
                .rows = rows,
                .columns = count,
                .to = to + front,
                .pitch = big * taps,
            });
    });
}

template void transpose_kernel<float>(const Kernels<float>&, const float*, Index, Index, Index, float*, bool);
template void transpose_kernel<double>(const Kernels<double>&, const double*, Index, Index, Index, double*, bool);
template void transpose_all<float>(const Kernels<float>&, const float*, Index, Index, Index, float*);
template void transpose_all<double>(const Kernels<double>&, const double*, Index, Index, Index, double*);
template void narrow_all<float>(const Kernels<float>&, const float*, Index, Half*, Storage);

#define BACKSTRIDE_INSTANTIATE(Scalar, Stored)                                                                       \
    template void run_boxes<Scalar, Stored>(const Problem&, const Kernels<Scalar>&, bool, const View<const Stored>&, \
                                            const View<Stored>&, const DenseRun<Scalar>&, Storage);                  \
    template void correlate_views<Scalar, Stored>(const Problem&, const Kernels<Scalar>&, const View<const Stored>&, \
                                                  const View<const Stored>&, Scalar*, GradientChoice, Storage);
BACKSTRIDE_INSTANTIATE(float, float)
BACKSTRIDE_INSTANTIATE(float, Half)
BACKSTRIDE_INSTANTIATE(double, double)
BACKSTRIDE_INSTANTIATE(double, Half)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
