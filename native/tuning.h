// Every number that decides an algorithm, a tile or a block, and was measured or chosen, not derived, a line each:
//     constexpr type name = value;  // unit: reason
// docs/tuning.py reads them so, and writes them into docs/engine.md. Sizes of caches stand for the smallest that
// processors with these instructions have; none is read from the machine. What follows from registers and array extents
// (rows of a tile, vectors of a panel, bounds on numbers) stands where it is used; what bs.machine() measures with, in
// probe.cpp.
#pragma once

#include <cstddef>

namespace backstride::tuning {

using Index = std::ptrdiff_t;

// What all processors have in common that these kernels are written for.
namespace processor {

constexpr Index line_bytes = 64;    // bytes: of a cache line; where lines are longer, half of one
constexpr Index page_bytes = 4096;  // bytes: of a page, with which the hardware's prefetching of a stream ends

}  // namespace processor

// What processors of an instruction set have in common, by which algorithms are compared.
namespace nominal {

constexpr double multiply_adds = 2;           // vectors a cycle: two units in every server since AVX2
constexpr double loads = 2;                   // vectors a cycle: from the first-level cache, two ports
constexpr double second = 28;                 // bytes a cycle: from the second-level cache
constexpr double third = 9;                   // bytes a cycle: from the third-level cache, all threads at it
constexpr double memory = 4;                  // bytes a cycle: of one thread
constexpr double first_size = 32 << 10;       // bytes: of the first-level cache
constexpr double wide_first_size = 48 << 10;  // bytes: the same of processors with vectors of 64 bytes
constexpr double second_size = 1 << 20;       // bytes: of the second-level cache
constexpr double wide_second_size = 2 << 20;  // bytes: the same of processors with vectors of 64 bytes
constexpr double third_size = 32 << 20;       // bytes: of the third-level cache, that of all cores

}  // namespace nominal

// The model of cost.h: least squares of relative errors over 1400 layers of 1 to 64 output and 4 to 128 input channels,
// and those of the benchmark. Cycles are those of one thread.
namespace model {

constexpr double share_of_peak = 0.71;         // share: of multiply-adds; sums wait for each other, loads come between
constexpr double cycles_of_chain = 4;          // cycles: of a multiply-add whose sum the next one needs
constexpr double cycles_of_sum = 4.5;          // cycles: of a vector of sums that is cleared, saved, stored
constexpr double cycles_of_tile = 35;          // cycles: of a tile of rows: pointers, and a loop that is left
constexpr double cycles_of_row = 5;            // cycles: of a row of a block: where its result goes
constexpr double cycles_of_image = 14;         // cycles: the same where the next row is of another image
constexpr double cycles_of_pointer = 4.7;      // cycles: of a tap of a row: where its cells lie
constexpr double cycles_of_spill = 30;         // cycles: of a piece of a row of stacked cells, copied to its line
constexpr double cycles_of_block = 6000;       // cycles: of a block of tiles: pointers, meetings with other threads
constexpr double cycles_of_input = 14.7;       // cycles: of a cache line of transformed cells
constexpr double cycles_of_output = 12.7;      // cycles: of a cache line of cells that products are transformed to
constexpr double cycles_of_target = 32;        // cycles: of one of these cells: where it goes
constexpr double share_of_cache = 0.6;         // share: of a cache that weights keep beside cells
constexpr double share_of_second = 0.8;        // share: of the second-level cache, where a whole call stays
constexpr double share_of_first = 0.7;         // share: of the first-level cache that weights keep beside cells
constexpr double unlimited = 1e9;              // bytes a cycle: of weights that are at hand
constexpr double piece_of_panel = 320 << 10;   // bytes: of weights that all rows of a block pass at once
constexpr double cycles_of_lanes = 1.57;       // times: the shortest time of products of cells in the lanes
constexpr double cycles_of_transposing = 2.4;  // cycles: of a vector of cells, for each round of zipping
constexpr double cycles_of_kept = 8.4;         // cycles: of a vector of products that is kept until cells are summed
constexpr double cycles_of_copy = 2.5;         // cycles: of a vector that is copied to its place
constexpr double cycles_of_term = 0.4;         // cycles: of a vector of kept products that is added to cells
constexpr double cycles_of_cells = 11.5;       // cycles: of a vector of output cells from such sums
constexpr double cycles_of_number = 1.2;       // cycles: of an output number where streams are too many to zip
constexpr double cycles_of_line = 145;         // cycles: of an output line of such sums
constexpr Index most_zipped = 8;               // streams: that are zipped in registers
constexpr double cycles_of_channels = 13;      // cycles: of a vector of depthwise results

}  // namespace model

// The model of a convolution, whose weights are packed or transformed on the way; from times of 40 layers.
namespace convolution {

constexpr Index rows = 6;                // rows: that are multiplied at once
constexpr double product = 0.95;         // cycles: of a multiply-add of a vector
constexpr double merged_product = 0.88;  // cycles: the same where taps are merged to long runs
constexpr double packing = 20;           // cycles: of a vector of weights, from memory
constexpr double transform = 8;          // cycles: of a vector of transformed weights
constexpr double loading = 0.375;        // cycles: of a number from memory, which plain products load meanwhile
constexpr double storing = 0.5;          // cycles: of a number to memory, which plain products store meanwhile
constexpr double of_input = 5;           // cycles: of a vector of transformed cells
constexpr double of_products = 8;        // cycles: of a vector of products that are transformed back

}  // namespace convolution

// Which algorithm runs.
namespace choice {

constexpr double tie = 1.03;                       // times: as quick as the simpler one, to be chosen; less is noise
constexpr Index typical_cells[] = {4096, 64, 16};  // cells: of 1, 2, 3 axes of the call that stands for all
constexpr Index typical_stride = 1024;             // cells: of it at most; more would overflow
constexpr Index most_stacked_columns = 4096;       // columns: of stacked taps and the zeros between them
constexpr Index most_sharing_channels = 512;       // channels: of one dimension whose tiles stack all phases
constexpr std::size_t most_strand_taps = 12;       // taps: of a phase along an axis, cut into tiles
constexpr Index fewest_tiled_channels = 24;        // channels: of a convolution by tiles; fewer are mostly loads
constexpr Index fewest_tiles = 12;                 // tiles: of a convolution, whose weights are transformed anew
constexpr Index few_merged_channels = 32;          // channels: whose taps are merged, cells at borders copied
constexpr Index most_merged_products = 6144;       // products: of a cell that is copied so, or copies take long
constexpr Index fewest_matrix_channels = 8;        // channels: a quarter of what a matrix register multiplies
constexpr Index most_matrix_step = 1 << 16;        // cells: of a stride or dilation; more could overflow
constexpr Index most_repeated_transforms = 2;      // blocks: that each transform the weights of a single call
constexpr Index lines_of_vector = 2;               // lines: in a vector; more leave lanes of kept lines empty
constexpr std::size_t most_kernels = 1024;         // kernels: whose choice is remembered
constexpr std::size_t most_sizes = 64;             // sizes: of one kernel whose tiles are remembered

}  // namespace choice

// The inner loops: blocks, and what is asked for ahead of time.
namespace loops {

constexpr Index panel_bytes = 320 * 1024;  // bytes: of weights that stay in the second-level cache while all rows pass
constexpr Index few_rows = 4;              // rows: with loops of their own, as weights take longer to be read
constexpr Index transposed_ahead = 256;    // bytes: by which a row is asked for that may come from memory
constexpr Index transformed_ahead = 8;     // channels: by which taps are asked for
constexpr Index long_run = 16;             // cells: of a run of a gradient whose successor is asked for
constexpr Index narrow_bytes = 512;        // bytes: of a depthwise cell, of which many at once fit the cache
constexpr Index stretch_bytes = 16 << 10;  // bytes: of a depthwise line's cells, which stay in the first-level cache
constexpr Index least_stretch = 4;         // blocks: of such a stretch, however many channels there are
constexpr Index most_stretch = 16;         // blocks: of such a stretch, however few channels there are

}  // namespace loops

// Plain products, block by block.
namespace rows {

constexpr Index block_rows = 168;              // rows: of a block, divisible by those of every tile: 6, 8 and 12
constexpr Index long_line = 24;                // cells: of a line, so that most tiles of rows lie in one
constexpr Index fewest_images = 6;             // images: that stand beside each other, cell by cell, on short lines
constexpr Index most_taps = 64;                // taps: whose pointers are laid out at once
constexpr Index sources_in_cache = 1 << 20;    // bytes: of a block's rows that all panels may read again
constexpr Index sources_of_piece = 448 << 10;  // bytes: of rows that stay in the second-level cache beside the weights
constexpr Index sums_in_cache = 1 << 20;       // bytes: of the sums of the panels that read them
constexpr Index depth_step = 16;               // channels: a piece of the depth is a multiple, whole cache lines

}  // namespace rows

// Winograd's tiles, block by block.
namespace tiles {

constexpr Index planes_in_cache = 320 * 1024;        // bytes: that the transformed input of a block may take
constexpr Index planes_in_memory = 5 << 19;          // bytes: that it takes at most, where rows are few
constexpr Index weights_in_cache = 8 << 20;          // bytes: of weights that may be read again for each block
constexpr Index planes_of_piece = 768 * 1024;        // bytes: of that of a part of the depth, where weights are more
constexpr Index panels_at_once = 4;                  // panels: that share the transformed input of such a part
constexpr Index piece_in_cache = 256 * 1024;         // bytes: of weights that each block transforms on the way
constexpr Index piece_columns = 64;                  // columns: of these, the widest panel
constexpr Index many_rows = 2304;                    // rows: over all planes of such a block
constexpr Index fewest_rows = 24;                    // rows: of a block; fewer read weights too often
constexpr Index most_rows = 96;                      // rows: of a block; more do not stay in the cache
constexpr Index most_rows_of_piece = 4 * most_rows;  // rows: of such a block
constexpr Index row_step = 12;                       // rows: of a block of weights that are read once, a multiple
constexpr Index even_step = 24;                      // rows: of any other block, a multiple of every tile's
constexpr Index depth_step = 16;                     // channels: a piece of the depth is a multiple, whole cache lines
constexpr Index plane_gap = 16;                      // numbers: that keep planes of a cell out of one set of the cache

}  // namespace tiles

// What all sweeps have in common.
namespace run {

constexpr double products_of_piece = 1 << 19;  // products: fewer cost less than to meet in the middle of a cell
constexpr Index tasks_of_thread = 4;           // tasks: that panels are cut for, so that threads end together
constexpr Index tasks_to_stay = 8;             // tasks: of a thread; with more, one takes all phases of a block
constexpr Index numbers_of_task = 1 << 16;     // numbers: that a thread fills or looks through at once
constexpr Index least_bypass = 16 << 20;       // bytes: of results that no cache holds until they are read
constexpr Index weights_near = 5 << 18;        // bytes: of weights that stay in the second-level cache beside cells

}  // namespace run

// The order in which weights are read.
namespace packing {

constexpr Index depth_of_piece = 32;  // channels: that are transformed at once, so that all taps stay in the cache

}  // namespace packing

// Arrays in any order of axes, box by box.
namespace boxes {

constexpr Index box_bytes = 3 << 20;         // bytes: of a box's source and target cells
constexpr Index lines_of_step = 6;           // lines: of each phase, of which boxes are cut first
constexpr Index cells_of_step = 24;          // cells: of each phase, of which lines are cut first
constexpr Index numbers_of_piece = 1 << 14;  // numbers: that a thread takes at once
constexpr Index cells_at_once = 64;          // cells: that are transposed from channels first to last, or back

}  // namespace boxes

// Few output channels, whose products are overlapped.
namespace overlap {

constexpr Index most_products = 128;          // products: of a cell that are kept; with more, input lines are
constexpr Index lines_in_cache = 700 * 1024;  // bytes: of kept lines or products, in a second-level cache of 1 MiB
constexpr Index cells_of_line = 96;           // cells: of a line with which these must fit
constexpr Index piece_vectors = 4;            // vectors: of cells that meet all taps, the widest tile of 5 or 6 rows
constexpr Index most_vectors = 16;            // vectors: of cells of a box; neighbours share few of its pieces
constexpr Index nearest_cache = 32 * 1024;    // bytes: of a first-level cache, the smallest there are
constexpr Index sets_apart = 512;             // bytes: channels a multiple apart meet in too few sets of the cache
constexpr Index products_of_task = 1 << 19;   // products: fewer cost less than a thread that comes to help
constexpr Index least_lines = 8;              // lines: of a part of a plane, for each line that both parts multiply
constexpr Index least_outputs = 64;           // lines or planes: of a box of kept products
constexpr Index outputs_of_reach = 32;        // times: what two boxes both multiply, so that it is little
constexpr Index most_lines_of_box = 64;       // lines: of a box of kept lines
constexpr Index most_planes_of_box = 32;      // planes: of a box of kept lines
constexpr Index fewest_lines_of_box = 4;      // lines: of a box of kept lines with several planes, before it is doubled
constexpr Index most_lines_at_once = 16;      // lines: short ones multiplied together, so that vectors are full

}  // namespace overlap

// Depthwise, channels in the lanes.
namespace depthwise {

constexpr Index lines_of_block = 8;  // lines: that a thread takes at once

}  // namespace depthwise

// Depthwise, channels first: cells in the lanes.
namespace planes {

constexpr Index least_width = 64;              // cells: of a result's line with phases; shorter ones are transposed
constexpr Index least_width_of_stride_1 = 96;  // cells: of a result's line without phases
constexpr Index scratch_bytes = 24 << 10;      // bytes: of a box's source lines, which stay in the first-level cache
constexpr Index most_scratch_bytes = 1 << 20;  // bytes: of these with a far-reaching kernel, or boxes are transposed
constexpr Index least_lines = 4;               // lines: of a box, where the kernel does not reach further
constexpr Index least_cells = 256;             // cells: of a box's lines, where the kernel does not reach further
constexpr Index most_stride = 64;              // cells: more have too many phases
constexpr Index most_reach = 1 << 24;          // cells: more could overflow
constexpr Index cycles_of_task = 40000;        // cycles: that a thread takes at once, many times what waking it does
constexpr Index cycles_of_vector = 2;          // cycles: of a vector of results, beside those of its products

}  // namespace planes

// Kernel gradients, tap by tap.
namespace gradient {

constexpr Index bytes_at_once = 24 * 1024;    // bytes: of cells in the first-level cache while all tiles read them
constexpr Index bytes_of_block = 512 * 1024;  // bytes: of lines that stay in the second-level cache while all taps do
constexpr Index bytes_of_band = 128 * 1024;   // bytes: of weights that stay there while all lines pass
constexpr Index tile = 6;                     // rows: of the kernel in a full tile
constexpr Index fewest_cells_at_once = 64;    // cells: summed at once, however many channels there are
constexpr Index most_cells_at_once = 1024;    // cells: summed at once, however few channels there are
constexpr Index long_range = 32;              // cells: from which on the next ones are asked for with few rows, too
constexpr double least_round = 2e7;           // operations: of a round, or waking the threads counts

}  // namespace gradient

// Kernel gradients on cells that are copied into the order in which they are read.
namespace gathered {

constexpr Index bytes_of_block = 512 << 10;  // bytes: of the small side's cells in the second-level cache, for all rows
constexpr Index fewest_cells = 128;          // cells: of a block, however many channels there are
constexpr Index most_cells = 512;            // cells: of a block, however few channels there are
constexpr Index panels_of_part = 4;          // panels: of the small side's channels, which a thread takes at once
constexpr Index height = 12;                 // rows: of a tile, as many as leave registers for a row of the small side
constexpr Index tiles_of_band = 4;           // tiles: that are copied at once, whole lines of the cache
constexpr Index least_copied = 48;           // rows: that pay for a copy of the small side
constexpr Index ahead = 12;                  // cells: by which copies are asked for: nothing else fetches them
constexpr Index tasks_of_thread = 2;         // tasks: that rows are cut for, so that threads end together
constexpr Index least_cells = 24;            // cells: of all images; products of fewer do not pay for copies
constexpr Index fewest_panels = 2;           // panels: of the small side, or fewer: cells are read too seldom
constexpr double least_share = 0.8;          // share: of meetings of cells and taps that lie inside; others copy zeros

}  // namespace gathered

// Kernel gradients by Winograd's tiles.
namespace gradient_tiles {

constexpr Index fewest_channels = 24;       // channels: on both sides; fewer are mostly transforms
constexpr Index tiles_of_block = 64;        // tiles: whose sums stay in registers
constexpr Index tiles_of_round = 4096;      // tiles: of a task, after which sums are transformed into taps
constexpr Index most_rows = 256;            // rows: of a part
constexpr Index fewest_rows = 64;           // rows: of a part, where there are parts enough for all threads
constexpr Index fewest_of_all = 12;         // rows: of a part, where a thread would be left without
constexpr Index columns_of_part = 128;      // columns: of a part
constexpr Index tasks_of_thread = 2;        // tasks: that rows are cut for, so that threads end together
constexpr Index most_joined = 17;           // sixteenths: of a strip's products, up to which another joins it
constexpr double cycles_of_plain = 1.12;    // cycles: of a vector's product, tap by tap
constexpr double cycles_of_transform = 20;  // cycles: of a vector into all planes of a tile, for each of them
constexpr double cycles_of_taps = 9;        // cycles: of a vector of sums into taps, for each plane

}  // namespace gradient_tiles

// Convolutions by tiles of four outputs along one axis.
namespace axis {

constexpr Index strips_of_round = 4;  // strips: their number is a multiple, so that as many threads get the same

}  // namespace axis

// Columns of a matrix product with weights as they lie.
namespace columns {

constexpr Index numbers_of_task = 1 << 15;  // numbers: that a thread takes at once
constexpr Index channel_step = 16;          // channels: of a task, channels last, whole cache lines

}  // namespace columns

// bfloat16 in matrix registers.
namespace matrices {

constexpr Index sources_of_box = 512 << 10;  // bytes: of cells that stay in the second-level cache beside weights
constexpr Index results_of_box = 768 << 10;  // bytes: of results, of which every phase writes a part
constexpr Index few_weights = 512 << 10;     // bytes: of weights that may be read again for more boxes
constexpr Index most_channels_of_run = 32;   // channels: with which neighbouring taps share a product
constexpr Index page_of_cells = 1024;        // bytes: rows that lie a multiple apart meet in the same sets of the cache

}  // namespace matrices

// Threads between calls.
namespace threads {

constexpr int patience = 60;                  // microseconds: of looking for a call before sleep; waking takes as long
constexpr int looks = 16;                     // looks: for it between two at the clock
constexpr int questions = 20;                 // milliseconds: between two questions whether Ctrl-C was pressed
constexpr Index products_of_pause = 1 << 16;  // products: of plain loops before they ask again

}  // namespace threads

// The memory of results.
namespace memory {

constexpr std::size_t least_kept = std::size_t(1) << 20;   // bytes: of a result; fresh memory costs a fault a page
constexpr std::size_t most_kept = std::size_t(256) << 20;  // bytes: of all memory that is kept
constexpr std::size_t piece = std::size_t(256) << 10;      // bytes: of arrays that a thread compares at once
constexpr std::size_t least_shared = 4 * piece;            // bytes: of arrays that all threads compare

}  // namespace memory

}  // namespace backstride::tuning
