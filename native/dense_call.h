// One call as the algorithms see it: the sweeps, the packed weights of each, and where results go.
// Source (batch, *size, channels) and target likewise, contiguous, three spatial axes; a kernel
// (*kernel, big, groups*small).
//
// Declares how a block of a sweep runs (rows.cpp, winograd.cpp, depthwise.cpp), how weights are
// laid out for it (pack.cpp), and how all blocks run on all threads (run.cpp). A cell of the target
// is written by one task, and its sum has one order of terms: the same bits for any number of
// threads.
#pragma once

#include <array>
#include <vector>

#include "kernels.h"
#include "sweep.h"
#include "tuning.h"

namespace backstride {

// How a sweep runs along its two inner axes: F(1,1) on both for a plain product over its taps.
struct Forms {
    Form lines, columns;
    bool tiled() const { return lines.outputs * columns.outputs > 1; }
    Index planes() const { return lines.planes() * columns.planes(); }
    bool operator<(const Forms& other) const {
        return lines == other.lines ? columns < other.columns : lines < other.lines;
    }
};

constexpr std::size_t most_tile_taps = 3;  // along one axis
constexpr Index rows_beyond = 16;          // that a tile of rows may read behind the last one: no tile has more

// Whether rows are ordered cell by cell, the images of a cell beside each other, so that products over taps leave out
// what lies outside of the source.
inline bool images_inside(const Problem& problem, const Sweep& sweep) {
    return problem.batch >= tuning::rows::fewest_images && sweep.axes[2].count < tuning::rows::long_line;
}

// The planes of one axis that a strand adds to: the last one has no share in a strand that lacks the last tap.
inline Index planes_of(const Strand& strand, const Form& form) {
    return form.planes() - (static_cast<Index>(strand.taps.size()) < form.taps ? 1 : 0);
}

inline Index products_of(const Term& term, const Forms& forms) {
    return planes_of(*term.lines, forms.lines) * planes_of(*term.columns, forms.columns);
}

// The numbers of each tap of a term, by rising inputs, from number(place, tap); null where a strand is too short.
template <typename Scalar, typename Number>
void point_taps(const Term& term, const Forms& forms, std::vector<const Scalar*>& pointers, const Number& number) {
    const auto &lines = term.lines->taps, &columns = term.columns->taps;
    for (std::size_t a = 0; a < static_cast<std::size_t>(forms.lines.taps); ++a)
        for (std::size_t b = 0; b < static_cast<std::size_t>(forms.columns.taps); ++b) {
            const std::size_t place = a * static_cast<std::size_t>(forms.columns.taps) + b;
            const bool has = a < lines.size() && b < columns.size();
            pointers[place] = has ? number(static_cast<Index>(place), Axes{term.tap, lines[a], columns[b]}) : nullptr;
        }
}

// What both directions have in common: depth channels of the source give columns of the target, which are
// the channels of a group, times the stacked cells. Depthwise, all groups are the columns of one.
struct Side {
    Stack stack;
    bool transpose;
    bool depthwise;
    bool transforms_on_the_fly;  // whether blocks of tiles transform the weights that they need, from the kernel as it
                                 // came
    Index merged;                // taps that the depth holds
    Index groups, depth, channels, columns, source_channels, target_channels;
    Axes source, target;
    Side(const Problem& problem, const Stack& chosen, bool transpose, Index merged, bool used_once = false)
        : stack(chosen), transpose(transpose), depthwise(problem.groups > 1 && problem.small == 1 && problem.big == 1),
          transforms_on_the_fly(!transpose || used_once), merged(merged), groups(depthwise ? 1 : problem.groups),
          depth((transpose ? problem.small : problem.big) * merged),
          channels(depthwise ? problem.groups : (transpose ? problem.big : problem.small)),
          columns(channels * stack[0] * stack[1] * stack[2]),
          source_channels((transpose ? problem.small : problem.big) * problem.groups),
          target_channels(channels * groups), source(transpose ? problem.input : problem.output),
          target(transpose ? problem.output : problem.input) {}
};

template <typename Scalar>
struct Epilogue {
    const Scalar* bias;  // one number per output channel, or null
    Activation activation;
};

// The arrays of a call: the kernel as it came, (*kernel, big, groups*small), and packed; source and target,
// (batch, *cells, channels).
template <typename Scalar>
struct Arrays {
    const Scalar *kernel, *packed, *source;
    Scalar* target;
};

// A row of stacked cells that could not be written in place, and the output cell of its first one, which
// may lie outside.
template <typename Scalar>
struct Spill {
    const Scalar* row;
    Index image, t0, t1, t2;
};

template <typename Scalar>
struct DenseCall {
    const Problem& problem;
    const Kernels<Scalar>& kernels;
    const Side& side;
    const std::vector<Sweep>& sweeps;
    const std::vector<Forms>& forms;
    std::vector<const Scalar*> weights;  // of each sweep, packed
    const Scalar* source;
    Scalar* target;
    Activation activation;
    const Scalar* kernel;  // as it came: (*kernel, big, groups*small)
    Index stride;          // columns of a group, padded to whole vectors
    bool bypasses;         // whether results are too many for the caches
    bool prefetches_weights =
        false;  // whether weights are too many for the second-level cache: they are asked for ahead of time
    std::vector<Scalar> zeros;  // a source cell outside of the input
    std::vector<Scalar> bias;   // padded like the columns, or empty

