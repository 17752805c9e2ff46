// Vectors of numbers, in the compilers' own extension: the widest that the processor has.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8, STRIP = 6;  // numbers in a vector; rows of a tile, at most,
#elif defined(__AVX__)                          // and of a tile that has many below it
constexpr int LANES = 8, ROWS = 2, STRIP = 2;
#else
constexpr int LANES = 4, ROWS = 4, STRIP = 4;
#endif
constexpr int outs_beside(int rows) { return rows > 6 ? 3 : 4; }  // sums that fill the registers
constexpr int AHEAD = 8192;  // bytes of weights that are asked of memory before they are needed
constexpr int DEPTH = 3072;  // bytes of a row that are multiplied in one go
constexpr int STEP = 12;     // outputs that make whole tiles

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Shorts __attribute__((vector_size(2 * LANES)));
typedef int16_t Halves __attribute__((vector_size(4 * LANES)));
typedef int16_t FewHalves __attribute__((vector_size(2 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(2 * LANES)));
typedef float Four __attribute__((vector_size(16)));

struct BFloat16 {
    uint16_t bits;  // the upper half of a float's
};

template <typename Vector>
inline Vector read(const void* place) {
    Vector v;
    memcpy(&v, place, sizeof v);
    return v;
}

inline Floats load(const float* p) { return read<Floats>(p); }
inline Floats load(const BFloat16* p) {
    return (Floats)(__builtin_convertvector(read<Shorts>(p), Words) << 16);
}
inline Halves load(const int16_t* p) { return read<Halves>(p); }
inline Halves load(const int8_t* p) {
#if defined(__AVX512BW__)  // the compilers' own way takes many steps
    return (Halves)_mm512_cvtepi8_epi16(read<__m256i>(p));
#elif defined(__AVX2__) && !defined(__AVX512F__)
    return (Halves)_mm256_cvtepi8_epi16(read<__m128i>(p));
#else
    return __builtin_convertvector(read<Bytes>(p), Halves);
#endif
}
inline void store(float* p, Floats v) { memcpy(p, &v, sizeof v); }
inline Floats all(float value) { return value - Floats{}; }


// Sums of products are rounded once for each, and so are the same wherever they are compiled into:
// the compilers' own choice would depend on the place (build.py forbids it).
inline Floats plus_product(Floats sum, Floats a, Floats b) {
#if defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
#elif defined(__FMA__) && defined(__AVX__)
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
    return (Floats)vfmaq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
#else
    return sum + a * b;
#endif
}
// Each two neighbours' products are added to one sum.
inline Ints plus_product(Ints sum, Halves a, Halves b) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__)
    return sum + (Ints)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && !defined(__AVX512F__)
    return sum + (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && !defined(__AVX__)
    return sum + (Ints)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    for (int i = 0; i < LANES; i++) sum[i] += a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
    return sum;
#endif
}

// What weights of some type are multiplied with, how many at a time, and what their sums are.
template <typename Weight>
struct Factors {
    typedef float Number;
    typedef Floats Vector, Sums;
};
struct Wholes {  // of small integers, exactly
    typedef int16_t Number;
    typedef Halves Vector;
    typedef Ints Sums;
};
template <>
struct Factors<int8_t> : Wholes {};
template <>
struct Factors<int16_t> : Wholes {};

inline Floats floats(Floats v) { return v; }
inline Floats floats(Ints v) { return __builtin_convertvector(v, Floats); }

// The first few of a vector, the rest 0.
template <typename Weight>
inline auto load_some(const Weight* p, int count) {
    Weight some[sizeof(decltype(load(p))) / sizeof(typename Factors<Weight>::Number)] = {};
    memcpy(some, p, count * sizeof(Weight));
    return load(some);
}

