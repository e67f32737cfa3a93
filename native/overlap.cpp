// Few output channels: cells of the innermost axis stand in the lanes, and input lines are laid out channel by channel.
// A small kernel meets each input line once: the products of all its taps with a piece of a line, summed over channels,
// are kept until the output lines they reach are overlapped from them. With a large kernel, whose products would not fit
// in the cache, input lines are kept instead: for each output line, the products of all taps of the innermost axis with
// the input lines that reach it, summed over lines and channels, then overlapped into the output cells.
// Both share how boxes are cut, lines loaded and outputs overlapped, hence one long file.
#include "overlap.h"

#include <algorithm>
#include <array>
#include <vector>

#include "buffer.h"
#include "sweep.h"
#include "threads.h"

namespace backstride {
namespace {

constexpr Index most_vectors = 16;            // of cells in a box, along the innermost axis
constexpr Index lines_in_cache = 700 * 1024;  // bytes of the input lines or of the products kept at once
constexpr Index most_products = 128;          // of a cell that are kept
constexpr Index piece_vectors = 4;            // of cells that meet all taps at once

// The sizes of row tiles: nearly equal, at most 6.
std::vector<Index> row_tiles(Index rows) {
    const Index count = (rows + most_lane_rows - 1) / most_lane_rows;
    std::vector<Index> result;
    for (Index n = 0; n < count; ++n) result.push_back((rows + n) / count);
    return result;
}

// Whether products of all taps are few enough to be kept, with those of all lines that reach an output line.
bool keeps_products(const Problem& p) {
    const auto span = [&](std::size_t axis) {
        return static_cast<double>(p.kernel[axis] - 1) * static_cast<double>(p.dilation[axis]) / static_cast<double>(p.strides[axis]) + 1;
    };
    const Index rows = cells(p.kernel) * p.big;
    return rows <= most_products && span(0) * span(1) * static_cast<double>(rows) * (span(2) + 96) * sizeof(float) <= lines_in_cache;
}

// The rows of a product: taps, all or those of the innermost axis, times output channels.
Index rows_at_once(const Problem& p) { return (keeps_products(p) ? cells(p.kernel) : p.kernel[2]) * p.big; }

// One axis: the input cells that may reach the output cells [from, to), and the taps of an output cell.
struct Reach {
    Index stride, dilation, before, extent, taps;
    Reach(const Problem& p, std::size_t axis)
        : stride(p.strides[axis]), dilation(p.dilation[axis]), before(p.before[axis]), extent(p.input[axis]), taps(p.kernel[axis]) {}
    Index first(Index from) const {
        return std::clamp<Index>(floor_divided(from + before - dilation * (taps - 1) + stride - 1, stride), 0, extent);
    }
    Index last(Index to) const { return std::clamp<Index>(floor_divided(to - 1 + before, stride) + 1, 0, extent); }
    // The input cell that reaches an output cell through a tap, or -1.
    Index cell(Index output, Index tap) const {
        const Index reach = output + before - tap * dilation;
        return reach < 0 || reach % stride || reach / stride >= extent ? -1 : reach / stride;
    }
    // visit(tap, input cell) for all that meet an output cell, by rising taps.
    template <typename Visit>
    void meet(Index output, const Visit& visit) const {
        const Index start = output + before;
        if (dilation > 1 || start < 0) {
            for (Index tap = 0; tap < taps; ++tap)
                if (const Index at = cell(output, tap); at >= 0) visit(tap, at);
            return;
        }
        Index at = start / stride;
        for (Index tap = start % stride; tap < taps && at >= 0; tap += stride, --at) {
            if (at < extent) visit(tap, at);
            if (stride >= taps - tap) break;
        }
    }
};

// A tap of the innermost axis, and how many input cells back it reaches.
struct Shift {
    Index tap, cells;
};

struct Loaded {
    Index plane, next;  // which plane a slot holds, and the line after the last one brought
};

template <typename Scalar>
struct Work {
    Scratch<Scalar> line_buffer, sum_buffer, product_buffer, piece, scratch, interleaved;
    Scalar *lines, *sums;
    Index plane_size;
    std::vector<Loaded> loaded;
    std::vector<Scalar> bias;
    std::vector<const Scalar*> sources, weights, terms;
    std::vector<Index> taps;
};

// The input met next: cache line n of channel c is at from + n*line + c*step, or line n of all cells.
template <typename Scalar>
struct Coming {
    const Scalar* from = nullptr;
    Index line = 0, step = 0;
};

template <typename Scalar>
class Overlap {
public:
    Overlap(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* packed, const View<const Scalar>& x,
            const Epilogue<Scalar>& epilogue, const View<Scalar>& y)
        : p_(p), kernels_(kernels), packed_(packed), x_(x), epilogue_(epilogue), y_(y), tiles_(row_tiles(rows_at_once(p))),
          axes_{Reach(p, 0), Reach(p, 1), Reach(p, 2)}, lanes_(kernels.lanes),
          reach_((p.kernel[2] - 1) * p.dilation[2] / p.strides[2]), keeps_products_(keeps_products(p)) {
        // Boxes of output cells; their sizes do not depend on the number of threads.
        const Index s2 = p.strides[2], low = floor_divided(p.before[2], s2), high = floor_divided(p.output[2] - 1 + p.before[2], s2);
        const Index cells = high - low + 1, most = std::max(most_cells() - reach_, lanes_);
        const Index pieces = (cells + most - 1) / most;
        first_ = low;
        each_ = pieces == 1 ? cells : std::max(lanes_, ((cells + pieces - 1) / pieces + reach_ + lanes_ - 1) / lanes_ * lanes_ - reach_);
        boxes_[2] = (cells + each_ - 1) / each_;
        shifts_.resize(static_cast<std::size_t>(s2));
        for (Index tap = 0; tap < p.kernel[2]; ++tap)
            shifts_[static_cast<std::size_t>(tap * p.dilation[2] % s2)].push_back({tap, tap * p.dilation[2] / s2});
        if (keeps_products_) {
            choose_sizes();
            for (std::size_t axis = 0; axis < 2; ++axis) boxes_[axis] = (p.output[axis] + size_[axis] - 1) / size_[axis];
            return;
        }
        const Index width = std::min(each_ + reach_, p.input[2]) + lanes_;
        const Index budget = std::max<Index>(1, lines_in_cache / (width * p.small * static_cast<Index>(sizeof(Scalar))));
        ring_ = {(p.dilation[0] * (p.kernel[0] - 1)) / p.strides[0] + 2, (p.dilation[1] * (p.kernel[1] - 1)) / p.strides[1] + 2};
        size_ = {1, std::min<Index>(p.output[1], 64)};
        if (p.kernel[0] > 1) {  // planes are kept whole, as far as they lie in the box
            size_ = {std::min<Index>(p.output[0], 32), 4};
            while (size_[1] < p.output[1] && size_[1] < 64 && ring_[0] * lines_of(2 * size_[1]) <= budget) size_[1] *= 2;
            ring_[1] = lines_of(size_[1]);
        }
        // Several short lines are multiplied at once, so that a tile of vectors is full.
        if (pieces == 1 && lines_of(1) * ring_[0] <= budget) {
            together_ = std::clamp<Index>(most_vectors * lanes_ / padded(p.input[2], lanes_), 1, 16);
            if (together_ > 1) {
                while (size_[1] > 1 && lines_of(size_[1]) * ring_[0] > budget) size_[1] = (size_[1] + 1) / 2;
                ring_[1] = lines_of(size_[1]);
            }
        }
        for (std::size_t axis = 0; axis < 2; ++axis) boxes_[axis] = (p.output[axis] + size_[axis] - 1) / size_[axis];
    }

