// A small kernel: the products of all taps with each input cell, summed over channels, are kept,
// [place][tap, output channel][cell], until the output lines they reach are overlapped from them.
// Long lines have a ring of places, each for the products of one line. Short ones stand beside each
// other, zeros between them, those of a plane and of several images in one place: what a tap adds
// to an output cell is then as many cells back in any line, so that all lines of a phase are summed
// as if they were one. Workspace of a thread: kept products, tuning::overlap::lines_in_cache, and
// one piece.
#include <algorithm>
#include <array>
#include <atomic>
#include <tuple>
#include <vector>

#include "buffer.h"
#include "overlap_parts.h"
#include "threads.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::overlap;

namespace {

// Output cells [q, q + each) of an axis, all phases, and the input cells [low, high) that reach them: at the places
// from `start` on, with zeros where cells outside of the input are read, also at the end of the line before.
struct Span {
    Index q, each, low, high, start, extent;
    Span(const Reach& axis, Index from, Index count) : q(from), each(count) {
        low = std::clamp<Index>(q - axis.cells, 0, axis.extent), high = std::clamp<Index>(q + each, low, axis.extent);
        start = low < high ? std::min(q, low) : q;
        extent = std::max((low < high ? high : q) + start - q + axis.cells, q + each) - start;
    }
};

// The places of products: row by row, in each `images` planes of lines.
struct Layout {
    Span lines, cells;
    Index images, margin, positions, pitch;
    Layout(const Span& lines, const Span& cells, const std::array<Reach, 3>& axes, Index images, Index lanes)
        : lines(lines), cells(cells), images(images),
          margin(padded(axes[1].cells * cells.extent + axes[2].cells, lanes)),
          positions(images * lines.extent * cells.extent),
          pitch((margin + padded(positions, lanes) + 2 * lanes) | lanes) {}
    Index first() const { return cells.q - cells.start; }
    // Where zeros stay between the products.
    std::array<Index, 8> shape() const {
        return {cells.extent,
                cells.low - cells.start,
                cells.high - cells.low,
                lines.extent,
                lines.low - lines.start,
                lines.high - lines.low,
                images,
                pitch};
    }
};

// Input cells beside each other, and where their products go.
template <typename Scalar>
struct InputRun {
    const Scalar* from;
    Index count, to;
};

// What a thread keeps for its boxes.
template <typename Scalar>
struct ProductsWorkspace {
    Scratch<Scalar> products, piece, sums;
    std::vector<RingSlot> slots;
    std::vector<InputRun<Scalar>> runs, parts;
    std::vector<const Scalar*> sources, cells;
    std::vector<Scalar*> targets;
    std::vector<OutputLine> output;
    Streams<Scalar> streams;
    const Scalar* next_cells;  // the first of the cells that are multiplied next, or null
    std::array<Index, 8> shape{};
    Index call = 0;  // whose zeros are there
};

template <typename Scalar>
class ProductsKept : Overlap<Scalar> {
    using Base = Overlap<Scalar>;
    using Base::axes_, Base::kernels_, Base::lanes_, Base::p_, Base::packed_, Base::tiles_, Base::x_;

public:
    ProductsKept(const Problem& p, const Kernels<Scalar>& kernels, bool transposed, const Scalar* packed,
                 const View<const Scalar>& x, const Epilogue<Scalar>& epilogue, const View<Scalar>& y)
        : Base(p, kernels, packed, x, epilogue, y, backstride::cells(p.kernel) * p.big), transposed_(transposed),
          rows_(backstride::cells(p.kernel) * p.big), shifts_(shifts_of(axes_[1])), ring_{span(0), span(1)},
          each_{p.output[0], axes_[1].count(), axes_[2].count()} {
        if (p.kernel[0] == 1) each_[0] = 1;
        else
            each_[0] = std::min(p.output[0], std::max(least_outputs, outputs_of_reach * (ring_[0] - 1) * p.strides[0]));
        beside_ = p.input[2] < piece_vectors * lanes_ && choose_planes();
        if (!beside_) choose_lines();
        if (transposed_) zeros_.assign(static_cast<std::size_t>(p.small), Scalar(0));
        static std::atomic<Index> calls{0};
        call_ = ++calls;
    }