#if defined(__clang__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIX(a, b, ...) __builtin_shuffle(a, b, (Ints){__VA_ARGS__})
#endif
// From each four lanes of two vectors: a0 b0 a1 b1, a2 b2 a3 b3, a0 a1 b0 b1, a2 a3 b2 b3.
#if defined(__AVX512F__)
#define LOW(a, b) MIX(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH(a, b) MIX(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define FIRST(a, b) MIX(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define SECOND(a, b) MIX(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
// The even, and the odd ones of their fours of lanes.
#define EVEN(a, b) MIX(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define ODD(a, b) MIX(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#elif defined(__AVX__)
#define LOW(a, b) MIX(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH(a, b) MIX(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define FIRST(a, b) MIX(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define SECOND(a, b) MIX(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#else
#define LOW(a, b) MIX(a, b, 0, 4, 1, 5)
#define HIGH(a, b) MIX(a, b, 2, 6, 3, 7)
#define FIRST(a, b) MIX(a, b, 0, 1, 4, 5)
#define SECOND(a, b) MIX(a, b, 2, 3, 6, 7)
#endif

#define INLINE __attribute__((always_inline)) inline

// Has a vector loaded once, where the compiler would load it again for each use; and a number's
// next values unknown, or it would keep a pointer for each row of a tile, and more than there is
// room for.
#if defined(__AVX512F__)
#define KEEP(v) asm("" : "+v"(v))
#define HIDE(i) asm("" : "+r"(i))
#else
#define KEEP(v)
#define HIDE(i)
#endif

// Of each four lanes the sums of four vectors.
INLINE Floats sums_of_fours(const Floats* v) {
    const Floats ab = LOW(v[0], v[1]) + HIGH(v[0], v[1]), cd = LOW(v[2], v[3]) + HIGH(v[2], v[3]);
    return FIRST(ab, cd) + SECOND(ab, cd);
}

// The sums of four vectors' lanes.
INLINE Four sums_of(const Floats* v) {
    const Floats fours = sums_of_fours(v);
    Four parts[LANES / 4];
    memcpy(parts, &fours, sizeof fours);
    if constexpr (LANES == 16) return (parts[0] + parts[1]) + (parts[2] + parts[3]);
    if constexpr (LANES == 8) return parts[0] + parts[1];
    return parts[0];
}

#if defined(__AVX512F__)
// The same of sixteen vectors, added in the same order.
INLINE __m512 sums_of_rows(const Floats* v) {
    const Floats a = sums_of_fours(v), b = sums_of_fours(v + 4);
    const Floats c = sums_of_fours(v + 8), d = sums_of_fours(v + 12);
    const Floats ab = EVEN(a, b) + ODD(a, b), cd = EVEN(c, d) + ODD(c, d);
    return (__m512)(EVEN(ab, cd) + ODD(ab, cd));
}
#endif

inline float sum(Floats v) {
    const Floats same[4] = {v, v, v, v};
    return sums_of(same)[0];
}

// The nearest whole numbers of small ones.
inline Floats nearest_float(Floats v) {
    const float shift = 12582912.f;  // 1.5 * 2^23: adding it rounds
    return (v + shift) - shift;
}
inline Ints nearest(Floats v) { return __builtin_convertvector(nearest_float(v), Ints); }

// e to the x by Cephes' polynomial: 2 to the n times e to the r, |r| at most ln 2 / 2.
inline Floats exponential(Floats x) {
    x = x < all(-87.f) ? all(-87.f) : x;
    x = x > all(88.f) ? all(88.f) : x;
    Floats n = nearest_float(x * 1.44269504f);
    Floats r = plus_product(plus_product(x, n, all(-0.693359375f)), n, all(2.12194440e-4f));
    Floats p = all(1.9875691500e-4f);
    p = plus_product(all(1.3981999507e-3f), p, r);
    p = plus_product(all(8.3334519073e-3f), p, r);
    p = plus_product(all(4.1665795894e-2f), p, r);
    p = plus_product(all(1.6666665459e-1f), p, r);
    p = plus_product(all(5.0000001201e-1f), p, r);
    p = plus_product(r, p, r * r) + 1.f;
    Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    return p * (Floats)power;
}

// GELU in its tanh form: x times the logistic function of 2 u.
inline Floats gelu(Floats x) {
    Floats u = x * (0.7978845608f + 0.7978845608f * 0.044715f * x * x);
    return x / (1.f + exponential(u * -2.f));
}

}  // namespace