    void run() const {
        parallel(p_.batch * boxes_[0] * boxes_[1] * boxes_[2], [&](Index task) {
            const Index b2 = task % boxes_[2], b1 = task / boxes_[2] % boxes_[1];
            const Index b0 = task / boxes_[2] / boxes_[1] % boxes_[0], image = task / boxes_[2] / boxes_[1] / boxes_[0];
            if (keeps_products_) box_of_products(image, b0 * size_[0], b1 * size_[1], first_ + b2 * each_);
            else box(image, b0 * size_[0], b1 * size_[1], first_ + b2 * each_);
        });
    }

private:
    Index lines_of(Index outputs) const { return (outputs + p_.dilation[1] * (p_.kernel[1] - 1)) / p_.strides[1] + 2; }

    // Output lines of a phase that meet an input line, at most.
    Index span(std::size_t axis) const { return p_.dilation[axis] * (p_.kernel[axis] - 1) / p_.strides[axis] + 1; }
    Index rows() const { return cells(p_.kernel) * p_.big; }
    Index row_size() const { return padded(reach_, lanes_) + padded(each_, lanes_) + 2 * lanes_; }

    // Cells of a box along the innermost axis: fewer where the products of several lines take more than the cache.
    Index most_cells() const {
        Index vectors = most_vectors;
        const auto bytes = [&] { return span(0) * span(1) * rows() * (vectors + 2) * lanes_ * static_cast<Index>(sizeof(Scalar)); };
        while (keeps_products_ && vectors > 4 && bytes() > lines_in_cache) vectors /= 2;
        return vectors * lanes_;
    }

