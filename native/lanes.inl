// Vectors of an instruction set: loads and stores of whole ones and of the parts that stand at the
// ends of rows, and the transposition of matrices by zipping. A part reads and writes its own
// numbers only.

template <typename Scalar>
struct Lanes {
    static constexpr Index count = BACKSTRIDE_BYTES / static_cast<Index>(sizeof(Scalar));
    typedef Scalar Vector __attribute__((vector_size(BACKSTRIDE_BYTES)));
    typedef Scalar Loose __attribute__((vector_size(BACKSTRIDE_BYTES), aligned(alignof(Scalar)), may_alias));
};

template <typename Scalar>
using Vector = typename Lanes<Scalar>::Vector;
template <typename Scalar>
using Loose = typename Lanes<Scalar>::Loose;

// A full panel has 4 vectors where there are 32 registers and 2 where there are 16.
constexpr Index panel_vectors = BACKSTRIDE_REGISTERS / 8;

// Past the caches, for results that they cannot hold: the lines are not read before they are written.
template <typename Scalar>
[[gnu::always_inline]] inline void store_past_caches(Scalar* to, Vector<Scalar> value) {
#if defined(__clang__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_nontemporal_store(value, reinterpret_cast<Vector<Scalar>*>(to));
#elif defined(__x86_64__) || defined(__i386__)
    typedef float Floats __attribute__((vector_size(BACKSTRIDE_BYTES)));
#if BACKSTRIDE_BYTES == 64
    __builtin_ia32_movntps512(reinterpret_cast<float*>(to), reinterpret_cast<Floats>(value));
#elif BACKSTRIDE_BYTES == 32
    __builtin_ia32_movntps256(reinterpret_cast<float*>(to), reinterpret_cast<Floats>(value));
#else
    __builtin_ia32_movntps(reinterpret_cast<float*>(to), reinterpret_cast<Floats>(value));
#endif
#else
    *reinterpret_cast<Vector<Scalar>*>(to) = value;
#endif
}

// The lowest `count` numbers, where one instruction does that.
#if BACKSTRIDE_BYTES == 64 && defined(__x86_64__)
constexpr bool masks_stores = true;
[[gnu::always_inline]] inline void store_lowest(float* to, Vector<float> value, Index count) {
    __builtin_ia32_storeups512_mask(to, value, static_cast<unsigned short>((1u << count) - 1));
}
[[gnu::always_inline]] inline void store_lowest(double* to, Vector<double> value, Index count) {
    __builtin_ia32_storeupd512_mask(to, value, static_cast<unsigned char>((1u << count) - 1));
}
// And zeros beyond them.
[[gnu::always_inline]] inline Vector<float> load_lowest(const float* from, Index count) {
    return __builtin_ia32_loadups512_mask(from, Vector<float>{}, static_cast<unsigned short>((1u << count) - 1));
}
[[gnu::always_inline]] inline Vector<double> load_lowest(const double* from, Index count) {
    return __builtin_ia32_loadupd512_mask(from, Vector<double>{}, static_cast<unsigned char>((1u << count) - 1));
}
#else
constexpr bool masks_stores = false;
template <typename Scalar>
inline void store_lowest(Scalar*, Vector<Scalar>, Index) {}
template <typename Scalar>
inline Vector<Scalar> load_lowest(const Scalar*, Index) {
    return {};
}
#endif

// Such stores are seen by other threads after this.
inline void settle_stores() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_sfence();
#endif
}

template <typename Scalar>
[[gnu::always_inline]] inline bool starts_line(const Scalar* to) {
    return reinterpret_cast<unsigned long long>(to) % 64 == 0;
}

template <int... numbers>
struct Numbers {};
template <int count, int... numbers>
struct Counted : Counted<count - 1, count - 1, numbers...> {};
template <int... numbers>
struct Counted<0, numbers...> {
    typedef Numbers<numbers...> Type;
};