    DenseCall(const Problem& problem, const Kernels<Scalar>& kernels, const Side& side,
              const std::vector<Sweep>& sweeps, const std::vector<Forms>& forms, const Arrays<Scalar>& arrays,
              const Epilogue<Scalar>& epilogue);

    Index panel_width() const { return kernels.panel_vectors * kernels.lanes; }
    Index panels() const { return ceil_div(side.columns, panel_width()); }
    // Those of the next sweep, or null.
    const Scalar* weights_after(Index sweep) const {
        const auto next = static_cast<std::size_t>(sweep + 1);
        return prefetches_weights && next < weights.size() ? weights[next] : nullptr;
    }
    const Scalar* bias_of(Index group) const { return bias.empty() ? nullptr : bias.data() + group * stride; }

    // Where a row of columns goes: in place, or beside, to be scattered, where its stacked cells do not lie together.
    // Null where the cell lies outside of the target.
    Scalar* aim(Index image, Index t0, Index t1, Index t2, Scalar* beside, std::vector<Spill<Scalar>>& spills) const;

    // Write those columns in [from, to) of a spilled row that are inside of the output.
    void scatter(const Spill<Scalar>& spill, Index from, Index to) const;
};

// How many numbers the packed weights of a sweep take, all groups.
Index packed_size(const Side& side, const Sweep& sweep, const Forms& forms, Index lanes);

// What a task computes: the panels [first_panel, last_panel) of a group in a block of a sweep.
struct BlockTask {
    Index sweep, block, group, first_panel, last_panel;
};

// Blocks of a sweep, which are independent of each other, and one of them.
template <typename Scalar>
Index row_blocks(const DenseCall<Scalar>& call, const Sweep& sweep);
template <typename Scalar>
void run_rows(const DenseCall<Scalar>& call, const BlockTask& task);
template <typename Scalar>
Index line_blocks(const DenseCall<Scalar>& call);  // of all sweeps together, as they run
template <typename Scalar>
void run_lines(const DenseCall<Scalar>& call, const BlockTask& task);
template <typename Scalar>
Index winograd_blocks_of(const Problem& problem, const Side& side, const Sweep& sweep, const Forms& forms);
template <typename Scalar>
Index winograd_blocks(const DenseCall<Scalar>& call, const Sweep& sweep, const Forms& forms);
template <typename Scalar>
void run_winograd(const DenseCall<Scalar>& call, const BlockTask& task);

// Whether some target cells meet no tap at all, as with strides larger than the kernel.
bool has_gaps(const Side& side, const std::vector<Sweep>& sweeps);

// All of it, on all threads; and cells that no tap reaches hold what they should.
template <typename Scalar>
void run_all(const DenseCall<Scalar>& call);

// The weights of one sweep in the order in which its blocks read them, unless they transform them as they go; w is
// (*kernel, big, groups*small).
template <typename Scalar>
void pack(const Problem& problem, const Side& side, const Sweep& sweep, const Forms& forms,
          const Kernels<Scalar>& kernels, const Scalar* w, Scalar* packed);

// Columns of a group in a piece of the depth, and of them the first that is wanted.
struct Patch {
    Index group, column, width, from, depth;
};

// The weights of a term of tiles there, transformed into planes a `pitch` apart; `laid` takes all taps of a tile.
template <typename Scalar>
void transform_weights(const Problem& problem, const Side& side, const Term& term, const Forms& forms,
                       const Kernels<Scalar>& kernels, const Scalar* w, const Patch& patch, Scalar* laid, Scalar* to,
                       Index pitch);

// The weights of all sweeps of a depthwise kernel: tap by tap as they came, in whole vectors.
template <typename Scalar>
void pack_depthwise(const Problem& problem, Index lanes, const Scalar* w, Scalar* packed);

}  // namespace backstride
