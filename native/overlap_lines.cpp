// A large kernel: input lines are kept, [plane][channel][line][cell], and for each output line, the
// products of all taps of the innermost axis with the input lines that reach it are summed over
// lines and channels, [tap, output channel][cell], then overlapped into the output cells. Workspace
// of a thread: the lines of one box, tuning::overlap::lines_in_cache, and the sums of a line.
#include <algorithm>
#include <array>
#include <vector>

#include "buffer.h"
#include "overlap_parts.h"
#include "sweep.h"
#include "threads.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::overlap;

namespace {

// What a thread keeps for its boxes.
template <typename Scalar>
struct LinesWorkspace {
    Scratch<Scalar> line_buffer, sum_buffer, product_buffer;
    Scalar *lines, *sums;
    Index plane_size;
    std::vector<RingSlot> slots;
    std::vector<const Scalar*> sources, weights;
    std::vector<Index> taps;
    std::vector<OutputLine> output;
    Streams<Scalar> streams;
};

template <typename Scalar>
class LinesKept : Overlap<Scalar> {
    using Base = Overlap<Scalar>;
    using Base::axes_, Base::kernels_, Base::lanes_, Base::p_, Base::packed_, Base::tiles_, Base::x_;

public:
    LinesKept(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* packed, const View<const Scalar>& x,
              const Epilogue<Scalar>& epilogue, const View<Scalar>& y)
        : Base(p, kernels, packed, x, epilogue, y, p.kernel[2] * p.big), reach_(axes_[2].cells) {
        // Boxes of output cells; their sizes do not depend on the number of threads.
        const Index cells = axes_[2].count(), most = std::max(most_vectors * lanes_ - reach_, lanes_),
                    pieces = ceil_div(cells, most);
        first_ = axes_[2].low();
        each_ = pieces == 1 ? cells : std::max(lanes_, padded(ceil_div(cells, pieces) + reach_, lanes_) - reach_);
        boxes_[2] = ceil_div(cells, each_);
        const Index width = std::min(each_ + reach_, p.input[2]) + lanes_;
        const Index budget =
            std::max<Index>(1, lines_in_cache / (width * p.small * static_cast<Index>(sizeof(Scalar))));
        ring_ = {(p.dilation[0] * (p.kernel[0] - 1)) / p.strides[0] + 2,
                 (p.dilation[1] * (p.kernel[1] - 1)) / p.strides[1] + 2};
        size_ = {1, std::min(p.output[1], most_lines_of_box)};
        if (p.kernel[0] > 1) {  // planes are kept whole, as far as they lie in the box
            size_ = {std::min(p.output[0], most_planes_of_box), fewest_lines_of_box};
            while (size_[1] < p.output[1] && size_[1] < most_lines_of_box &&
                   ring_[0] * lines_of(2 * size_[1]) <= budget)
                size_[1] *= 2;
            ring_[1] = lines_of(size_[1]);
        }
        // Several short lines are multiplied at once, so that a tile of vectors is full.
        if (pieces == 1 && lines_of(1) * ring_[0] <= budget) {
            together_ = std::clamp<Index>(most_vectors * lanes_ / padded(p.input[2], lanes_), 1, most_lines_at_once);
            if (together_ > 1) {
                while (size_[1] > 1 && lines_of(size_[1]) * ring_[0] > budget) size_[1] = ceil_div(size_[1], 2);
                ring_[1] = lines_of(size_[1]);
            }
        }
        for (std::size_t axis = 0; axis < 2; ++axis) boxes_[axis] = ceil_div(p.output[axis], size_[axis]);
    }

    void run() const {
        parallel(p_.batch * boxes_[0] * boxes_[1] * boxes_[2], [&](Index task) {
            const Index b2 = task % boxes_[2], b1 = task / boxes_[2] % boxes_[1];
            const Index b0 = task / boxes_[2] / boxes_[1] % boxes_[0], image = task / boxes_[2] / boxes_[1] / boxes_[0];
            box(image, b0 * size_[0], b1 * size_[1], first_ + b2 * each_);
        });
    }

private:
    Index lines_of(Index outputs) const { return (outputs + p_.dilation[1] * (p_.kernel[1] - 1)) / p_.strides[1] + 2; }

