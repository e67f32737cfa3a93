// All kernels of one instruction set: one generic source, compiled once per set inside its own
// namespace and target region. BACKSTRIDE_BYTES is the width of a vector register,
// BACKSTRIDE_REGISTERS how many there are. No standard library here: an inline function compiled
// for AVX-512 could be the copy that the linker keeps for everybody.

#include "lanes.inl"
#include "activations.inl"
#include "products.inl"
#include "depthwise.inl"
#include "depthwise_planes.inl"
#include "correlate.inl"
#include "winograd.inl"
#include "axis_tiles.inl"
#include "overlap.inl"
#include "storage.inl"

template <typename Scalar>
constexpr Kernels<Scalar> kernels(const char* name) {
    return {
        .name = name,
        .lanes = Lanes<Scalar>::count,
        .panel_vectors = panel_vectors,
        .multiply_rows = multiply_rows<Scalar>,
        .depthwise_line = depthwise_line<Scalar>,
        .depthwise_kernel = depthwise_kernel<Scalar>,
        .part_line = part_line<Scalar>,
        .plane_lines = plane_lines<Scalar>,
        .correlate = correlate<Scalar>,
        .correlate_depthwise = correlate_depthwise<Scalar>,
        .transpose = transpose<Scalar>,
        .copy_lines = copy_lines<Scalar>,
        .lane_product = lane_product<Scalar>,
        .interleave = interleave<Scalar>,
        .all_finite = all_finite<Scalar>,
        .winograd_input = winograd_input<Scalar>,
        .winograd_weights = winograd_weights<Scalar>,
        .winograd_output = winograd_output<Scalar>,
        .winograd_large = winograd_large<Scalar>,
        .winograd_taps = winograd_taps<Scalar>,
        .axis_tiles = axis_tiles<Scalar>,
        .widen = widen<Scalar>,
        .narrow = narrow<Scalar>,
    };
}
