// The transforms of Winograd tiles, channels in the lanes: input cells [tile][cell] to
// planes[plane][tile][channel], taps to the weights of planes, [plane][depth][column], and products
// [plane][tile][column] to output cells, biased and activated.

// Lavin & Gray, arXiv 1509.09308, with the interpolation points 0, 1 and infinity (3 planes), and -1 too (4 planes):
// these input and output transforms have no entries but 0, 1 and -1.
template <typename Scalar, int Planes>
[[gnu::always_inline]] inline void winograd_input_axis(Vector<Scalar>* d, int step) {
    if constexpr (Planes == 3) {
        d[0] -= d[step];
        d[2 * step] -= d[step];
    } else if constexpr (Planes == 4) {
        const Vector<Scalar> one = d[step], two = d[2 * step];
        d[0] -= two;
        d[3 * step] -= one;
        d[step] = one + two;
        d[2 * step] = two - one;
    }
}

// From taps, by rising inputs, to planes, in place.
template <typename Scalar, int Taps, int Planes>
[[gnu::always_inline]] inline void winograd_weights_axis(Vector<Scalar>* g, int step) {
    if constexpr (Planes == 3) {
        g[2 * step] = g[step];
        g[step] += g[0];
    } else if constexpr (Planes == 4) {
        const Vector<Scalar> odd = g[step];
        const Vector<Scalar> even = Taps == 3 ? g[0] + g[2 * step] : g[0];
        g[3 * step] = Taps == 3 ? g[2 * step] : odd;
        g[step] = Scalar(0.5) * (even + odd);
        g[2 * step] = Scalar(0.5) * (even - odd);
    }
}

template <typename Scalar, int Outputs, int Planes>
[[gnu::always_inline]] inline void winograd_output_axis(Vector<Scalar>* m, int step) {
    if constexpr (Planes == 3) {
        m[0] += m[step];
        m[step] += m[2 * step];
    } else if constexpr (Planes == 4) {
        const Vector<Scalar> even = m[step] + m[2 * step], odd = m[step] - m[2 * step];
        m[0] += even;
        if constexpr (Outputs == 3) {
            m[step] = odd;
            m[2 * step] = even + m[3 * step];
        } else {
            m[step] = odd + m[3 * step];
        }
    }
}

template <typename Scalar, int Lines, int Columns>
void winograd_input_planes(const WinogradInput<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    constexpr int count = Lines * Columns;
    for (Index tile = 0; tile < job.tiles; ++tile) {
        const Scalar* const* cells = job.cells + tile * count;
        Scalar* to = job.planes + tile * job.tile_stride;
        for (Index c = 0; c < job.depth; c += lanes) {
            Vector<Scalar> d[count];
            const Index left = job.depth - c;
            if (left >= lanes) {
#pragma GCC unroll 16
                for (int n = 0; n < count; ++n)
                    d[n] = *reinterpret_cast<const Loose<Scalar>*>(cells[n] + job.source_offset + c);
            } else {
                for (int n = 0; n < count; ++n) d[n] = some(cells[n] + job.source_offset + c, left);
            }
#pragma GCC unroll 4
            for (int n = 0; n < Columns; ++n) winograd_input_axis<Scalar, Lines>(d + n, Columns);
#pragma GCC unroll 4
            for (int n = 0; n < Lines; ++n) winograd_input_axis<Scalar, Columns>(d + n * Columns, 1);
#pragma GCC unroll 16
            for (int n = 0; n < count; ++n) *reinterpret_cast<Loose<Scalar>*>(to + n * job.plane_stride + c) = d[n];
        }
    }
}

template <typename Scalar>
void winograd_input(const WinogradInput<Scalar>& job) {
    switch (job.line_form.planes() * 8 + job.column_form.planes()) {
        case 8 + 3: return winograd_input_planes<Scalar, 1, 3>(job);
        case 8 + 4: return winograd_input_planes<Scalar, 1, 4>(job);
        case 24 + 1: return winograd_input_planes<Scalar, 3, 1>(job);
        case 24 + 3: return winograd_input_planes<Scalar, 3, 3>(job);
        case 24 + 4: return winograd_input_planes<Scalar, 3, 4>(job);
        case 32 + 1: return winograd_input_planes<Scalar, 4, 1>(job);
        case 32 + 3: return winograd_input_planes<Scalar, 4, 3>(job);
        case 32 + 4: return winograd_input_planes<Scalar, 4, 4>(job);
        default: return;
    }
}

template <typename Scalar, int LineTaps, int Lines, int ColumnTaps, int Columns>
void winograd_weights_planes(const WinogradWeights<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Scalar* to = job.planes;
    for (Index c = 0; c < job.depth; ++c, to += job.width)
        for (Index v = 0; v < job.width; v += lanes) {
            Vector<Scalar> g[Lines * Columns];
#pragma GCC unroll 4
            for (int a = 0; a < LineTaps; ++a)
#pragma GCC unroll 4
                for (int b = 0; b < ColumnTaps; ++b) {
                    const Scalar* tap = job.taps[a * ColumnTaps + b];
                    if (tap) __builtin_prefetch(tap + (c + tuning::loops::transformed_ahead) * job.step + v);
                    g[a * Columns + b] = tap ? some(tap + c * job.step + v, job.columns - v) : Vector<Scalar>{};
                }
#pragma GCC unroll 4
            for (int a = 0; a < LineTaps; ++a) winograd_weights_axis<Scalar, ColumnTaps, Columns>(g + a * Columns, 1);
#pragma GCC unroll 4
            for (int b = 0; b < Columns; ++b) winograd_weights_axis<Scalar, LineTaps, Lines>(g + b, Columns);
#pragma GCC unroll 16
            for (int n = 0; n < Lines * Columns; ++n)
                *reinterpret_cast<Loose<Scalar>*>(to + n * job.plane_stride + v) = g[n];
        }
}

