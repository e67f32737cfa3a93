// The kernel gradient as Winograd tiles. Along an axis, taps that are a stride apart meet the same
// cells of the large side, one cell of the small side apart: their sums over tiles of a few cells
// are Lavin & Gray's F(taps, cells), arXiv 1509.09308. Tiles of both sides are transformed into
// planes, [plane][tile][channel]; every plane is a matrix product that sums over tiles,
// [plane][row][column], and the sums of all tiles are transformed into taps.
//
// Tiles are summed in one order for any number of threads, and whether sums are finite is told.
// Workspace of a thread: one block of channels and tiles, under 4 MiB.
#include "correlate.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>
#include <vector>

#include "buffer.h"
#include "sweep.h"
#include "threads.h"
#include "tuning.h"
#include "view.h"

namespace backstride {

using namespace tuning::gradient_tiles;

namespace {

// Taps tap, tap + stride, ... of one axis: tap n of them meets input cell c - n in output cell c*stride + shift, which
// is one for c in [from, to).
struct Strip {
    Index tap, count, shift, from, to;
};

// Strips of as many taps, whose tiles meet the same input cells.
struct Strips {
    std::vector<Strip> all;
    Index from, to;
    Form form;
    Index count() const { return static_cast<Index>(all.size()); }
    Index cells() const { return to - from; }
    Index tiles() const { return ceil_div(cells(), form.outputs); }
    Index products() const { return tiles() * form.planes(); }
};

// The form of fewest products for some taps and cells.
Form form_of(Index taps, Index cells) {
    if (taps == 1) return {.outputs = 1, .taps = 1};
    if (taps == 3) return {.outputs = 2, .taps = 3};
    return {.outputs = ceil_div(cells, 3) * 4 <= ceil_div(cells, 2) * 3 ? 3 : 2, .taps = 2};
}

Strip strip_of(const Problem& p, std::size_t axis, Index tap, Index count) {
    const Index stride = p.strides[axis], shift = tap * p.dilation[axis] - p.before[axis];
    const Index from = shift < 0 ? (-shift - 1) / stride + 1 : 0;
    const Index to = p.output[axis] > shift ? (p.output[axis] - shift - 1) / stride + 1 : 0;
    return {
        .tap = tap,
        .count = count,
        .shift = shift,
        .from = from,
        .to = std::max(from, std::min(to, p.input[axis] + count - 1)),
    };
}

// Adds a strip to those of as many taps where that costs hardly any tiles.
void join(std::vector<Strips>& all, const Strip& strip, bool shares) {
    for (Strips& other : all) {
        if (!shares || other.all.front().count != strip.count) continue;
        Strips joined = other;
        joined.all.push_back(strip);
        joined.from = std::min(joined.from, strip.from), joined.to = std::max(joined.to, strip.to);
        joined.form = form_of(strip.count, joined.cells());
        if (strip.count > 1 && 16 * joined.products() > most_joined * other.products()) continue;
        other = std::move(joined);
        return;
    }
    all.push_back({
        .all = {strip},
        .from = strip.from,
        .to = strip.to,
        .form = form_of(strip.count, strip.to - strip.from),
    });
}

std::vector<Strips> strips(const Problem& p, std::size_t axis) {
    const Index stride = p.strides[axis], taps = p.kernel[axis];
    const bool neighbours = axis > 0 && p.dilation[axis] == 1, shares = axis > 0 && p.big <= most_rows / 2;
    std::vector<Strips> result;
    for (Index first = 0; first < (neighbours ? std::min(stride, taps) : taps); ++first) {
        // Pairs, and three where one would be left.
        Index left = neighbours ? (taps - first - 1) / stride + 1 : 1, tap = first;
        while (left > 0) {
            const Index count = left == 1 || left == 3 ? left : 2;
            join(result, strip_of(p, axis, tap, count), shares);
            left -= count;
            if (left > 0) tap += count * stride;
        }
    }
    return result;
}

// The same taps, each by itself.
Strips apart(const Problem& p, std::size_t axis, const Strips& strips) {
    std::vector<Strips> result;
    for (const Strip& strip : strips.all)
        for (Index n = 0; n < strip.count; ++n)
            join(result, strip_of(p, axis, strip.tap + (n > 0 ? n * p.strides[axis] : 0), 1), true);
    return result.front();
}

// Strips of all axes, whose combinations are its members: the tiles of the small side are the same for all of them.
struct Unit {
    std::array<Strips, 3> axes;
    const Form& lines() const { return axes[1].form; }
    const Form& columns() const { return axes[2].form; }
    Index members() const { return axes[0].count() * axes[1].count() * axes[2].count(); }
    Index planes() const { return lines().planes() * columns().planes(); }
    Index outputs() const { return lines().outputs * columns().outputs; }
    Index taps() const { return lines().taps * columns().taps; }
    Index tiles() const { return axes[0].cells() * axes[1].tiles() * axes[2].tiles(); }
    bool tiled() const { return planes() > 1; }
    std::array<Strip, 3> member(Index number) const {
        const auto at = [](const Strips& strips, Index n) { return strips.all[static_cast<std::size_t>(n)]; };
        return {at(axes[0], number / axes[2].count() / axes[1].count()),
                at(axes[1], number / axes[2].count() % axes[1].count()), at(axes[2], number % axes[2].count())};
    }
};

Index panels_of(const Problem& p) { return ceil_div(p.small, columns_of_part); }

// Cycles of an image and a group: products, transforms, which wait for their stores, and sums into taps.
double cycles(const Problem& p, const Unit& unit, Index lanes) {
    const double tiles = static_cast<double>(unit.tiles()), planes = static_cast<double>(unit.planes());
    const double rows = static_cast<double>(unit.members() * p.big),
                 vectors = static_cast<double>(padded(p.small, lanes) / lanes);
    if (!unit.tiled()) return cycles_of_plain * tiles * rows * vectors;
    const double bands = std::max(1.0, rows / most_rows), panels = static_cast<double>(panels_of(p));
    const double transforms = cycles_of_transform * (vectors * bands + rows / static_cast<double>(lanes) * panels);
    return planes * (tiles * (rows * vectors + transforms) +
                     cycles_of_taps * rows * vectors / static_cast<double>(std::max<Index>(1, p.batch)));
}

std::vector<Unit> units(const Problem& p, Index lanes, bool forced) {
    std::vector<Unit> result;
    const auto planes = strips(p, 0), lines = strips(p, 1), columns = strips(p, 2);
    for (const Strips& a : planes)
        for (const Strips& b : lines)
            for (const Strips& c : columns) {
                const Unit tiled{{a, b, c}}, plain{{a, apart(p, 1, b), apart(p, 2, c)}};
                result.push_back(
                    tiled.tiled() && (forced || cycles(p, tiled, lanes) < cycles(p, plain, lanes)) ? tiled : plain);
            }
    return result;
}

template <typename Scalar>
class Tiles {
public:
    Tiles(const Problem& p, const Kernels<Scalar>& kernels, std::vector<Unit> units, const Scalar* x, const Scalar* y,
          Scalar* w, bool adds)
        : p_(p), kernels_(kernels), x_(x), y_(y), w_(w), adds_(adds), inputs_(p.groups * p.small),
          outputs_(p.groups * p.big), units_(std::move(units)),
          zeros_(static_cast<std::size_t>(std::max(inputs_, outputs_) + 16), Scalar(0)) {}

