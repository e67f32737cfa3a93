// Half precision as it stands in memory, to numbers and back: to the nearest, ties to even; NaN
// stays NaN, what is too large becomes infinity, and subnormal numbers are kept.

template <typename To, typename From>
[[gnu::always_inline]] inline To bits_as(From value) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    __builtin_memcpy(&to, &value, sizeof to);
    return to;
}

[[gnu::always_inline]] inline float from_float16(unsigned half) {
    const unsigned magnitude = (half & 0x7fff) << 13;  // the exponent counts from 15 there, from 127 here
    const unsigned value = bits_as<unsigned>(bits_as<float>(magnitude) * 0x1p112f);
    return bits_as<float>((half & 0x8000) << 16 | value | (magnitude >= 0x0f800000 ? 0x7f800000 : 0));
}

[[gnu::always_inline]] inline unsigned to_float16(float value) {
    const unsigned all = bits_as<unsigned>(value), magnitude = all & 0x7fffffff;
    const unsigned normal = (magnitude + 0x0fff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
    const unsigned small = bits_as<unsigned>(bits_as<float>(magnitude) + 0.5f) - 0x3f000000;  // in steps of 2^-24
    const unsigned finite = magnitude < 0x38800000 ? small : normal;
    const unsigned large = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    return (all >> 16 & 0x8000) | (magnitude >= 0x477ff000 ? large : finite);
}

[[gnu::always_inline]] inline unsigned to_bfloat16(float value) {
    const unsigned all = bits_as<unsigned>(value);
    const unsigned rounded = (all + 0x7fff + (all >> 16 & 1)) >> 16;
    return (all & 0x7fffffff) > 0x7f800000 ? (all >> 16 | 0x40) : rounded;
}

template <typename Scalar>
void widen(const Half* from, Index count, Scalar* to, Storage storage) {
    if (storage == Storage::float16) {
        for (Index n = 0; n < count; ++n) to[n] = static_cast<Scalar>(from_float16(from[n]));
    } else {
        for (Index n = 0; n < count; ++n)
            to[n] = static_cast<Scalar>(bits_as<float>(static_cast<unsigned>(from[n]) << 16));
    }
}

template <typename Scalar>
void narrow(const Scalar* from, Index count, Half* to, Storage storage) {
    if (storage == Storage::float16) {
        for (Index n = 0; n < count; ++n) to[n] = static_cast<Half>(to_float16(static_cast<float>(from[n])));
    } else {
        for (Index n = 0; n < count; ++n) to[n] = static_cast<Half>(to_bfloat16(static_cast<float>(from[n])));
    }
}