// Parts of vectors, half by half: `count` numbers from the lowest on.
template <typename Scalar, int lanes>
struct Part {
    typedef Scalar Value __attribute__((vector_size(lanes * sizeof(Scalar))));
    typedef Scalar Loose __attribute__((vector_size(lanes * sizeof(Scalar)), aligned(alignof(Scalar)), may_alias));
    typedef Part<Scalar, lanes / 2> Half;
    template <int... lane>
    [[gnu::always_inline]] static typename Half::Value low(Value value, Numbers<lane...>) {
        return __builtin_shufflevector(value, value, lane...);
    }
    template <int... lane>
    [[gnu::always_inline]] static typename Half::Value high(Value value, Numbers<lane...>) {
        return __builtin_shufflevector(value, value, lanes / 2 + lane...);
    }
    template <int... lane>
    [[gnu::always_inline]] static Value joined(typename Half::Value a, typename Half::Value b, Numbers<lane...>) {
        return __builtin_shufflevector(a, b, lane...);
    }
    typedef typename Counted<lanes / 2>::Type Halves;
    typedef typename Counted<lanes>::Type All;

    [[gnu::always_inline]] static Value load(const Scalar* from, Index count) {
        if (!(count & (lanes / 2))) return joined(Half::load(from, count), typename Half::Value{}, All{});
        return joined(*reinterpret_cast<const typename Half::Loose*>(from), Half::load(from + lanes / 2, count), All{});
    }
    [[gnu::always_inline]] static void store(Scalar* to, Value value, Index count) {
        if (!(count & (lanes / 2))) return Half::store(to, low(value, Halves{}), count);
        *reinterpret_cast<typename Half::Loose*>(to) = low(value, Halves{});
        Half::store(to + lanes / 2, high(value, Halves{}), count);
    }
};

template <typename Scalar>
struct Part<Scalar, 1> {
    typedef Scalar Value __attribute__((vector_size(sizeof(Scalar))));
    typedef Scalar Loose __attribute__((vector_size(sizeof(Scalar)), may_alias));
    [[gnu::always_inline]] static Value load(const Scalar*, Index) { return Value{}; }
    [[gnu::always_inline]] static void store(Scalar*, Value, Index) {}
};

template <typename Scalar>
inline Vector<Scalar> some(const Scalar* from, Index count) {
    if (count >= Lanes<Scalar>::count) return *reinterpret_cast<const Loose<Scalar>*>(from);
    if constexpr (masks_stores) return load_lowest(from, count < 0 ? 0 : count);
    else return count > 0 ? Part<Scalar, static_cast<int>(Lanes<Scalar>::count)>::load(from, count) : Vector<Scalar>{};
}

template <typename Scalar>
[[gnu::always_inline]] inline void store_some(Scalar* to, Vector<Scalar> value, Index count) {
    if (count >= Lanes<Scalar>::count) *reinterpret_cast<Loose<Scalar>*>(to) = value;
    else if (count > 0) Part<Scalar, static_cast<int>(Lanes<Scalar>::count)>::store(to, value, count);
}

// The lanes of a and b alternately: the first half of both, or the second.
template <typename Scalar, int start, int... lane>
[[gnu::always_inline]] inline Vector<Scalar> zipped(Vector<Scalar> a, Vector<Scalar> b, Numbers<lane...>) {
    return __builtin_shufflevector(a, b, (start + lane / 2 + lane % 2 * static_cast<int>(sizeof...(lane)))...);
}

template <typename Scalar>
[[gnu::always_inline]] inline void zip(Vector<Scalar> a, Vector<Scalar> b, Vector<Scalar>& first,
                                       Vector<Scalar>& second) {
    constexpr int lanes = static_cast<int>(Lanes<Scalar>::count);
    typedef typename Counted<lanes>::Type All;
    first = zipped<Scalar, 0>(a, b, All{});
    second = zipped<Scalar, lanes / 2>(a, b, All{});
}

