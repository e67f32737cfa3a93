// The contract between the kernels, which are compiled once per instruction set (kernels.inl), and
// everything else: the records that they are given, and the table of them, one function for each
// record. Only plain types stand here: pointers, integers, no standard library.
//
// Steps, strides and pitches count numbers, not bytes. Records are filled by the names of their
// fields. Where nothing else is said, kernels read and write what their record describes and no
// more, and sum in an order that follows from the record alone, not from threads or addresses.
#pragma once

#include "integers.h"
#include "tuning.h"

namespace backstride {

// Half precision in memory; computed in single. `pairs`: two channels of bfloat16 are read as they stand, in the place
// of one number.
using Half = unsigned short;
enum class Storage : int { float16, bfloat16, pairs };

enum class Activation : int { none, relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu };

// Rows of an implicit matrix product: row r is the sum over taps of rows[tap*stride + r] (`depth`
// numbers each) times the packed weights of that tap, plus bias, activated, written to targets[r].
template <typename Scalar>
struct Block {
    const Scalar* const* rows = nullptr;  // [taps][row_stride] pointers; `zero` where a tap meets no input
    Index row_stride = 0, row_count, taps, depth;
    Index source_offset = 0, target_offset = 0;  // added to every pointer: the channels of a group
    const Scalar* zero = nullptr;
    Scalar* const* targets = nullptr;  // [row_count]
    const Scalar* weights = nullptr;   // packed panels
    const Scalar* bias = nullptr;      // padded like the panels, or null
    Index columns;                     // output channels of the group
    Index first_panel = 0, last_panel;
    Activation activation = Activation::none;
    Scalar* scratch = nullptr;  // row_count * panel width numbers
    bool streams = false;       // whether rows and targets are met for the first time, in memory
    bool bypasses = false;      // whether results are too many for the caches
    bool begins =
        true;          // whether sums begin here, or go on with those in scratch: row after row of the panel's vectors
    bool ends = true;  // whether they end here, or stay there
    const Scalar* next_weights = nullptr;  // where weights come from slower caches: those that are needed after these
};

// Depthwise, cells of one line that meet the same taps: cell n is the sum over taps of sources[tap][n*source_step + c]
// times weights[tap][c], plus bias, activated, written to target + n*target_step.
template <typename Scalar>
struct DepthwiseLine {
    const Scalar* const* sources;
    const Scalar* const* weights;
    Index taps, count, source_step, target_step;
    Scalar* target;
    const Scalar* bias;  // or null
    Index columns;       // of the panel
    Activation activation;
};

// Depthwise, a whole line of target cells, by blocks: block n of a transposed convolution is the `stride` cells from
// n*stride - before on, which read the source cells n, n - 1, ...; that of a convolution is cell n, which reads the
// source cells from n*stride - before on. Each line of taps has a source line and the weights of its taps.
template <typename Scalar>
struct DepthwiseBlocks {
    const Scalar* const* sources;
    const Scalar* const* weights;
    Index lines, weight_step;  // from a tap to the next
    Index source_cells, target_cells, before;
    Index low, high;  // the blocks that lie inside, with all their source cells
    Index step;       // from a cell to the next, on both sides
    Scalar* target;
    const Scalar* bias;  // or null
    Index columns;
    Activation activation;
};

template <typename Scalar>
using DepthwiseKernel = void (*)(const DepthwiseBlocks<Scalar>&);

// A line of cells in `streams` (1, 2, 4 or 8) parts, each cell's by the rest of its place, between zeros: stream n,
// n*pitch from `to` on, gets `left` zeros, its cells, and zeros up to `total`; whole vectors are written.
template <typename Scalar>
struct PartLine {
    const Scalar* from;
    Index count, streams;
    Scalar* to;
    Index pitch, left, total;
    Index ahead;  // from a cell to one that is read soon
};

// Depthwise, cells of a line in the lanes, for `rows` (1, 2 or 4) target lines that read the same source cells: cell
// n*stride + s of line r is bias plus the sum of source[offsets[t] + n] * weights[t*rows + r] over the counts[s] terms
// of s, activated; the terms of all s < stride (1, 2, 4 or 8) follow each other. Whole vectors are read.
template <typename Scalar>
struct PlaneLines {
    const Scalar* source;
    const Index* offsets;
    const Scalar* weights;
    const Index* counts;
    Index rows, stride, cells;
    Scalar* const* targets;
    Index ahead;  // from a cell to one that is written soon
    Scalar bias;
    Activation activation;
};

// Sums over cells for one tap: weights[b][c] += large[run][cell*large_step + b] * small[run][cell*small_step + c].
struct CellRun {
    Index large, small, count;  // offsets of the first cells of a run, and its length
};

template <typename Scalar>
struct Correlation {
    const Scalar *large, *small;
    const CellRun* runs;
    Index run_count, large_step, small_step;
    Index rows, columns;  // b < rows, c < columns
    Scalar* weights;      // [rows][weights_stride]
    Index weights_stride;
    const Scalar* small_end;  // behind the last number that may be read
    bool adds = true;         // to weights that are there; otherwise they are written
    bool streams = false;     // whether cells are met for the first time, in memory
};

// One axis of a Winograd tile: `outputs` sums of `taps` products each from outputs + taps - 1 inputs, by as many
// multiplications. F(2,2), F(3,2), F(2,3), or F(1,1), which is a plain product.
struct Form {
    Index outputs = 1, taps = 1;
    Index planes() const { return outputs + taps - 1; }
    bool operator<(const Form& other) const {
        return outputs < other.outputs || (outputs == other.outputs && taps < other.taps);
    }
    bool operator==(const Form& other) const { return outputs == other.outputs && taps == other.taps; }
};

// Tiles of input cells into the planes of their products: planes[plane][tile][channel].
template <typename Scalar>
struct WinogradInput {
    const Scalar* const* cells;  // [tiles][planes], `zero` outside of the input
    Index tiles, depth, source_offset;
    Scalar* planes;
    Index plane_stride, tile_stride;
    Form line_form, column_form;
};

// The taps of a tile, as [depth][columns] `step` numbers apart, into the weights of its planes:
// planes[plane][depth][column], `width` columns in whole vectors, zero beyond the last.
template <typename Scalar>
struct WinogradWeights {
    const Scalar* const* taps;  // [line_form.taps][column_form.taps] by rising inputs, null where there is none
    Index step, depth, columns, width;
    Scalar* planes;
    Index plane_stride;
    Form line_form, column_form;
};

// Sums in planes[plane][row][column] into the taps of a kernel's gradient: taps[tap] + row*weights_stride.
template <typename Scalar>
struct WinogradTaps {
    const Scalar* planes;
    Index plane_stride, row_stride, rows, columns;
    Scalar* const* taps;  // [line_form.taps][column_form.taps]
    Index weights_stride;
    bool adds;
    Form line_form, column_form;
};

// Products in planes[plane][tile][vector] into the output cells of their tiles, biased and activated.
template <typename Scalar>
struct WinogradOutput {
    const Scalar* planes;
    Index plane_stride, tile_stride, tiles;
    Scalar* const* targets;  // [tiles][outputs], null outside of the output
    Index target_offset;     // the channels of a group
    const Scalar* bias;
    Index column, columns;  // the first column of the panel, and how many the group has
    Activation activation;
    Form line_form, column_form;
    bool bypasses = false;
};

// A matrix transposed: to[column*pitch + row] = from[row*step + column]; with `pad`, each row of `to` gets
// zeros behind the last number, up to a whole vector.
template <typename Scalar>
struct Transposition {
    const Scalar* from;
    Index step, rows, columns;
    Scalar* to;
    Index pitch;
    bool pad = false;
};

// Lines copied: to[line*pitch + n] = from[line*step + n] for n < count, and zeros up to a whole vector.
template <typename Scalar>
struct LineCopies {
    const Scalar* from;
    Index step, lines, count;
    Scalar* to;
    Index pitch;
};

// Cells in the lanes: sums[row][cell] = sum over lines and depth of weights[line][c][row] * lines[line][c*pitch +
// cell], for at most 6 rows and whole vectors of cells.
template <typename Scalar>
struct LaneProduct {
    const Scalar* const* lines;
    const Scalar* const* weights;
    Index count, depth, pitch;
    Index rows, vectors;
    Scalar* sums;
    Index sums_pitch;
    const Scalar* next_cells =
        nullptr;  // two numbers, next_apart, in each of `depth` cache lines, next_step apart, that are needed next
    Index next_step = 0, next_apart = 0;
};

// The rows of a full tile of so many vectors: as many as leave registers for one row of weights. 6x4, 8x3, 12x2, 12x1
// of 32 registers; 6x2, 8x1 of 16.
constexpr Index tile_rows(Index registers, Index vectors) {
    return vectors == 1 ? (registers == 32 ? 12 : 8) : (registers - registers / 4) / vectors;
}

constexpr Index most_lane_rows = 6;
constexpr Index most_excess = 8;

// Streams of cells beside each other, activated after the bias and the sum of what all sources hold at the stream's
// offsets: for every cell and stream, to[cell*count + n] = activation(bias[n] + sum of sources[s][offsets[n][o] +
// cell]), by rising o, then s.
template <typename Scalar>
struct Interleave {
    const Scalar* const* sources;
    Index source_count;
    const Index* offsets;        // one after the other, stream by stream
    const Index* offset_counts;  // of each stream
    const Scalar* bias;          // of each stream, or null
    Index count, vectors;
    Activation activation;
    Scalar* scratch;  // count * vectors vectors
    Scalar* to;       // as many, and most_excess numbers behind them, which may be overwritten
};

// Tiles along one axis: row r of tile t at place n is the sum over points p of matrix[r][p] times
// from[t*from_tile + n*from_next + p*from_point + c], for every channel c, and goes to[t*to_tile + n*to_next + r*to_row
// + c]. 6 points in 6 or 4 rows, or 7 in 7 or 4.
template <typename Scalar>
struct AxisTiles {
    const Scalar* matrix;  // [rows][points]
    Index points, rows;
    Index tiles, distance, channels;
    const Scalar* from;
    Index from_tile, from_next, from_point;
    Scalar* to;
    Index to_tile, to_next, to_row;
};

// Tiles add numbers that one output does not read. So that nothing overflows where sums of the products themselves do
// not, they take numbers below 2^60 and weights below 2^40 in single precision (2^480 and 2^320 in double), for up to
// 2^20 products of a sum: transforms let each of them grow 2^8 times at most. These factors make greater numbers
// infinite.
template <typename Scalar>
constexpr Scalar scale_of_numbers = sizeof(Scalar) == 4 ? Scalar(0x1p68f) : Scalar(0x1p544);
template <typename Scalar>
constexpr Scalar scale_of_weights = sizeof(Scalar) == 4 ? Scalar(0x1p88f) : Scalar(0x1p704);

template <typename Scalar>
struct Kernels {
    const char* name;
    Index lanes;          // numbers in a vector
    Index panel_vectors;  // vectors in a full panel
    void (*multiply_rows)(const Block<Scalar>&);
    void (*depthwise_line)(const DepthwiseLine<Scalar>&);
    // Null where there is none; the fewest columns are a vector, and the last activation is relu.
    DepthwiseKernel<Scalar> (*depthwise_kernel)(bool transpose, Index stride, Index taps);
    void (*part_line)(const PartLine<Scalar>&);
    void (*plane_lines)(const PlaneLines<Scalar>&);
    void (*correlate)(const Correlation<Scalar>&);
    void (*correlate_depthwise)(const Correlation<Scalar>&);  // rows do not count
    void (*transpose)(const Transposition<Scalar>&);
    void (*copy_lines)(const LineCopies<Scalar>&);
    void (*lane_product)(const LaneProduct<Scalar>&);
    void (*interleave)(const Interleave<Scalar>&);
    bool (*all_finite)(const Scalar*, Index, Scalar scale);  // times the scale
    void (*winograd_input)(const WinogradInput<Scalar>&);
    void (*winograd_weights)(const WinogradWeights<Scalar>&);
    void (*winograd_output)(const WinogradOutput<Scalar>&);
    void (*winograd_large)(
        const WinogradInput<Scalar>&);  // the large side of a kernel's gradient: cells are [tiles][outputs]
    void (*winograd_taps)(const WinogradTaps<Scalar>&);
    void (*axis_tiles)(const AxisTiles<Scalar>&);
    void (*widen)(const Half* from, Index count, Scalar* to, Storage);
    void (*narrow)(const Scalar* from, Index count, Half* to, Storage);
};

}  // namespace backstride