    // Output lines and planes of a box, so that products met twice, by the boxes on both sides, are few.
    void choose_sizes() {
        const Index budget = lines_in_cache / (rows() * row_size() * static_cast<Index>(sizeof(Scalar)));
        ring_ = {span(0), span(1)};
        size_ = {1, std::min(p_.output[1], std::max<Index>(64, 32 * (ring_[1] - 1) * p_.strides[1]))};
        if (p_.kernel[0] == 1) return;
        size_ = {std::min(p_.output[0], std::max<Index>(64, 32 * (ring_[0] - 1) * p_.strides[0])), p_.output[1]};
        const auto lines = [&](Index outputs) { return (outputs - 1 + p_.dilation[1] * (p_.kernel[1] - 1)) / p_.strides[1] + 1; };
        for (Index pieces = 1; ring_[0] * lines(size_[1]) > budget && size_[1] > p_.strides[1]; ++pieces)
            size_[1] = std::max((p_.output[1] + pieces - 1) / pieces, p_.strides[1]);
        ring_[1] = lines(size_[1]);
    }

    void box_of_products(Index image, Index from0, Index from1, Index q) const {
        static thread_local Work<Scalar> work;
        const Index to0 = std::min(from0 + size_[0], p_.output[0]), to1 = std::min(from1 + size_[1], p_.output[1]);
        const Index low = std::clamp<Index>(q - reach_, 0, p_.input[2]), high = std::clamp<Index>(q + each_, low, p_.input[2]);
        // A row begins with zeros, which cells in front of the input stand for; the products start a vector.
        const Index left = low < high ? padded(low - (q - reach_), lanes_) : 0, pitch = row_size();
        const Index line_size = rows() * pitch, filled = left + padded(high - low, lanes_);
        work.lines = work.line_buffer.get(ring_[0] * ring_[1] * line_size);
        work.loaded.assign(static_cast<std::size_t>(ring_[0]), {-1, 0});
        const Index out_vectors = (each_ + lanes_ - 1) / lanes_, streams = p_.strides[2] * p_.big * out_vectors * lanes_;
        (void)work.scratch.get(streams), (void)work.interleaved.get(streams + most_excess);
        for (Index n = 0; n < ring_[0] * ring_[1] * rows(); ++n) {
            std::fill_n(work.lines + n * pitch, left, Scalar(0));
            std::fill(work.lines + n * pitch + filled, work.lines + (n + 1) * pitch, Scalar(0));
        }
        const auto place = [&](Index i0, Index i1) { return work.lines + (i0 % ring_[0] * ring_[1] + i1 % ring_[1]) * line_size; };
        for (Index o0 = from0; o0 < to0; ++o0)
            for (Index o1 = from1; o1 < to1; ++o1) {
                work.sources.clear();
                const Index first = axes_[1].first(o1), last = axes_[1].last(o1 + 1);
                const auto add = [&](Index t0, Index i0) {
                    Loaded& slot = work.loaded[static_cast<std::size_t>(i0 % ring_[0])];
                    if (slot.plane != i0) slot = {i0, 0};
                    for (Index i1 = std::max(slot.next, first); i1 < last; ++i1)
                        multiply_all(work, image, i0, i1, low, high, place(i0, i1) + left, pitch);
                    slot.next = std::max(slot.next, last);
                    axes_[1].meet(o1, [&](Index t1, Index i1) {
                        work.sources.push_back(place(i0, i1) + (t0 * p_.kernel[1] + t1) * p_.kernel[2] * p_.big * pitch + left - low);
                    });
                };
                if (low < high) axes_[0].meet(o0, add);
                store(work, image, o0, o1, q, pitch, out_vectors);
            }
    }

