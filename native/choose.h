// Which algorithm runs, how many phases are stacked, and which tiles: what costs least by the
// nominal rates of the instruction set (cost.h). So a choice follows from layer, sizes and
// instruction set alone, never from what was measured on this machine, and neither do the bits of
// results.
#pragma once

#include <utility>
#include <vector>

#include "cost.h"

namespace backstride {

// How conv_transpose is computed; `automatic` chooses by the kernel alone (see algorithm_of).
enum class Algorithm : int { automatic, phases, stacked, winograd, overlap, depthwise, definition };

struct Choice {
    Algorithm algorithm = Algorithm::automatic;
    bool winograd = true;  // whether `automatic` may choose it
    bool pairs = false;    // whether the kernel holds two channels of bfloat16 in the place of each number,
    Stack stack{1, 1, 1};  // stacked as it is without
};

// With few output channels, vectors are filled with neighbouring output cells, of the innermost axis, whose cells lie
// beside each other in memory anyway, or of all axes: whichever makes a typical call of a transposed convolution
// cheapest, as plain products or as tiles. By the kernel alone.
template <typename Scalar>
Stack choose_stack(const Problem& problem, const Kernels<Scalar>& kernels, bool tiles);

// What may be forced for the kernel of a transposed convolution.
template <typename Scalar>
std::vector<Algorithm> algorithms_for(const Problem& problem, const Kernels<Scalar>& kernels);

// Whether each channel is a group of its own.
bool is_depthwise(const Problem& problem);

// The rule of `automatic`, by the kernel alone: what costs least in a typical call, the simpler one of nearly the same.
// A convolution takes tiles from so many channels on, where they pay.
template <typename Scalar>
Algorithm algorithm_of(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const Choice& choice);

// A sweep, or part of its outputs, and how it runs.
struct Tiled {
    Sweep sweep;
    Forms forms;
};

// The cheapest tiles for a sweep, or F(1,1) where none pays, unless they are forced. Where weights are not stored, maps
// are cut into parts of different tiles that leave less of them empty.
template <typename Scalar>
std::vector<Tiled> choose_tiles(const Problem& problem, const Side& side, const Sweep& sweep,
                                const Kernels<Scalar>& kernels, bool forced);

// What a transposed convolution takes by each algorithm that may run, cycles of one thread; `forced`: tiles wherever
// they may run.
template <typename Scalar>
std::vector<std::pair<Algorithm, Cost>> predictions(const Problem& problem, const Kernels<Scalar>& kernels, bool forced,
                                                    const Rates& rates);

}  // namespace backstride