    void run() const {
        std::array<Index, 3> boxes;
        const std::array<Index, 3> all{p_.output[0], beside_ ? axes_[1].count() : p_.output[1], axes_[2].count()};
        for (std::size_t axis = 0; axis < 3; ++axis) boxes[axis] = ceil_div(all[axis], each_[axis]);
        parallel(ceil_div(p_.batch, images_) * boxes[0] * boxes[1] * boxes[2], [&](Index task) {
            const Index b2 = task % boxes[2], b1 = task / boxes[2] % boxes[1],
                        b0 = task / boxes[2] / boxes[1] % boxes[0];
            const Index image = task / boxes[2] / boxes[1] / boxes[0] * images_, from0 = b0 * each_[0],
                        from1 = b1 * each_[1], from2 = b2 * each_[2];
            static thread_local ProductsWorkspace<Scalar> work;
            const Span cells(axes_[2], axes_[2].low() + from2, std::min(each_[2], all[2] - from2));
            const Index to0 = std::min(all[0], from0 + each_[0]), to1 = std::min(all[1], from1 + each_[1]);
            if (beside_) {
                const Span lines(axes_[1], axes_[1].low() + from1, to1 - from1);
                planes(work, Layout(lines, cells, axes_, std::min(images_, p_.batch - image), lanes_), image, from0,
                       to0);
            } else {
                Span line(axes_[1], 0, 1);
                line.start = line.q = 0, line.extent = 1;
                long_lines(work, Layout(line, cells, axes_, 1, lanes_), image, {from0, to0}, {from1, to1});
            }
        });
    }

private:
    // Output cells of a phase that meet an input cell, at most.
    Index span(std::size_t axis) const { return axes_[axis].cells + 1; }
    Index bytes(Index positions) const { return ring_[0] * rows_ * positions * static_cast<Index>(sizeof(Scalar)); }

    // Lines of a plane beside each other: in parts where the whole is too large for the cache or there are threads
    // without work, and several images where one is small. Whether lines that parts share are few.
    bool choose_planes() {
        const Index line = Span(axes_[2], axes_[2].low(), each_[2]).extent, threads = get_num_threads(),
                    both = axes_[1].cells;
        const Index most = lines_in_cache / bytes(line) - 2 * both, least = std::max<Index>(1, least_lines * both);
        if (most < least && most < each_[1]) return false;
        const double products =
            static_cast<double>(backstride::cells(p_.input) * p_.batch * p_.small) * static_cast<double>(rows_);
        const Index idle = std::min(threads / p_.batch, static_cast<Index>(std::min(products / products_of_task, 1e9)));
        const Index parts = std::max(ceil_div(each_[1], most), std::min(idle, each_[1] / least));
        if (parts > 1) each_[1] = ceil_div(each_[1], parts);
        else
            images_ = std::clamp<Index>(nearest_cache / bytes(Span(axes_[1], axes_[1].low(), each_[1]).extent * line),
                                        1, ceil_div(p_.batch, threads));
        ring_[1] = 1;
        return true;
    }

    // Long lines are cut, into fewer cells where the products of several lines take more than the cache; boxes have so
    // many planes and lines that products met twice, by the boxes on both sides, are few. None depends on the number of
    // threads.
    void choose_lines() {
        const Index reach = axes_[2].cells;
        Index vectors = most_vectors;
        while (vectors > piece_vectors && ring_[1] * bytes((vectors + 2) * lanes_) > lines_in_cache) vectors /= 2;
        const Index count = axes_[2].count(), most = std::max(vectors * lanes_ - reach, lanes_),
                    pieces = ceil_div(count, most);
        if (pieces > 1) each_[2] = std::max(lanes_, padded(ceil_div(count, pieces) + reach, lanes_) - reach);
        each_[1] = std::min(p_.output[1], std::max(least_outputs, outputs_of_reach * (ring_[1] - 1) * p_.strides[1]));
        if (p_.kernel[0] == 1) return;
        // Planes are kept whole, as far as they lie in the box.
        const Index budget = lines_in_cache / bytes(each_[2] + reach + 3 * lanes_);
        const auto lines = [&](Index outputs) {
            return (outputs - 1 + p_.dilation[1] * (p_.kernel[1] - 1)) / p_.strides[1] + 1;
        };
        each_[1] = p_.output[1];
        for (Index parts = 1; lines(each_[1]) > budget && each_[1] > p_.strides[1]; ++parts)
            each_[1] = std::max(ceil_div(p_.output[1], parts), p_.strides[1]);
        ring_[1] = lines(each_[1]);
    }

    // Memory for the products, zeros where none come. The first one of each place is behind a margin.
    Scalar* prepare(ProductsWorkspace<Scalar>& work, const Layout& layout) const {
        const Index size = ring_[0] * ring_[1] * rows_ * layout.pitch + layout.margin;
        Scalar* const products = work.products.get(size);
        work.slots.assign(static_cast<std::size_t>(ring_[0]), {.plane = -1, .next = 0});
        Base::point(work.streams, layout.pitch);
        if (work.call != call_ || work.shape != layout.shape()) {
            std::fill_n(products, size, Scalar(0));
            work.call = call_, work.shape = layout.shape();
        }
        return products + layout.margin;
    }