    // Channels of both sides are shared among the threads; tiles are summed in one order. False where sums are not
    // finite.
    bool run() const {
        std::atomic<bool> finite{true};
        Index most = 0, rows = most_rows;
        for (const Unit& unit : units_) most = std::max(most, unit.tiles() * p_.batch);
        const Index threads = get_num_threads(), wanted = threads == 1 ? 1 : tasks_of_thread * threads,
                    panels = panels_of(p_);
        std::vector<Part> parts;
        do {
            parts.clear();
            for (const Unit& unit : units_) cut(unit, rows, panels, parts);
            rows /= 2;
        } while (static_cast<Index>(parts.size()) < (rows < fewest_rows ? threads : wanted) && rows >= fewest_of_all);
        Index from = 0;
        do {
            parallel(static_cast<Index>(parts.size()), [&](Index task) {
                const Part& part = parts[static_cast<std::size_t>(task)];
                const Index to = std::min(part.unit->tiles() * p_.batch, from + tiles_of_round);
                if (from > 0 && from >= to) return;
                if (!part.unit->tiled()) sum_plainly(part, from, to);
                else if (!sum(part, from, to)) finite.store(false);
            });
        } while (finite.load() && (from += tiles_of_round) < most);
        return finite.load();
    }

private:
    // Rows are channels of the large side of some members, columns channels of the small side of a group.
    struct Part {
        const Unit* unit;
        Index group, first_member, members, first_row, rows, first_column, columns;
    };

