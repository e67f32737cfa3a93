// What the vectors of one instruction set do at most: compiled once for each of them, in its own
// namespace and target region, without the standard library, as kernels.inl is. Aligned arrays of
// floats, whole vectors.

typedef float Wide __attribute__((vector_size(BACKSTRIDE_BYTES)));
constexpr Index wide = BACKSTRIDE_BYTES / 4;
constexpr int chains = BACKSTRIDE_REGISTERS == 32 ? 24 : 12;  // enough to hide the latency of four units

// `rounds` multiply-adds in each of `chains` independent sums.
[[gnu::noinline]] static float multiply_add_chains(Index rounds, float seed) {
    Wide sums[chains], factor = Wide{} + 0.5f, term = Wide{} + seed;
#pragma GCC unroll 32
    for (int n = 0; n < chains; ++n) sums[n] = term * float(n);
    for (Index round = 0; round < rounds; ++round) {
#pragma GCC unroll 32
        for (int n = 0; n < chains; ++n) sums[n] = sums[n] * factor + term;
    }
    Wide total{};
#pragma GCC unroll 32
    for (int n = 0; n < chains; ++n) total += sums[n];
    return total[0];
}

// Both take a multiple of 8 vectors, which start a cache line.
[[gnu::noinline]] static float read_vectors(const float* from, Index count) {
    Wide sums[8] = {};
    for (Index n = 0; n < count; n += 8 * wide) {
#pragma GCC unroll 8
        for (int v = 0; v < 8; ++v) sums[v] += *reinterpret_cast<const Wide*>(from + n + v * wide);
    }
    float total = 0;
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) total += sums[v][0];
    return total;
}

[[gnu::noinline]] static void copy_vectors(const float* from, Index count, float* to) {
    for (Index n = 0; n < count; n += 8 * wide) {
#pragma GCC unroll 8
        for (int v = 0; v < 8; ++v)
            *reinterpret_cast<Wide*>(to + n + v * wide) = *reinterpret_cast<const Wide*>(from + n + v * wide);
    }
    __asm__ volatile("" ::: "memory");  // no call of memcpy in its place
}

static const Probe probe{
    .lanes = wide,
    .registers = BACKSTRIDE_REGISTERS,
    .chains = chains,
    .multiply_add = multiply_add_chains,
    .read = read_vectors,
    .copy = copy_vectors,
};
