// Every number that decides an algorithm, a tile or a block, and was measured or chosen rather than derived: with its unit and
// its reason. Sizes of caches stand for the smallest that processors with these instructions have. None is read from the machine.
#pragma once

#include <cstddef>

namespace backstride::tuning {

using Index = std::ptrdiff_t;

// The model of cost.h: cycles of one thread, as least squares of relative errors give them over 1400 layers of 1 to 64 output
// and 4 to 128 input channels, and the benchmark's.
namespace model {

constexpr double share_of_peak = 0.71;        // of multiply-adds: sums that wait for each other, loads beside them
constexpr double cycles_of_chain = 4;         // a multiply-add whose sum the next one needs
constexpr double cycles_of_sum = 4.5;         // a vector of sums: cleared, saved, stored
constexpr double cycles_of_tile = 35;         // a tile of rows: pointers, a loop that is left
constexpr double cycles_of_row = 5;           // a row of a block: where its result goes
constexpr double cycles_of_image = 14;        // the same where the next row is of another image
constexpr double cycles_of_pointer = 4.7;     // a tap of a row: where its cells lie
constexpr double cycles_of_spill = 30;        // a piece of a row of stacked cells that is copied to its line
constexpr double cycles_of_block = 6000;      // of tiles: pointers to cells, meetings with other threads
constexpr double cycles_of_input = 14.7;      // a cache line of transformed cells
constexpr double cycles_of_output = 12.7;     // a cache line of cells that products are transformed to
constexpr double cycles_of_target = 32;       // a cell of them: where it goes
constexpr double share_of_cache = 0.6;        // that weights keep beside cells
constexpr double piece_of_panel = 320 << 10;  // bytes of weights that all rows of a block pass before the next ones come
constexpr double cycles_of_lanes = 1.57;      // by the shortest time of products of cells in the lanes
constexpr double cycles_of_turning = 2.4;     // a vector of cells turned, for each round of zipping
constexpr double cycles_of_kept = 8.4;        // a vector of products that is kept until cells are summed from them
constexpr double cycles_of_copy = 2.5;        // a vector that is copied to its place
constexpr double cycles_of_term = 0.4;        // one of them that is added to cells
constexpr double cycles_of_cells = 11.5;      // a vector of output cells from such sums
constexpr double cycles_of_number = 1.2;      // an output number where more than 8 streams stand beside each other
constexpr double cycles_of_line = 145;        // an output line of them
constexpr Index most_zipped = 8;              // streams that are zipped in registers
constexpr double cycles_of_channels = 13;     // a vector of depthwise results

}  // namespace model

// The model of a convolution, whose weights are packed or transformed on the way: cycles of a vector, from times of 40 layers.
namespace convolution {

constexpr Index rows = 6;                           // that are multiplied at once
constexpr double product = 0.95;                    // a multiply-add,
constexpr double merged_product = 0.88;             // where taps are merged to long runs
constexpr double packing = 20, transform = 8;       // weights, from memory
constexpr double loading = 0.375, storing = 0.5;    // a number from and to memory, which a plain product moves meanwhile
constexpr double of_input = 5, of_products = 8;     // transformed

}  // namespace convolution

// Which algorithm.
namespace choice {

constexpr double tie = 1.03;                               // times as quick as the simpler one, to be chosen: less is noise, and differs between processors
constexpr Index typical_cells[] = {4096, 64, 16};          // of an axis, by how many there are: blocks are many, and all data lies in the second-level cache
constexpr Index typical_stride = 1024;                     // more would overflow, and leaves the rest of a result untouched
constexpr Index most_stacked_columns = 4096;               // zeros between stacked taps are packed, too
constexpr Index most_sharing_channels = 512;               // of a layer of one dimension, whose tiles stack all phases: with more, products take too long to gain
constexpr Index fewest_tiled_channels = 24;                // of a convolution, on both sides: cells of fewer take longer to load than to multiply
constexpr Index fewest_tiles = 12;                         // of a convolution, that share weights which are transformed on the way
constexpr Index few_merged_channels = 32;                  // of a convolution: taps of few are merged, though cells at the borders are copied,
constexpr Index most_merged_products = 6144;               // if these copies are short
constexpr Index fewest_matrix_channels = 8;                // a quarter of what a matrix register multiplies at once
constexpr Index most_passing_blocks = 2;                   // of tiles that each transform the weights of a single call again
constexpr std::size_t most_kernels = 1024, most_sizes = 64;  // whose choice is remembered; and sizes of one kernel

}  // namespace choice

// Plain products, block by block.
namespace rows {

constexpr Index most_taps = 64;                // whose pointers are laid out at once
constexpr Index sources_in_cache = 1 << 20;    // bytes of a block's rows that all panels may read again,
constexpr Index sources_of_piece = 448 << 10;  // of those that stay in the second-level cache beside the weights
constexpr Index sums_in_cache = 1 << 20;       // and of the sums of those panels

}  // namespace rows

// Winograd's tiles, block by block.
namespace tiles {

constexpr Index planes_in_cache = 320 * 1024;     // bytes that the transformed input of a block may take,
constexpr Index planes_in_memory = 5 << 19;       // and at most, where rows are few
constexpr Index weights_in_cache = 8 << 20;       // that may be read again for each block;
constexpr Index planes_of_piece = 768 * 1024;     // with larger ones, of a part of the depth, whose transforms are repeated for each panels_at_once
constexpr Index piece_in_cache = 256 * 1024;      // of weights that are transformed on the way, again for each block:
constexpr Index many_rows = 2304;                 // over all planes of such a block
constexpr Index fewest_rows = 24, most_rows = 96;  // of a block: fewer read weights too often, more do not stay in the cache
constexpr Index row_step = 12;                    // divisible by the rows of every tile of weights that are read once

}  // namespace tiles

// What all of them have in common; and depthwise lines.
namespace run {

constexpr double products_of_piece = 1 << 19;  // fewer cost less than to meet in the middle of a cell
constexpr Index least_bypass = 16 << 20;       // bytes of results that no cache holds until they are read
constexpr Index weights_near = 5 << 18;        // bytes of weights that stay in the second-level cache beside cells
constexpr Index lines_of_block = 8;            // of depthwise lines, which a thread takes at once

}  // namespace run

// bfloat16 in matrix registers.
namespace matrices {

constexpr Index sources_of_box = 512 << 10;      // bytes of cells that stay in the second-level cache beside weights,
constexpr Index results_of_box = 768 << 10;      // and of the results, which phases write a part of each, where
constexpr Index few_weights = 512 << 10;         // can be read again for more boxes
constexpr Index most_channels_of_run = 32;       // with which neighbouring taps share a product

}  // namespace matrices

}  // namespace backstride::tuning
