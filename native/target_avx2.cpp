// AVX2 and FMA: 16 registers of 8 floats.
#include "kernels.h"

#define BACKSTRIDE_BYTES 32
#define BACKSTRIDE_REGISTERS 16

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace backstride::avx2 {
#include "kernels.inl"
extern const Kernels<float> single_precision = kernels<float>("avx2");
extern const Kernels<double> double_precision = kernels<double>("avx2");
}  // namespace backstride::avx2
#pragma GCC pop_options