    void cut(const Unit& unit, Index most, Index panels, std::vector<Part>& parts) const {
        const Index together = std::clamp<Index>(most / p_.big, 1, unit.members()), bands = ceil_div(p_.big, most);
        const Index wide = padded(ceil_div(p_.small, panels), kernels_.lanes);
        for (Index group = 0; group < p_.groups; ++group)
            for (Index member = 0; member < unit.members(); member += together)
                for (Index band = 0; band < bands; ++band)
                    for (Index column = 0; column < p_.small; column += wide) {
                        const Index row = p_.big * band / bands;
                        parts.push_back({
                            .unit = &unit,
                            .group = group,
                            .first_member = member,
                            .members = std::min(together, unit.members() - member),
                            .first_row = row,
                            .rows = p_.big * (band + 1) / bands - row,
                            .first_column = column,
                            .columns = std::min(wide, p_.small - column),
                        });
                    }
    }

    bool sum(const Part& part, Index first, Index last) const {
        static thread_local Scratch<Scalar> large_buffer, small_buffer, sums_buffer;
        static thread_local std::vector<const Scalar*> cells;
        const Unit& unit = *part.unit;
        const Index planes = unit.planes(), rows = part.members * part.rows, columns = part.columns;
        // A line apart, so that the tiles of a plane do not fall into one set of the cache.
        const Index line = tuning::processor::line_bytes / static_cast<Index>(sizeof(Scalar)),
                    width = padded(columns, kernels_.lanes);
        const Index large_step = padded(rows, kernels_.lanes) + line, small_step = width + line;
        const Index large_plane = tiles_of_block * large_step + line, small_plane = tiles_of_block * small_step + line;
        const Index sums_plane = rows * width + line;
        Scalar* const large = large_buffer.get(planes * large_plane);
        Scalar* const small = small_buffer.get(planes * small_plane);
        Scalar* const sums = sums_buffer.get(planes * sums_plane);
        cells.resize(static_cast<std::size_t>(tiles_of_block * std::max(unit.outputs(), planes)));
        if (first >= last) std::fill_n(sums, planes * sums_plane, Scalar(0));
        for (Index from = first; from < last; from += tiles_of_block) {
            const Index tiles = std::min(tiles_of_block, last - from);
            // The last lanes of a member's rows are overwritten by the next member's.
            for (Index n = 0; n < part.members; ++n) {
                aim_large(unit, unit.member(part.first_member + n), from, tiles, cells.data());
                kernels_.winograd_large({
                    .cells = cells.data(),
                    .tiles = tiles,
                    .depth = part.rows,
                    .source_offset = part.group * p_.big + part.first_row,
                    .planes = large + n * part.rows,
                    .plane_stride = large_plane,
                    .tile_stride = large_step,
                    .line_form = unit.lines(),
                    .column_form = unit.columns(),
                });
            }
            aim_small(unit, from, tiles, cells.data());
            kernels_.winograd_input({
                .cells = cells.data(),
                .tiles = tiles,
                .depth = columns,
                .source_offset = part.group * p_.small + part.first_column,
                .planes = small,
                .plane_stride = small_plane,
                .tile_stride = small_step,
                .line_form = unit.lines(),
                .column_form = unit.columns(),
            });
            const CellRun all{.large = 0, .small = 0, .count = tiles};
            for (Index plane = 0; plane < planes; ++plane)
                kernels_.correlate({
                    .large = large + plane * large_plane,
                    .small = small + plane * small_plane,
                    .runs = &all,
                    .run_count = 1,
                    .large_step = large_step,
                    .small_step = small_step,
                    .rows = rows,
                    .columns = columns,
                    .weights = sums + plane * sums_plane,
                    .weights_stride = width,
                    .small_end = small + plane * small_plane + tiles * small_step,
                    .adds = from > first,
                });
        }
        bool finite = true;
        for (Index n = 0; n < part.members; ++n)
            finite = finish(part, unit.member(part.first_member + n), sums + n * part.rows * width, sums_plane, width,
                            adds_ || first > 0) &&
                     finite;
        return finite;
    }

    // The first weight of a part for a tap.
    Scalar* weights(const Part& part, Index t0, Index t1, Index t2) const {
        const Index row = ((t0 * p_.kernel[1] + t1) * p_.kernel[2] + t2) * p_.big + part.first_row;
        return w_ + row * inputs_ + part.group * p_.small + part.first_column;
    }

