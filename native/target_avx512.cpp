// AVX-512 F, DQ, BW, VL: 32 registers of 16 floats.
#include "kernels.h"

#define BACKSTRIDE_BYTES 64
#define BACKSTRIDE_REGISTERS 32

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,fma,prefer-vector-width=512")
namespace backstride::avx512 {
#include "kernels.inl"
extern const Kernels<float> single_precision = kernels<float>("avx512");
extern const Kernels<double> double_precision = kernels<double>("avx512");
}  // namespace backstride::avx512
#pragma GCC pop_options