    void planes(ProductsWorkspace<Scalar>& work, const Layout& layout, Index image, Index from0, Index to0) const {
        Scalar* const products = prepare(work, layout);
        const auto place = [&](Index i0) { return products + i0 % ring_[0] * rows_ * layout.pitch; };
        const auto& [lines, cells] = std::tie(layout.lines, layout.cells);
        const Index vectors = ceil_div(layout.positions - layout.first(), lanes_);
        for (Index o0 = from0; o0 < to0; ++o0) {
            axes_[0].meet(o0, [&](Index, Index i0) {
                RingSlot& slot = work.slots[static_cast<std::size_t>(i0 % ring_[0])];
                if (slot.plane == i0) return;
                slot.plane = i0;
                work.runs.clear();
                for (Index n = 0; n < layout.images; ++n)
                    for (Index i1 = lines.low; i1 < lines.high; ++i1)
                        work.runs.push_back({
                            .from = x_.at(image + n, i0, i1, cells.low),
                            .count = cells.high - cells.low,
                            .to = (n * lines.extent + i1 - lines.start) * cells.extent + cells.low - cells.start,
                        });
                const Index after = i0 + 1 < p_.input[0] && p_.kernel[0] > 1 ? image : image + layout.images;
                work.next_cells =
                    after < p_.batch ? x_.at(after, after == image ? i0 + 1 : i0, lines.low, cells.low) : nullptr;
                multiply(work, layout, place(i0));
            });
            for (Index residue = 0; residue < p_.strides[1]; ++residue) {
                work.output.clear();
                for (Index n = 0; n < layout.images; ++n)
                    for (Index q = lines.q; q < lines.q + lines.each; ++q)
                        if (const Index o1 = q * p_.strides[1] + residue - p_.before[1]; o1 >= 0 && o1 < p_.output[1])
                            work.output.push_back({
                                .image = image + n,
                                .o0 = o0,
                                .o1 = o1,
                                .q = cells.q,
                                .from = (n * lines.extent + q - lines.start) * cells.extent,
                            });
                work.sources.clear();
                axes_[0].meet(o0, [&](Index t0, Index i0) {
                    for (const Shift& shift : shifts_[static_cast<std::size_t>(residue)])
                        work.sources.push_back(place(i0) + row(t0, shift.tap) * layout.pitch -
                                               shift.cells * cells.extent + layout.first());
                });
                Base::store(work.streams, work.sources, layout.pitch, vectors, cells.each, work.output);
            }
        }
    }

    void long_lines(ProductsWorkspace<Scalar>& work, const Layout& layout, Index image,
                    const std::array<Index, 2>& planes, const std::array<Index, 2>& lines) const {
        Scalar* const products = prepare(work, layout);
        const Span& cells = layout.cells;
        const auto place = [&](Index i0, Index i1) {
            return products + (i0 % ring_[0] * ring_[1] + i1 % ring_[1]) * rows_ * layout.pitch;
        };
        for (Index o0 = planes[0]; o0 < planes[1]; ++o0)
            for (Index o1 = lines[0]; o1 < lines[1]; ++o1) {
                const Index first = axes_[1].first(o1), last = axes_[1].last(o1 + 1);
                work.sources.clear();
                axes_[0].meet(o0, [&](Index t0, Index i0) {
                    RingSlot& slot = work.slots[static_cast<std::size_t>(i0 % ring_[0])];
                    if (slot.plane != i0) slot = {.plane = i0, .next = 0};
                    for (Index i1 = std::max(slot.next, first); i1 < last; ++i1) {
                        // Channels first, the processor fetches the next line by itself.
                        work.next_cells =
                            x_.channel == 1 && i1 + 1 < p_.input[1] ? x_.at(image, i0, i1 + 1, cells.low) : nullptr;
                        work.runs.assign(1, {
                                                .from = x_.at(image, i0, i1, cells.low),
                                                .count = cells.high - cells.low,
                                                .to = cells.low - cells.start,
                                            });
                        multiply(work, layout, place(i0, i1));
                    }
                    slot.next = std::max(slot.next, last);
                    axes_[1].meet(o1, [&](Index t1, Index i1) {
                        work.sources.push_back(place(i0, i1) + row(t0, t1) * layout.pitch + layout.first());
                    });
                });
                work.output.assign(1, {.image = image, .o0 = o0, .o1 = o1, .q = cells.q, .from = 0});
                Base::store(work.streams, work.sources, layout.pitch, ceil_div(cells.each, lanes_), cells.each,
                            work.output);
            }
    }

