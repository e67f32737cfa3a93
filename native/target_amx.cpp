// AMX: products of bfloat16 in matrix registers, 8 of 16 by 64 bytes. Their instructions stand as
// text, so that a compiler need not know more than its assembler does.
#include "matrices.h"

#ifdef BACKSTRIDE_AMX
#include <immintrin.h>

#define BACKSTRIDE_BYTES 64
#define BACKSTRIDE_REGISTERS 32

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,fma,prefer-vector-width=512")
namespace backstride::amx {
#include "lanes.inl"
#include "activations.inl"
#include "storage.inl"
#include "matrices.inl"
extern const MultiplyMatrices multiply_matrices = multiply;
}  // namespace backstride::amx
#pragma GCC pop_options
#endif
