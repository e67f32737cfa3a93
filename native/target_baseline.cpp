// What every processor of the architecture has: SSE2 on x86-64, NEON on AArch64.
#include "kernels.h"

#define BACKSTRIDE_BYTES 16
#if defined(__aarch64__)
#define BACKSTRIDE_REGISTERS 32
#define BACKSTRIDE_NAME "neon"
#else
#define BACKSTRIDE_REGISTERS 16
#define BACKSTRIDE_NAME "baseline"
#endif

namespace backstride::baseline {
#include "kernels.inl"
extern const Kernels<float> single_precision = kernels<float>(BACKSTRIDE_NAME);
extern const Kernels<double> double_precision = kernels<double>(BACKSTRIDE_NAME);
}  // namespace backstride::baseline