template <typename Scalar, int LineTaps, int Lines>
void winograd_weights_lines(const WinogradWeights<Scalar>& job) {
    switch (job.column_form.taps * 8 + job.column_form.planes()) {
        case 8 + 1: return winograd_weights_planes<Scalar, LineTaps, Lines, 1, 1>(job);
        case 16 + 3: return winograd_weights_planes<Scalar, LineTaps, Lines, 2, 3>(job);
        case 16 + 4: return winograd_weights_planes<Scalar, LineTaps, Lines, 2, 4>(job);
        case 24 + 4: return winograd_weights_planes<Scalar, LineTaps, Lines, 3, 4>(job);
        default: return;
    }
}

template <typename Scalar>
void winograd_weights(const WinogradWeights<Scalar>& job) {
    switch (job.line_form.taps * 8 + job.line_form.planes()) {
        case 8 + 1: return winograd_weights_lines<Scalar, 1, 1>(job);
        case 16 + 3: return winograd_weights_lines<Scalar, 2, 3>(job);
        case 16 + 4: return winograd_weights_lines<Scalar, 2, 4>(job);
        case 24 + 4: return winograd_weights_lines<Scalar, 3, 4>(job);
        default: return;
    }
}

template <typename Scalar, int LineOutputs, int Lines, int ColumnOutputs, int Columns>
void winograd_output_planes(const WinogradOutput<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    constexpr int outputs = LineOutputs * ColumnOutputs;
    const Index left = job.columns - job.column;
    for (Index tile = 0; tile < job.tiles; ++tile) {
        Scalar* const* targets = job.targets + tile * outputs;
        for (Index v = 0; v * lanes < left && v < panel_vectors; ++v) {
            const Scalar* from = job.planes + tile * job.tile_stride + v * lanes;
            Vector<Scalar> m[Lines * Columns];
#pragma GCC unroll 16
            for (int n = 0; n < Lines * Columns; ++n)
                m[n] = *reinterpret_cast<const Loose<Scalar>*>(from + n * job.plane_stride);
#pragma GCC unroll 4
            for (int n = 0; n < Columns; ++n) winograd_output_axis<Scalar, LineOutputs, Lines>(m + n, Columns);
#pragma GCC unroll 4
            for (int n = 0; n < LineOutputs; ++n)
                winograd_output_axis<Scalar, ColumnOutputs, Columns>(m + n * Columns, 1);
            Vector<Scalar> bias{};
            if (job.bias) bias = *reinterpret_cast<const Loose<Scalar>*>(job.bias + job.column + v * lanes);
#pragma GCC unroll 4
            for (int line = 0; line < LineOutputs; ++line)
#pragma GCC unroll 4
                for (int cell = 0; cell < ColumnOutputs; ++cell) {
                    Scalar* target = targets[line * ColumnOutputs + cell];
                    if (!target) continue;
                    target += job.target_offset + job.column + v * lanes;
                    const Vector<Scalar> value = activate<Scalar>(m[line * Columns + cell] + bias, job.activation);
                    if (job.bypasses && BACKSTRIDE_BYTES == 64 && left - v * lanes >= lanes && starts_line(target))
                        store_past_caches<Scalar>(target, value);
                    else store_some<Scalar>(target, value, left - v * lanes);
                }
        }
    }
    if (job.bypasses) settle_stores();
}

template <typename Scalar>
void winograd_output(const WinogradOutput<Scalar>& job) {
    const Form &a = job.line_form, &b = job.column_form;
    switch (((a.outputs * 8 + a.planes()) * 8 + b.outputs) * 8 + b.planes()) {
#define BACKSTRIDE_FORMS(a, b, c, d) \
    case (((a) * 8 + (b)) * 8 + (c)) * 8 + (d): return winograd_output_planes<Scalar, a, b, c, d>(job)
#define BACKSTRIDE_LINES(a, b)    \
    BACKSTRIDE_FORMS(a, b, 1, 1); \
    BACKSTRIDE_FORMS(a, b, 2, 3); \
    BACKSTRIDE_FORMS(a, b, 3, 4); \
    BACKSTRIDE_FORMS(a, b, 2, 4)
        BACKSTRIDE_LINES(1, 1);
        BACKSTRIDE_LINES(2, 3);
        BACKSTRIDE_LINES(3, 4);
        BACKSTRIDE_LINES(2, 4);
#undef BACKSTRIDE_LINES
#undef BACKSTRIDE_FORMS
        default: return;
    }
}