    // The piece of input after the one that ends at cell `at`.
    Coming<Scalar> next(Index image, Index i0, Index i1, Index at, Index low, Index high) const {
        if (at == high) {
            at = low;
            if (++i1 == p_.input[1]) i1 = 0, ++i0;
            if (i0 == p_.input[0]) return {};
        }
        const Scalar* from = x_.at(image, i0, i1, at);
        constexpr Index line = 64 / static_cast<Index>(sizeof(Scalar));
        if (x_.channel == 1) return {from, p_.small * line, line};
        return x_.cell == 1 ? Coming<Scalar>{from, line, x_.channel} : Coming<Scalar>{};
    }

    // The products of all taps with the cells [low, high) of an input line, piece by piece.
    void multiply_all(Work<Scalar>& work, Index image, Index i0, Index i1, Index low, Index high, Scalar* sums, Index sums_pitch) const {
        const Index most = piece_vectors * lanes_;
        for (Index at = low; at < high; at += most) {
            const Index to = std::min(at + most, high), pitch = padded(to - at, lanes_);
            const Scalar* piece = work.piece.get(p_.small * pitch + lanes_);
            load(image, i0, i1, at, to, work.piece.get(0), pitch);
            const Scalar* weights = packed_;
            Index row = 0, number = 0;
            const Coming<Scalar> coming = next(image, i0, i1, to, low, high);
            for (const Index size : tiles_) {
                const bool more = number < most / lanes_ && coming.from;
                kernels_.lane_product({&piece, &weights, 1, p_.small, pitch, size, pitch / lanes_, sums + row * sums_pitch + (at - low), sums_pitch,
                                       more ? coming.from + number++ * coming.line : nullptr, more ? coming.step : 0});
                row += size;
                weights += size * p_.small;
            }
        }
    }