    Index row(Index t0, Index t1) const { return (t0 * p_.kernel[1] + t1) * p_.kernel[2] * p_.big; }

    void multiply(ProductsWorkspace<Scalar>& work, const Layout& layout, Scalar* to) const {
        if (work.runs.empty() || work.runs.front().count == 0) return;
        if (transposed_) cells_by_taps(work, layout, to);
        else taps_by_cells(work, layout, to);
    }

    // Cells in the lanes, piece by piece: the cells of all runs without gaps.
    void taps_by_cells(ProductsWorkspace<Scalar>& work, const Layout& layout, Scalar* to) const {
        const Index each = work.runs.front().count, total = each * static_cast<Index>(work.runs.size());
        const Index vectors = ceil_div(total, lanes_), pieces = ceil_div(vectors, piece_vectors);
        for (Index n = 0; n < pieces; ++n) {
            const Index from = n * vectors / pieces * lanes_, width = (n + 1) * vectors / pieces * lanes_ - from,
                        end = std::min(total, from + width);
            work.parts.clear();
            for (Index at = from, count = 0; at < end; at += count) {
                const InputRun<Scalar>& run = work.runs[static_cast<std::size_t>(at / each)];
                count = std::min(end - at, each - at % each);
                work.parts.push_back({
                    .from = run.from + at % each * x_.cell,
                    .count = count,
                    .to = run.to + at % each,
                });
            }
            // Where cells lie beside each other in memory, channels first, they are read as they are.
            const InputRun<Scalar>& first = work.parts.front();
            const Scalar* const next = work.parts.back().from + work.parts.back().count * x_.cell;
            const bool there = next == first.from + (end - from) * x_.cell && reads_in_place(first.from, width);
            const bool alone = work.parts.size() == 1 && (!there || end - from == width);
            const Index pitch = there ? x_.channel
                                : alone
                                    ? width
                                    : width + lanes_;  // a part in front of others may write a vector beyond its end
            const Scalar* const piece =
                there ? first.from : bring(work, work.piece.get(p_.small * pitch + lanes_), pitch);
            Scalar* const sums = alone ? to + first.to : work.sums.get(rows_ * width + lanes_);
            const Index sums_pitch = alone ? layout.pitch : width;
            multiply_piece(piece, pitch, width / lanes_, sums, sums_pitch, n + 1 < pieces ? next : work.next_cells);
            const Scalar* part = sums;
            for (const InputRun<Scalar>& run : work.parts) {
                if (!alone)
                    kernels_.copy_lines({
                        .from = part,
                        .step = sums_pitch,
                        .lines = rows_,
                        .count = run.count,
                        .to = to + run.to,
                        .pitch = layout.pitch,
                    });
                part += run.count;
            }
        }
    }

    // The parts of a piece, together where they lie so in memory.
    const Scalar* bring(ProductsWorkspace<Scalar>& work, Scalar* piece, Index pitch) const {
        Scalar* placed = piece;
        for (std::size_t part = 0; part < work.parts.size();) {
            const Scalar* const start = work.parts[part].from;
            Index count = 0;
            do count += work.parts[part++].count;
            while (part < work.parts.size() && work.parts[part].from == start + count * x_.cell);
            Base::load(start, count, placed, pitch);
            placed += count;
        }
        return piece;
    }

    // Whether all channels of cells lie in the nearest cache while all taps meet them, not in the same few sets of it,
    // and whole vectors end before the array does.
    bool reads_in_place(const Scalar* from, Index width) const {
        constexpr Index size = static_cast<Index>(sizeof(Scalar));
        if (x_.cell != 1 || x_.channel * size % sets_apart == 0 ||
            p_.small * std::min(x_.channel, width + lanes_) * size > nearest_cache)
            return false;
        const Scalar* const last =
            x_.at(p_.batch - 1, p_.input[0] - 1, p_.input[1] - 1, p_.input[2] - 1) + (p_.small - 1) * x_.channel;
        return from + (p_.small - 1) * x_.channel + width <= last + 1;
    }

