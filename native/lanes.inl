// Vectors of an instruction set, the parts of them that stand at the ends of rows, and their transposition.

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

// A full panel has 4 vectors where there are 32 registers and 2 where there are 16; a tile has as many
// rows as leave registers for one row of weights: 6x4, 8x3, 12x2 of 32; 6x2 of 16.
constexpr Index panel_vectors = BACKSTRIDE_REGISTERS / 8;
constexpr int tile_rows(int vectors) {
    return vectors == 1 ? (BACKSTRIDE_REGISTERS == 32 ? 14 : 8) : (BACKSTRIDE_REGISTERS - BACKSTRIDE_REGISTERS / 4) / vectors;
}
constexpr Index weights_in_cache = 320 * 1024;  // bytes of one panel kept in the second-level cache

template <typename Scalar>
inline Vector<Scalar> some(const Scalar* from, Index count) {
    Vector<Scalar> value{};
    if (count >= Lanes<Scalar>::count) return *reinterpret_cast<const Loose<Scalar>*>(from);
    for (Index i = 0; i < count; ++i) value[i] = from[i];
    return value;
}

template <typename Scalar>
[[gnu::always_inline]] inline void store_some(Scalar* to, Vector<Scalar> value, Index count) {
    if (count >= Lanes<Scalar>::count) {
        *reinterpret_cast<Loose<Scalar>*>(to) = value;
    } else {
        for (Index i = 0; i < count; ++i) to[i] = value[i];
    }
}

template <int... numbers>
struct Numbers {};
template <int count, int... numbers>
struct Counted : Counted<count - 1, count - 1, numbers...> {};
template <int... numbers>
struct Counted<0, numbers...> {
    typedef Numbers<numbers...> Type;
};

// The lanes of a and b in turn: the first half of both, or the second.
template <typename Scalar, int start, int... lane>
[[gnu::always_inline]] inline Vector<Scalar> zipped(Vector<Scalar> a, Vector<Scalar> b, Numbers<lane...>) {
    return __builtin_shufflevector(a, b, (start + lane / 2 + lane % 2 * static_cast<int>(sizeof...(lane)))...);
}

template <typename Scalar>
[[gnu::always_inline]] inline void zip(Vector<Scalar> a, Vector<Scalar> b, Vector<Scalar>& first, Vector<Scalar>& second) {
    constexpr int lanes = static_cast<int>(Lanes<Scalar>::count);
    typedef typename Counted<lanes>::Type All;
    first = zipped<Scalar, 0>(a, b, All{});
    second = zipped<Scalar, lanes / 2>(a, b, All{});
}

// As many rounds of zipping the halves as a number of lanes has bits turn rows into columns.
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
void transpose(const Scalar* from, Index step, Index rows, Index columns, Scalar* to, Index pitch, bool pad) {
    constexpr Index lanes = Lanes<Scalar>::count;
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
                for (int n = 0; n < lanes; ++n) block[n] = *reinterpret_cast<const Loose<Scalar>*>(source + n * step);
            } else {
#pragma GCC unroll 16
                for (int n = 0; n < lanes; ++n)
                    block[n] = row + n < rows ? some(source + n * step, count) : Vector<Scalar>{};
            }
            transpose_square<Scalar, 1>(block);
            Scalar* target = to + column * pitch + row;
            if (height == lanes) {
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
void copy_lines(const Scalar* from, Index step, Index lines, Index count, Scalar* to, Index pitch) {
    constexpr Index lanes = Lanes<Scalar>::count;
    for (Index line = 0; line < lines; ++line, from += step, to += pitch) {
        Index n = 0;
        for (; n + lanes <= count; n += lanes) *reinterpret_cast<Loose<Scalar>*>(to + n) = *reinterpret_cast<const Loose<Scalar>*>(from + n);
        if (n < count) *reinterpret_cast<Loose<Scalar>*>(to + n) = some(from + n, count - n);
    }
}

// x * 0 is 0, or NaN where x is not finite.
template <typename Scalar>
bool all_finite(const Scalar* x, Index count) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> sums[4] = {};
    Index i = 0;
    for (; i + 4 * lanes <= count; i += 4 * lanes)
        for (int n = 0; n < 4; ++n) sums[n] += *reinterpret_cast<const Loose<Scalar>*>(x + i + n * lanes) * Scalar(0);
    Scalar sum = 0;
    for (; i < count; ++i) sum += x[i] * Scalar(0);
    const Vector<Scalar> all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (Index lane = 0; lane < lanes; ++lane) sum += all[lane];
    return sum == 0;
}