    // Whether a tap takes some cell of an axis to one of the other side.
    bool meets_cells(std::size_t axis, Index tap) const {
        const Strip alone = strip_of(p_, axis, tap, 1);
        return alone.from < alone.to;
    }

    // The sums of a member into its taps, and whether they are finite.
    bool finish(const Part& part, const std::array<Strip, 3>& member, const Scalar* sums, Index plane, Index width,
                bool adds) const {
        const Form &lines = part.unit->lines(), &columns = part.unit->columns();
        std::array<Scalar*, 9> taps{};
        for (Index a = 0; a < lines.taps; ++a)
            for (Index b = 0; b < columns.taps; ++b)  // taps rise as inputs fall
                taps[static_cast<std::size_t>(a * columns.taps + b)] =
                    weights(part, member[0].tap,
                            member[1].tap + (a + 1 < lines.taps ? (lines.taps - 1 - a) * p_.strides[1] : 0),
                            member[2].tap + (b + 1 < columns.taps ? (columns.taps - 1 - b) * p_.strides[2] : 0));
        // Tiles leave rounding errors of their neighbours in taps that meet no cell.
        std::array<Scalar*, 9> own = taps;
        std::vector<Scalar> lost;
        for (Index tap = 0; tap < part.unit->taps(); ++tap) {
            const bool meets = meets_cells(1, member[1].tap + (lines.taps - 1 - tap / columns.taps) * p_.strides[1]) &&
                               meets_cells(2, member[2].tap + (columns.taps - 1 - tap % columns.taps) * p_.strides[2]);
            if (meets) continue;
            Scalar*& weight = own[static_cast<std::size_t>(tap)];
            for (Index row = 0; row < part.rows && !adds; ++row)
                std::fill_n(weight + row * inputs_, part.columns, Scalar(0));
            lost.resize(static_cast<std::size_t>(part.rows * inputs_ + width));
            weight = lost.data();
        }
        kernels_.winograd_taps({
            .planes = sums,
            .plane_stride = plane,
            .row_stride = width,
            .rows = part.rows,
            .columns = part.columns,
            .taps = own.data(),
            .weights_stride = inputs_,
            .adds = adds,
            .line_form = lines,
            .column_form = columns,
        });
        bool finite = true;
        for (Index tap = 0; tap < part.unit->taps() && finite; ++tap)
            for (Index row = 0; row < part.rows && finite; ++row)
                finite =
                    kernels_.all_finite(taps[static_cast<std::size_t>(tap)] + row * inputs_, part.columns, Scalar(1));
        return finite;
    }

    // Single taps: cells as they lie, some lines at once.
    void sum_plainly(const Part& part, Index first, Index last) const {
        static thread_local std::vector<CellRun> runs;
        const Unit& unit = *part.unit;
        const auto& axes = unit.axes;
        const Index wide = axes[2].cells(), high = axes[1].cells(), deep = axes[0].cells();
        for (Index n = 0; n < part.members; ++n) {
            const std::array<Strip, 3> member = unit.member(part.first_member + n);
            Scalar* const to = weights(part, member[0].tap, member[1].tap, member[2].tap);
            Index gathered = 0;
            bool adds = adds_ || first > 0;
            runs.clear();
            const auto flush = [&] {
                kernels_.correlate({
                    .large = y_ + part.group * p_.big + part.first_row,
                    .small = x_ + part.group * p_.small + part.first_column,
                    .runs = runs.data(),
                    .run_count = static_cast<Index>(runs.size()),
                    .large_step = p_.strides[2] * outputs_,
                    .small_step = inputs_,
                    .rows = part.rows,
                    .columns = part.columns,
                    .weights = to,
                    .weights_stride = inputs_,
                    .small_end = x_ + p_.batch * cells(p_.input) * inputs_,
                    .adds = adds,
                    .streams = true,
                });
                runs.clear();
                gathered = 0, adds = true;
            };
            for (Index at = first; at < last;) {
                const Index line = at / wide, count = std::min(last - at, std::min(wide - at % wide, tiles_of_block));
                const Index image = line / high / deep, c0 = axes[0].from + line / high % deep,
                            c1 = axes[1].from + line % high;
                const Index from = std::max(axes[2].from + at % wide, member[2].from),
                            to = std::min(axes[2].from + at % wide + count, member[2].to);
                at += count;
                if (from >= to || c0 < member[0].from || c0 >= member[0].to || c1 < member[1].from ||
                    c1 >= member[1].to)
                    continue;
                const Index o0 = c0 * p_.strides[0] + member[0].shift, o1 = c1 * p_.strides[1] + member[1].shift;
                const Index large = ((image * p_.output[0] + o0) * p_.output[1] + o1) * p_.output[2] +
                                    from * p_.strides[2] + member[2].shift;
                const Index small = ((image * p_.input[0] + c0) * p_.input[1] + c1) * p_.input[2] + from;
                runs.push_back({.large = large * outputs_, .small = small * inputs_, .count = to - from});
                if ((gathered += to - from) >= tiles_of_block) flush();
            }
            if (!runs.empty() || !adds) flush();
        }
    }