    void box(Index image, Index from0, Index from1, Index q) const {
        static thread_local Work<Scalar> work;
        const Index to0 = std::min(from0 + size_[0], p_.output[0]), to1 = std::min(from1 + size_[1], p_.output[1]);
        // Output cells [q, q + each) of all phases, by the input cells [low, high).
        const Index low = std::clamp<Index>(q - reach_, 0, p_.input[2]), high = std::clamp<Index>(q + each_, low, p_.input[2]);
        const Index line = padded(high - low, lanes_), pitch = ring_[1] * line + lanes_;
        work.plane_size = p_.small * pitch;
        work.lines = work.line_buffer.get(ring_[0] * work.plane_size);
        work.loaded.assign(static_cast<std::size_t>(ring_[0]), {-1, 0});
        const Index band = axes_[1].first(from1);
        // Where an input line starts: in a ring, or one after the other.
        const auto place = [&](Index i0, Index i1) {
            return work.lines + i0 % ring_[0] * work.plane_size + (together_ > 1 ? i1 - band : i1 % ring_[1]) * line;
        };
        const auto bring = [&](Index i0, Index first_output, Index last_output) {
            Loaded& slot = work.loaded[static_cast<std::size_t>(i0 % ring_[0])];
            if (slot.plane != i0) slot = {i0, 0};
            const Index last = axes_[1].last(last_output + 1);
            for (Index i1 = std::max(slot.next, together_ > 1 ? band : axes_[1].first(first_output)); i1 < last; ++i1)
                load(image, i0, i1, low, high, place(i0, i1), pitch);
            slot.next = std::max(slot.next, last);
        };
        // Sums have margins of zeros, which cells outside of the input stand for.
        const Index rows = p_.kernel[2] * p_.big, out_vectors = (each_ + lanes_ - 1) / lanes_;
        const Index margin = (reach_ + each_ + lanes_) / lanes_ * lanes_ + lanes_;
        const Index sums_pitch = margin + line + margin + out_vectors * lanes_, products_pitch = together_ * line + lanes_;
        work.sums = work.sum_buffer.get(rows * sums_pitch);
        std::fill_n(work.sums, rows * sums_pitch, Scalar(0));
        Scalar* products = together_ > 1 ? work.product_buffer.get(rows * products_pitch) : nullptr;
        const Index streams = p_.strides[2] * p_.big * out_vectors * lanes_;
        (void)work.scratch.get(streams), (void)work.interleaved.get(streams + most_excess);
        const Index s1 = p_.strides[1], before1 = p_.before[1];
        for (Index o0 = from0; o0 < to0; ++o0)
            for (Index q1 = floor_divided(from1 + before1, s1); q1 * s1 - before1 < to1; q1 += together_)
                for (Index residue = 0; residue < s1; ++residue) {
                    Index o1 = q1 * s1 + residue - before1;
                    const Index end = std::min(to1, o1 + together_ * s1);
                    if (o1 < from1) o1 += (from1 - o1 + s1 - 1) / s1 * s1;
                    while (o1 < end) {
                        Index count = 1;
                        while (o1 + count * s1 < end && alike(o1, o1 + count * s1)) ++count;
                        const Index last = o1 + (count - 1) * s1;
                        if (together_ == 1) {
                            multiply(work, o0, o1, last, bring, place, pitch, line / lanes_, work.sums + margin, sums_pitch);
                        } else {
                            multiply(work, o0, o1, last, bring, place, pitch, count * line / lanes_, products, products_pitch);
                        }
                        for (Index n = 0; n < count; ++n, o1 += s1) {
                            if (together_ > 1) kernels_.copy_lines(products + n * line, products_pitch, rows, line, work.sums + margin, sums_pitch);
                            work.sources.assign(1, work.sums + margin - (high > low ? low : q));
                            store(work, image, o0, o1, q, sums_pitch, out_vectors);
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

    void load(Index image, Index i0, Index i1, Index low, Index high, Scalar* to, Index pitch) const {
        const Scalar* from = x_.at(image, i0, i1, low);
        if (x_.channel == 1) return kernels_.transpose(from, x_.cell, high - low, p_.small, to, pitch, true);
        if (x_.cell == 1) return kernels_.copy_lines(from, x_.channel, p_.small, high - low, to, pitch);
        for (Index c = 0; c < p_.small; ++c)
            for (Index n = 0; n < padded(high - low, lanes_); ++n) to[c * pitch + n] = n < high - low ? from[c * x_.channel + n * x_.cell] : Scalar(0);
    }

    // The products of the output lines from o1 to last, which meet the same taps.
    template <typename Bring, typename Place>
    void multiply(Work<Scalar>& work, Index o0, Index o1, Index last, const Bring& bring, const Place& place, Index pitch, Index vectors, Scalar* sums,
                  Index sums_pitch) const {
        work.sources.clear();
        work.taps.clear();
        for (Index t0 = 0; t0 < p_.kernel[0]; ++t0) {
            const Index i0 = axes_[0].cell(o0, t0);
            if (i0 < 0) continue;
            bring(i0, o1, last);
            for (Index t1 = 0; t1 < p_.kernel[1]; ++t1) {
                const Index i1 = axes_[1].cell(o1, t1);
                if (i1 < 0) continue;
                work.sources.push_back(place(i0, i1));
                work.taps.push_back(t0 * p_.kernel[1] + t1);
            }
        }
        const Index count = static_cast<Index>(work.taps.size()), rows = p_.kernel[2] * p_.big;
        for (Index row = 0; count == 0 && row < rows; ++row) std::fill_n(sums + row * sums_pitch, vectors * lanes_, Scalar(0));
        if (count == 0) return;
        work.weights.resize(work.taps.size());
        Index row = 0;
        for (const Index size : tiles_) {
            for (std::size_t n = 0; n < work.taps.size(); ++n) work.weights[n] = packed_ + (work.taps[n] * rows + row) * p_.small;
            kernels_.lane_product({work.sources.data(), work.weights.data(), count, p_.small, pitch, size, vectors,
                                   sums + row * sums_pitch, sums_pitch});
            row += size;
        }
    }

    // The sums[tap*big + channel][input cell] of all sources overlapped into the output cells of one line, all phases of
    // [q, q + each).
    void store(Work<Scalar>& work, Index image, Index o0, Index o1, Index q, Index sums_pitch, Index vectors) const {
        const Index s2 = p_.strides[2], start = q * s2 - p_.before[2];
        const Index first = std::max<Index>(0, start), last = std::min(p_.output[2], start + each_ * s2);
        if (first >= last) return;
        const bool together = y_.channel == 1;  // channels beside each other in one go, or one after the other
        for (Index channel = 0; channel < (together ? 1 : p_.big); ++channel) {
            const Index channels = together ? p_.big : 1;
            std::vector<Index>& counts = work.taps;
            counts.assign(static_cast<std::size_t>(s2 * channels), 0);
            work.terms.clear();
            work.bias.clear();
            for (Index residue = 0; residue < s2; ++residue)
                for (Index c = channel; c < channel + channels; ++c) {
                    Index& count = counts[static_cast<std::size_t>(residue * channels + c - channel)];
                    for (const Shift& shift : shifts_[static_cast<std::size_t>(residue)]) {
                        const Index at = (shift.tap * p_.big + c) * sums_pitch + q - shift.cells;
                        for (const Scalar* sums : work.sources) work.terms.push_back(sums + at);
                        count += static_cast<Index>(work.sources.size());
                    }
                    if (epilogue_.bias) work.bias.push_back(epilogue_.bias[c]);
                }
            kernels_.interleave({work.terms.data(), counts.data(), epilogue_.bias ? work.bias.data() : nullptr, s2 * channels, vectors,
                                 epilogue_.activation, work.scratch.get(0), work.interleaved.get(0)});
            const Scalar* from = work.interleaved.get(0) + (first - start) * channels;
            Scalar* to = y_.at(image, o0, o1, first) + channel * y_.channel;
            if (y_.cell == channels) std::copy(from, from + (last - first) * channels, to);
            else
                for (Index n = 0; n < last - first; ++n, to += y_.cell)
                    for (Index c = 0; c < channels; ++c) to[c] = from[n * channels + c];
        }
    }

    const Problem& p_;
    const Kernels<Scalar>& kernels_;
    const Scalar* packed_;
    View<const Scalar> x_;
    Epilogue<Scalar> epilogue_;
    View<Scalar> y_;
    std::vector<Index> tiles_;
    std::vector<std::vector<Shift>> shifts_;  // by residue of the innermost stride
    std::array<Reach, 3> axes_;
    Index lanes_, reach_;
    bool keeps_products_;
    Index first_, each_, together_ = 1;
    std::array<Index, 2> size_, ring_;
    std::array<Index, 3> boxes_;
};

}  // namespace

// [tap of the outer axes, where products are not kept][row tile][input channel][row].
template <typename Scalar>
void pack_overlap(const Problem& p, const Scalar* w, Scalar* packed) {
    const Index rows = rows_at_once(p), all = cells(p.kernel) * p.big;
    for (Index from = 0; from < all; from += rows) {
        Index row = from;
        for (const Index size : row_tiles(rows)) {
            for (Index c = 0; c < p.small; ++c)
                for (Index r = 0; r < size; ++r) *packed++ = w[(row + r) * p.small + c];
            row += size;
        }
    }
}

template <typename Scalar>
void run_overlap(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* packed, const View<const Scalar>& x,
                 const Epilogue<Scalar>& epilogue, const View<Scalar>& y) {
    Overlap<Scalar>(p, kernels, packed, x, epilogue, y).run();
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                      \
    template void pack_overlap<Scalar>(const Problem&, const Scalar*, Scalar*);                             \
    template void run_overlap<Scalar>(const Problem&, const Kernels<Scalar>&, const Scalar*, const View<const Scalar>&, \
                                      const Epilogue<Scalar>&, const View<Scalar>&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
