// Products of pairs of bfloat16, for processors that have AVX-512 and AVX512-BF16: the plain products alone.
#include <immintrin.h>

#include "kernels.h"

#define BACKSTRIDE_BYTES 64
#define BACKSTRIDE_REGISTERS 32
#define BACKSTRIDE_PAIRS

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,fma,prefer-vector-width=512")
namespace backstride::avx512bf16 {
#include "lanes.inl"
#include "activations.inl"
#include "products.inl"
extern void (*const multiply_row_pairs)(const Block<float>&) = multiply_rows<float>;
}  // namespace backstride::avx512bf16
#pragma GCC pop_options
