// Depthwise sums along a line.

// Cells that meet a tap together share its weights.
template <typename Scalar, int Cells, int Vectors, bool Whole>
[[gnu::always_inline]] inline void depthwise_cells(const DepthwiseLine<Scalar>& job, Index cell) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> acc[Cells][Vectors] = {};
    for (Index tap = 0; tap < job.taps; ++tap) {
        const Scalar* source = job.sources[tap] + cell * job.source_step;
        const Scalar* weights = job.weights[tap];
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
            const Vector<Scalar> b = *reinterpret_cast<const Loose<Scalar>*>(weights + v * lanes);
#pragma GCC unroll 4
            for (int n = 0; n < Cells; ++n)
                acc[n][v] += (Whole ? Vector<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(source + n * job.source_step + v * lanes))
                                    : some(source + n * job.source_step + v * lanes, job.columns - v * lanes)) * b;
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
        Vector<Scalar> bias{};
        if (job.bias) bias = *reinterpret_cast<const Loose<Scalar>*>(job.bias + v * lanes);
#pragma GCC unroll 4
        for (int n = 0; n < Cells; ++n) {
            Scalar* to = job.target + (cell + n) * job.target_step + v * lanes;
            const Vector<Scalar> value = activate<Scalar>(acc[n][v] + bias, job.activation);
            if (Whole) *reinterpret_cast<Loose<Scalar>*>(to) = value;
            else store_some<Scalar>(to, value, job.columns - v * lanes);
        }
    }
}

template <typename Scalar, int Vectors, bool Whole>
void depthwise_vectors(const DepthwiseLine<Scalar>& job) {
    constexpr int Cells = BACKSTRIDE_REGISTERS == 32 ? 4 : 2;
    Index cell = 0;
    for (; cell + Cells <= job.count; cell += Cells) depthwise_cells<Scalar, Cells, Vectors, Whole>(job, cell);
    for (; cell < job.count; ++cell) depthwise_cells<Scalar, 1, Vectors, Whole>(job, cell);
}

template <typename Scalar>
void depthwise_line(const DepthwiseLine<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    if (job.columns == panel_vectors * lanes) return depthwise_vectors<Scalar, panel_vectors, true>(job);
    switch ((job.columns + lanes - 1) / lanes) {
        case 1: return depthwise_vectors<Scalar, 1, false>(job);
        case 2: return depthwise_vectors<Scalar, 2, false>(job);
#if BACKSTRIDE_REGISTERS == 32
        case 3: return depthwise_vectors<Scalar, 3, false>(job);
        case 4: return depthwise_vectors<Scalar, 4, false>(job);
#endif
        default: return;
    }
}