    struct Corner {
        Index image, c0, c1, c2;
    };

    // The first cell of a tile.
    static Corner corner(const Unit& unit, Index tile) {
        const auto& [outer, lines, columns] = unit.axes;
        const Index wide = columns.tiles(), high = lines.tiles(), deep = outer.cells();
        return {
            .image = tile / wide / high / deep,
            .c0 = outer.from + tile / wide / high % deep,
            .c1 = lines.from + tile / wide % high * lines.form.outputs,
            .c2 = columns.from + tile % wide * columns.form.outputs,
        };
    }

    void aim_large(const Unit& unit, const std::array<Strip, 3>& member, Index from, Index tiles,
                   const Scalar** to) const {
        const auto& [outer, lines, columns] = member;
        const auto inside = [](const Strip& strip, Index c) { return c >= strip.from && c < strip.to; };
        for (Index tile = from; tile < from + tiles; ++tile) {
            const Corner start = corner(unit, tile);
            const Index image = start.image, c0 = start.c0, c1 = start.c1, c2 = start.c2;
            const bool meets = inside(outer, c0);
            const Index o0 = meets ? c0 * p_.strides[0] + outer.shift : 0;
            const Scalar* y = y_ + (image * p_.output[0] + o0) * p_.output[1] * p_.output[2] * outputs_;
            for (Index a = c1; a < c1 + unit.lines().outputs; ++a)
                for (Index b = c2; b < c2 + unit.columns().outputs; ++b)
                    *to++ = meets && inside(lines, a) && inside(columns, b)
                                ? y + ((a * p_.strides[1] + lines.shift) * p_.output[2] + b * p_.strides[2] +
                                       columns.shift) *
                                          outputs_
                                : zeros_.data();
        }
    }

    void aim_small(const Unit& unit, Index from, Index tiles, const Scalar** to) const {
        for (Index tile = from; tile < from + tiles; ++tile) {
            const Corner start = corner(unit, tile);
            const Index image = start.image, c0 = start.c0, c1 = start.c1, c2 = start.c2;
            const Scalar* x = x_ + (image * p_.input[0] + c0) * p_.input[1] * p_.input[2] * inputs_;
            const Index i1 = c1 - unit.lines().taps + 1, i2 = c2 - unit.columns().taps + 1;
            for (Index a = i1; a < i1 + unit.lines().planes(); ++a)
                for (Index b = i2; b < i2 + unit.columns().planes(); ++b)
                    *to++ = a >= 0 && a < p_.input[1] && b >= 0 && b < p_.input[2] ? x + (a * p_.input[2] + b) * inputs_
                                                                                   : zeros_.data();
        }
    }

    const Problem& p_;
    const Kernels<Scalar>& kernels_;
    const Scalar *x_, *y_;
    Scalar* w_;
    bool adds_;
    Index inputs_, outputs_;
    std::vector<Unit> units_;
    std::vector<Scalar> zeros_;
};

}  // namespace

template <typename Scalar>
std::optional<bool> correlate_winograd(const Problem& p, const Kernels<Scalar>& kernels, bool forced, const Scalar* x,
                                       const Scalar* y, Scalar* w, bool adds) {
    if (p.batch == 0 || (!forced && std::min(p.small, p.big) < fewest_channels)) return std::nullopt;
    std::vector<Unit> all = units(p, kernels.lanes, forced);
    if (std::none_of(all.begin(), all.end(), [](const Unit& unit) { return unit.tiled(); })) return std::nullopt;
    return Tiles<Scalar>(p, kernels, std::move(all), x, y, w, adds).run();
}

template std::optional<bool> correlate_winograd<float>(const Problem&, const Kernels<float>&, bool, const float*,
                                                       const float*, float*, bool);
template std::optional<bool> correlate_winograd<double>(const Problem&, const Kernels<double>&, bool, const double*,
                                                        const double*, double*, bool);

}  // namespace backstride