// As many rounds of zipping the halves as a number of lanes has bits make columns of rows.
template <typename Scalar, int round>
[[gnu::always_inline]] inline void transpose_square(Vector<Scalar> (&rows)[Lanes<Scalar>::count]) {
    constexpr int lanes = static_cast<int>(Lanes<Scalar>::count);
    Vector<Scalar> next[lanes];
#pragma GCC unroll 16
    for (int n = 0; n < lanes / 2; ++n) zip<Scalar>(rows[n], rows[n + lanes / 2], next[2 * n], next[2 * n + 1]);
#pragma GCC unroll 16
    for (int n = 0; n < lanes; ++n) rows[n] = next[n];
    if constexpr (2 * round < lanes) transpose_square<Scalar, 2 * round>(rows);
}

template <typename Scalar>
void transpose(const Transposition<Scalar>& job) {
    const Scalar* const from = job.from;
    Scalar* const to = job.to;
    const Index step = job.step, rows = job.rows, columns = job.columns, pitch = job.pitch;
    const bool pad = job.pad;
    constexpr Index lanes = Lanes<Scalar>::count;
    constexpr Index ahead = tuning::loops::transposed_ahead / static_cast<Index>(sizeof(Scalar));
    // The last block of rows or columns may repeat some of those before.
    for (Index next_row = 0; next_row < rows; next_row += lanes) {
        const Index row = !pad && next_row + lanes > rows && rows >= lanes ? rows - lanes : next_row;
        const Index height = pad || rows - row > lanes ? lanes : rows - row;
        for (Index next = 0; next < columns; next += lanes) {
            const Index column = next + lanes > columns && columns >= lanes ? columns - lanes : next;
            Vector<Scalar> block[lanes];
            const Scalar* source = from + row * step + column;
            const Index count = columns - column < lanes ? columns - column : lanes;
            if (rows - row >= lanes && count == lanes) {
#pragma GCC unroll 16
                for (int n = 0; n < lanes; ++n) {
                    block[n] = *reinterpret_cast<const Loose<Scalar>*>(source + n * step);
                    __builtin_prefetch(source + n * step + ahead);
                }
            } else {
#pragma GCC unroll 16
                for (int n = 0; n < lanes; ++n)
                    block[n] = row + n < rows ? some(source + n * step, count) : Vector<Scalar>{};
            }
            transpose_square<Scalar, 1>(block);
            Scalar* target = to + column * pitch + row;
            if (height == lanes && count == lanes) {
#pragma GCC unroll 16
                for (int n = 0; n < lanes; ++n) *reinterpret_cast<Loose<Scalar>*>(target + n * pitch) = block[n];
            } else if (height == lanes) {
#pragma GCC unroll 16
                for (int n = 0; n < lanes; ++n)
                    if (n < count) *reinterpret_cast<Loose<Scalar>*>(target + n * pitch) = block[n];
            } else {
                for (Index n = 0; n < count; ++n) store_some<Scalar>(target + n * pitch, block[n], height);
            }
        }
    }
}

template <typename Scalar>
void copy_lines(const LineCopies<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    const Scalar* from = job.from;
    Scalar* to = job.to;
    const Index lines = job.lines, count = job.count, step = job.step, pitch = job.pitch;
    for (Index line = 0; line < lines; ++line, from += step, to += pitch) {
        Index n = 0;
        for (; n + lanes <= count; n += lanes)
            *reinterpret_cast<Loose<Scalar>*>(to + n) = *reinterpret_cast<const Loose<Scalar>*>(from + n);
        if (n < count) *reinterpret_cast<Loose<Scalar>*>(to + n) = some(from + n, count - n);
    }
}

// x * scale * 0 is 0, or NaN where x * scale is not finite.
template <typename Scalar>
bool all_finite(const Scalar* x, Index count, Scalar scale) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> sums[4] = {};
    Index i = 0;
    for (; i + 4 * lanes <= count; i += 4 * lanes)
        for (int n = 0; n < 4; ++n)
            sums[n] += *reinterpret_cast<const Loose<Scalar>*>(x + i + n * lanes) * scale * Scalar(0);
    Scalar sum = 0;
    for (; i < count; ++i) sum += x[i] * scale * Scalar(0);
    const Vector<Scalar> all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (Index lane = 0; lane < lanes; ++lane) sum += all[lane];
    return sum == 0;
}