    // All taps with the cells of a piece, while those of the next one are fetched: cache lines of each channel, or of
    // each cell, shared by the tiles. One that two pieces share is fetched once.
    void multiply_piece(const Scalar* piece, Index pitch, Index vectors, Scalar* sums, Index sums_pitch,
                        const Scalar* next_cells) const {
        constexpr Index line = tuning::processor::line_bytes / static_cast<Index>(sizeof(Scalar));
        const bool last = x_.channel == 1, comes = next_cells && (last || x_.cell == 1);
        const Index step = last ? line : x_.channel, next = last ? p_.small * line : line,
                    lines = vectors * lanes_ / line;
        const Index tiles = static_cast<Index>(tiles_.size()),
                    each = ceil_div(lines, tiles);  // early, so that they are there in time
        const Scalar* weights = packed_;
        Index row = 0, number = 0;
        for (const Index size : tiles_) {
            const Index from = number++ * each, count = std::min(each, lines - from);
            const bool more = comes && count > 0;
            kernels_.lane_product({
                .lines = &piece,
                .weights = &weights,
                .count = 1,
                .depth = p_.small,
                .pitch = pitch,
                .rows = size,
                .vectors = vectors,
                .sums = sums + row * sums_pitch,
                .sums_pitch = sums_pitch,
                .next_cells = more ? next_cells + from * next : nullptr,
                .next_step = more ? step : 0,
                .next_apart = more ? (count - 1) * next : 0,
            });
            row += size;
            weights += size * p_.small;
        }
    }

    // Taps in the lanes; the products of a piece of places, zeros among them, are transposed.
    void cells_by_taps(ProductsWorkspace<Scalar>& work, const Layout& layout, Scalar* to) const {
        const Index columns = padded(rows_, lanes_), panel = kernels_.panel_vectors * lanes_,
                    places = padded(layout.positions, lanes_);
        const Index most = std::max<Index>(
            lanes_, nearest_cache / 2 / (columns * static_cast<Index>(sizeof(Scalar))) / lanes_ * lanes_);
        const Index pieces = ceil_div(places, most), vectors = places / lanes_;
        const auto count_of_rows = static_cast<std::size_t>(most + rows_beyond);
        work.cells.resize(count_of_rows), work.targets.resize(count_of_rows);
        Scalar* const products = work.piece.get(most * columns);
        Scalar* const scratch = work.sums.get((most + rows_beyond) * panel);
        auto run = work.runs.begin();
        Index cell = 0;
        for (Index n = 0; n < pieces; ++n) {
            const Index from = n * vectors / pieces * lanes_, end = (n + 1) * vectors / pieces * lanes_;
            std::size_t count = 0;
            Index at = from;
            while (run != work.runs.end() && run->to + cell < end) {
                std::fill(products + (at - from) * columns, products + (run->to + cell - from) * columns, Scalar(0));
                for (at = run->to + cell; cell < run->count && at < end; ++cell, ++at, ++count) {
                    work.cells[count] = run->from + cell * x_.cell;
                    work.targets[count] = products + (at - from) * columns;
                }
                if (cell == run->count) ++run, cell = 0;
            }
            std::fill(products + (at - from) * columns, products + (end - from) * columns, Scalar(0));
            std::fill_n(work.cells.begin() + static_cast<std::ptrdiff_t>(count), rows_beyond, zeros_.data());
            if (count > 0)
                kernels_.multiply_rows({
                    .rows = work.cells.data(),
                    .row_count = static_cast<Index>(count),
                    .taps = 1,
                    .depth = p_.small,
                    .zero = zeros_.data(),
                    .targets = work.targets.data(),
                    .weights = packed_,
                    .columns = columns,
                    .last_panel = ceil_div(columns, panel),
                    .scratch = scratch,
                    .streams = true,
                });
            kernels_.transpose({
                .from = products,
                .step = columns,
                .rows = end - from,
                .columns = rows_,
                .to = to + from,
                .pitch = layout.pitch,
            });
        }
    }

    bool transposed_, beside_;  // `beside_`: lines beside each other
    Index rows_, images_ = 1, call_;
    std::vector<std::vector<Shift>> shifts_;  // of the lines
    std::vector<Scalar> zeros_;
    std::array<Index, 2> ring_;
    std::array<Index, 3> each_;
};

}  // namespace

template <typename Scalar>
void overlap_products(const Problem& p, const Kernels<Scalar>& kernels, bool transposed, const Scalar* packed,
                      const View<const Scalar>& x, const Epilogue<Scalar>& epilogue, const View<Scalar>& y) {
    ProductsKept<Scalar>(p, kernels, transposed, packed, x, epilogue, y).run();
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                  \
    template void overlap_products<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Scalar*, \
                                           const View<const Scalar>&, const Epilogue<Scalar>&, const View<Scalar>&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