    void box(Index image, Index from0, Index from1, Index q) const {
        static thread_local LinesWorkspace<Scalar> work;
        const Index to0 = std::min(from0 + size_[0], p_.output[0]), to1 = std::min(from1 + size_[1], p_.output[1]);
        // Output cells [q, q + each) of all phases, by the input cells [low, high).
        const Index low = std::clamp<Index>(q - reach_, 0, p_.input[2]),
                    high = std::clamp<Index>(q + each_, low, p_.input[2]);
        const Index line = padded(high - low, lanes_), pitch = ring_[1] * line + lanes_;
        work.plane_size = p_.small * pitch;
        work.lines = work.line_buffer.get(ring_[0] * work.plane_size);
        work.slots.assign(static_cast<std::size_t>(ring_[0]), {.plane = -1, .next = 0});
        const Index band = axes_[1].first(from1);
        // Where an input line starts: in a ring, or one after the other.
        const auto place = [&](Index i0, Index i1) {
            return work.lines + i0 % ring_[0] * work.plane_size + (together_ > 1 ? i1 - band : i1 % ring_[1]) * line;
        };
        const auto bring = [&](Index i0, Index first_output, Index last_output) {
            RingSlot& slot = work.slots[static_cast<std::size_t>(i0 % ring_[0])];
            if (slot.plane != i0) slot = {.plane = i0, .next = 0};
            const Index last = axes_[1].last(last_output + 1);
            for (Index i1 = std::max(slot.next, together_ > 1 ? band : axes_[1].first(first_output)); i1 < last; ++i1)
                Base::load(x_.at(image, i0, i1, low), high - low, place(i0, i1), pitch);
            slot.next = std::max(slot.next, last);
        };
        // Sums have margins of zeros, which cells outside of the input stand for.
        const Index rows = p_.kernel[2] * p_.big, out_vectors = ceil_div(each_, lanes_);
        const Index margin = (reach_ + each_ + lanes_) / lanes_ * lanes_ + lanes_;
        const Index sums_pitch = margin + line + margin + out_vectors * lanes_,
                    products_pitch = together_ * line + lanes_;
        work.sums = work.sum_buffer.get(rows * sums_pitch);
        std::fill_n(work.sums, rows * sums_pitch, Scalar(0));
        Base::point(work.streams, sums_pitch);
        Scalar* products = together_ > 1 ? work.product_buffer.get(rows * products_pitch) : nullptr;
        const Index s1 = p_.strides[1], before1 = p_.before[1];
        for (Index o0 = from0; o0 < to0; ++o0)
            for (Index q1 = floor_div(from1 + before1, s1); q1 * s1 - before1 < to1; q1 += together_)
                for (Index residue = 0; residue < s1; ++residue) {
                    Index o1 = q1 * s1 + residue - before1;
                    const Index end = std::min(to1, o1 + together_ * s1);
                    if (o1 < from1) o1 += padded(from1 - o1, s1);
                    while (o1 < end) {
                        Index count = 1;
                        while (o1 + count * s1 < end && alike(o1, o1 + count * s1)) ++count;
                        const Index last = o1 + (count - 1) * s1;
                        if (together_ == 1) {
                            multiply(work, o0, o1, last, bring, place, pitch, line / lanes_, work.sums + margin,
                                     sums_pitch);
                        } else {
                            multiply(work, o0, o1, last, bring, place, pitch, count * line / lanes_, products,
                                     products_pitch);
                        }
                        for (Index n = 0; n < count; ++n, o1 += s1) {
                            if (together_ > 1)
                                kernels_.copy_lines({
                                    .from = products + n * line,
                                    .step = products_pitch,
                                    .lines = rows,
                                    .count = line,
                                    .to = work.sums + margin,
                                    .pitch = sums_pitch,
                                });
                            work.sources.assign(1, work.sums + margin + q - (high > low ? low : q));
                            work.output.assign(1, {.image = image, .o0 = o0, .o1 = o1, .q = q, .from = 0});
                            Base::store(work.streams, work.sources, sums_pitch, out_vectors, each_, work.output);
                        }
                    }
                }
    }

    // Whether two output lines of a phase meet the same taps.
    bool alike(Index one, Index other) const {
        for (Index tap = 0; tap < p_.kernel[1]; ++tap)
            if ((axes_[1].cell(one, tap) < 0) != (axes_[1].cell(other, tap) < 0)) return false;
        return true;
    }

    // The products of the output lines from o1 to last, which meet the same taps.
    template <typename Bring, typename Place>
    void multiply(LinesWorkspace<Scalar>& work, Index o0, Index o1, Index last, const Bring& bring, const Place& place,
                  Index pitch, Index vectors, Scalar* sums, Index sums_pitch) const {
        work.sources.clear();
        work.taps.clear();
        axes_[0].meet(o0, [&](Index t0, Index i0) {
            bring(i0, o1, last);
            axes_[1].meet(o1, [&](Index t1, Index i1) {
                work.sources.push_back(place(i0, i1));
                work.taps.push_back(t0 * p_.kernel[1] + t1);
            });
        });
        const Index count = static_cast<Index>(work.taps.size()), rows = p_.kernel[2] * p_.big;
        for (Index row = 0; count == 0 && row < rows; ++row)
            std::fill_n(sums + row * sums_pitch, vectors * lanes_, Scalar(0));
        if (count == 0) return;
        work.weights.resize(work.taps.size());
        Index row = 0;
        for (const Index size : tiles_) {
            for (std::size_t n = 0; n < work.taps.size(); ++n)
                work.weights[n] = packed_ + (work.taps[n] * rows + row) * p_.small;
            kernels_.lane_product({
                .lines = work.sources.data(),
                .weights = work.weights.data(),
                .count = count,
                .depth = p_.small,
                .pitch = pitch,
                .rows = size,
                .vectors = vectors,
                .sums = sums + row * sums_pitch,
                .sums_pitch = sums_pitch,
            });
            row += size;
        }
    }

    Index reach_, first_, each_, together_ = 1;
    std::array<Index, 2> size_, ring_;
    std::array<Index, 3> boxes_;
};

}  // namespace

template <typename Scalar>
void overlap_lines(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* packed, const View<const Scalar>& x,
                   const Epilogue<Scalar>& epilogue, const View<Scalar>& y) {
    LinesKept<Scalar>(p, kernels, packed, x, epilogue, y).run();
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                         \
    template void overlap_lines<Scalar>(const Problem&, const Kernels<Scalar>&, const Scalar*, \
                                        const View<const Scalar>&, const Epilogue<Scalar>&, const View<Scalar>&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
