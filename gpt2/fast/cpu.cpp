// GPT-2 on a CPU: the forward pass over rows of tokens, and the choice of the next ones.
//
// A row is one token of one text, with that text's keys and values. Rows of many texts, or many of
// one, are read at once: the matrices come from memory once for all of them, which is what takes
// the time. No sum depends on which rows are read together: each element of a product is added up
// on its own, lane by lane over the inputs in their order. So a text is the same to the last bit
// alone or beside others, read at once or in parts.
//
// The weights are torch's own memory, [out, in]: float32, bfloat16, or int8 with a scale a row.
// Everything else is float32, but for what int8 is multiplied with: the inputs are rounded to 16
// bits, and their products are whole numbers, added up exactly. native.py is the other side of the
// extern "C" functions at the end.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

// --- vectors ------------------------------------------------------------------------------------

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

inline Floats plus_product(Floats sum, Floats a, Floats b) { return sum + a * b; }
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
    Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Floats p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.f;
    Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    return p * (Floats)power;
}

// GELU in its tanh form: x times the logistic function of 2 u.
inline Floats gelu(Floats x) {
    Floats u = x * (0.7978845608f + 0.7978845608f * 0.044715f * x * x);
    return x / (1.f + exponential(u * -2.f));
}

// --- threads ------------------------------------------------------------------------------------

// Workers that share the parts of one piece of work after the other. The caller takes parts too, so
// that it never waits for a worker that has not begun. A worker without work looks for some for a
// while, and then sleeps.
class Pool {
  public:
    const int threads;

    explicit Pool(int count) : threads(count) {
        for (int i = 1; i < threads; i++) std::thread([this] { serve(); }).detach();
    }

    // Call part(0) to part(count - 1), on any thread, each once.
    template <typename Part>
    void run(int count, const Part& part) {
        if (count <= 1) {
            if (count) part(0);
            return;
        }
        call_ = [](const void* p, int i) { (*static_cast<const Part*>(p))(i); };
        part_ = &part;
        done_.store(0, std::memory_order_relaxed);
        turn_++;
        tickets_.store(turn_ << 48 | uint64_t(count) << 24);
        if (sleeping_.load()) {
            std::lock_guard<std::mutex> lock(mutex_);
            awake_.notify_all();
        }
        while (take()) {
        }
        for (int tries = 0; done_.load(std::memory_order_acquire) < count; tries++) pause(tries);
    }

  private:
    static bool left(uint64_t tickets) { return (tickets & MASK) < (tickets >> 24 & MASK); }

    bool take() {
        if (!left(tickets_.load())) return false;
        uint64_t ticket = tickets_.fetch_add(1);
        if (!left(ticket)) return false;
        call_(part_, int(ticket & MASK));
        done_.fetch_add(1, std::memory_order_release);
        return true;
    }

    static void pause(int tries) {
        if (tries % 64 == 63) {
            std::this_thread::yield();
        } else {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
    }

    void serve() {
        for (int idle = 0;;) {
            if (take()) {
                idle = 0;
            } else if (++idle < LOOKS) {
                pause(idle);
            } else {
                std::unique_lock<std::mutex> lock(mutex_);
                sleeping_++;
                awake_.wait(lock, [this] { return left(tickets_.load()); });
                sleeping_--;
                idle = 0;
            }
        }
    }

    static constexpr uint64_t MASK = (1 << 24) - 1;
    static constexpr int LOOKS = 5000;  // some 0.2 ms
    void (*call_)(const void*, int) = nullptr;
    const void* part_ = nullptr;
    uint64_t turn_ = 0;
    std::atomic<uint64_t> tickets_{0};  // turn, parts in all, parts given out
    std::atomic<int> done_{0}, sleeping_{0};
    std::mutex mutex_;
    std::condition_variable awake_;
};

Pool& pool_of(int threads) {
    static Pool* pool = new Pool(threads);  // one for all; its threads wait for work, and never end
    return *pool;
}

// --- memory -----------------------------------------------------------------------------------

int round_up(int n) { return (n + LANES - 1) / LANES * LANES; }

// From one row of n numbers to the next: an odd number of vectors, or rows would meet in the cache.
template <int COUNT = LANES>
int row_step(int n) {
    return ((n + COUNT - 1) / COUNT | 1) * COUNT;
}

// Memory that begins where a vector may: others take twice as long to load.
struct Buffer {
    std::vector<float> room;
    float* data = nullptr;

    void make(size_t count) {
        room.assign(count + LANES, 0.f);
        data = room.data();
        while (uintptr_t(data) % sizeof(Floats)) data++;
    }

    // Room for so many numbers, whatever is in it.
    template <typename Number>
    Number* of(size_t count) {
        const size_t floats = count * sizeof(Number) / sizeof(float) + 1;
        if (room.size() < floats + LANES) make(floats + floats / 4);
        return reinterpret_cast<Number*>(data);
    }
};

// --- products -----------------------------------------------------------------------------------

enum Kind { FLOAT32, BFLOAT16, INT8 };

struct Matrix {  // as native_model.py fills it
    const void* weights;  // [out, in]
    const float* scale;   // [out] of int8, else null
    const float* bias;    // [out] or null
    int32_t out, in, kind;
};

// One number of a matrix, by its place among all and its row.
inline float number(const Matrix& m, int64_t place, int row) {
    if (m.kind == INT8) return static_cast<const int8_t*>(m.weights)[place] * m.scale[row];
    if (m.kind == FLOAT32) return static_cast<const float*>(m.weights)[place];
    const uint32_t bits = uint32_t(static_cast<const uint16_t*>(m.weights)[place]) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Sums of x[r] . w[o] lane by lane, for R rows and O outputs, over `length` inputs.
template <int R, int O, bool FAR, typename Weight, typename Number>
INLINE void add_up(const Number* x, int64_t x_step, const Weight* w, int64_t w_step, int length,
                   Floats (&all_sums)[R][O]) {
    typedef typename Factors<Weight>::Vector Vector;
    constexpr int COUNT = sizeof(Vector) / sizeof(Number);
    typename Factors<Weight>::Sums sums[R][O] = {};  // of its own: in registers
    int64_t i = 0;
    for (; i + COUNT <= length; i += COUNT) {
        if constexpr (R > 1) HIDE(i);
        Vector weights[O];
        for (int o = 0; o < O; o++) {
            const Weight* place = w + o * w_step + i;
            weights[o] = load(place);
            if constexpr (FAR && (R > 1 || sizeof(Weight) < 4))  // one row's are found without
                __builtin_prefetch(reinterpret_cast<const char*>(place) + AHEAD);
        }
        for (int r = 0; r < R; r++) {
            Vector a = load(x + r * x_step + i);
            KEEP(a);
            for (int o = 0; o < O; o++) sums[r][o] = plus_product(sums[r][o], a, weights[o]);
        }
    }
    if (i < length) {  // what x has beyond its end is 0
        for (int o = 0; o < O; o++) {
            const Vector some = load_some(w + o * w_step + i, length - i);
            for (int r = 0; r < R; r++)
                sums[r][o] = plus_product(sums[r][o], load(x + r * x_step + i), some);
        }
    }
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) all_sums[r][o] = floats(sums[r][o]);
}

// y[r][o], or what they gain, from the sums' lanes.
template <bool GAIN, int R, int O>
INLINE void finish(const Floats (&sums)[R][O], float* y, int64_t y_step) {
    const Floats* flat = &sums[0][0];
    if constexpr (O == 4) {
        auto put = [&](int r, Four four) {
            if (GAIN) four = read<Four>(y + r * y_step) + four;
            memcpy(y + r * y_step, &four, sizeof four);
        };
        int r = 0;
#if defined(__AVX512F__)
        for (; r + 4 <= R; r += 4) {
            const __m512 rows = sums_of_rows(flat + 4 * r);
            put(r, (Four)_mm512_extractf32x4_ps(rows, 0));
            put(r + 1, (Four)_mm512_extractf32x4_ps(rows, 1));
            put(r + 2, (Four)_mm512_extractf32x4_ps(rows, 2));
            put(r + 3, (Four)_mm512_extractf32x4_ps(rows, 3));
        }
#endif
        for (; r < R; r++) put(r, sums_of(flat + 4 * r));
    } else {
        for (int i = 0; i < R * O; i += 4) {
            Floats some[4];
            for (int j = 0; j < 4; j++) some[j] = flat[std::min(i + j, R * O - 1)];
            const Four four = sums_of(some);
            for (int j = i; j < std::min(i + 4, R * O); j++) {
                float& place = y[j / O * y_step + j % O];
                place = GAIN ? place + four[j - i] : four[j - i];
            }
        }
    }
}

template <int R, int O, bool FAR, bool GAIN = false, typename Weight, typename Number>
INLINE void tile(const Number* x, int64_t x_step, const Weight* w, int64_t w_step, int length,
                 float* y, int64_t y_step) {
    Floats sums[R][O];
    add_up<R, O, FAR>(x, x_step, w, w_step, length, sums);
    finish<GAIN, R, O>(sums, y, y_step);
}

// The same for rows of any length, which are multiplied in goes: what the next go adds to y does
// not depend on whether it comes at once or after those of other rows.
template <int R, int O, bool FAR, typename Weight, typename Number>
INLINE void tile_along(const Number* x, int64_t x_step, const Weight* w, int64_t w_step, int length,
                       float* y, int64_t y_step, bool gain) {
    constexpr int GO = DEPTH / sizeof(Number);
    int i = 0;
    if (!gain) {
        tile<R, O, FAR>(x, x_step, w, w_step, std::min(GO, length), y, y_step);
        i = GO;
    }
    for (; i < length; i += GO)
        tile<R, O, FAR, true>(x + i, x_step, w + i, w_step, std::min(GO, length - i), y, y_step);
}

// A matrix, or a part of its outputs and inputs.
template <typename Weight>
struct Part {
    const Weight* weights;
    int64_t step;  // from one output's to the next
    int out, in;
    bool first, far;  // whether it has the first inputs; whether it comes from memory
};

// Its products with R rows.
template <int R, bool FAR, typename Weight, typename Number>
void tiles(const Part<Weight>& part, const Number* x, int64_t x_step, float* y, int64_t y_step) {
    constexpr int O = outs_beside(R);
    const Weight* w = part.weights;
    int o = 0;
    for (; o + O <= part.out; o += O, w += O * part.step)
        tile_along<R, O, FAR>(x, x_step, w, part.step, part.in, y + o, y_step, !part.first);
    for (; o < part.out; o++, w += part.step)
        tile_along<R, 1, FAR>(x, x_step, w, part.step, part.in, y + o, y_step, !part.first);
}

template <int N>
using Int = std::integral_constant<int, N>;

// Calls what(Int<n>()) for an n from 1 to the most.
template <int MOST, typename What>
INLINE void with_constant(int n, const What& what) {
    if constexpr (MOST > 1)
        if (n < MOST) return with_constant<MOST - 1>(n, what);
    what(Int<MOST>());
}

// Its products with any rows, in strips of about as many.
template <typename Weight, typename Number>
void strips(const Part<Weight>& part, const Number* x, int64_t x_step, int rows, float* y,
            int64_t y_step) {
    const int high = part.far ? ROWS : STRIP;
    for (int left = (rows + high - 1) / high, r = 0; left; left--) {
        const int count = (rows - r + left - 1) / left;
        auto strip = [&](auto of, auto far) {
            tiles<of.value, far.value>(part, x + r * x_step, x_step, y + r * y_step, y_step);
        };
        if (part.far)
            with_constant<ROWS>(count, [&](auto of) { strip(of, std::true_type()); });
        else
            with_constant<STRIP>(count, [&](auto of) { strip(of, std::false_type()); });
        r += count;
    }
}

constexpr int LONG_BYTES = 1 << 21;   // of a matrix that takes a thread a tenth of a millisecond
constexpr int PART_BYTES = 1 << 18;   // of weights that many rows are multiplied with
constexpr int INPUT_BYTES = 3 << 17;  // of rows in a part: they stay in a core's own cache

int64_t row_bytes(const Matrix& m) {
    return int64_t(m.in) * (m.kind == FLOAT32 ? 4 : m.kind == BFLOAT16 ? 2 : 1);
}

// Outputs in a part of a product with few rows, which takes as long as reading the weights does:
// memory is quickest in long stretches. A matrix that takes long is cut once more, lest a thread
// that was held up is waited for.
int outs_in_a_row(const Matrix& m, int threads) {
    const int parts = m.out * row_bytes(m) > LONG_BYTES ? 2 * threads : threads;
    return ((m.out + parts - 1) / parts + STEP - 1) / STEP * STEP;
}

// A part of a matrix as the numbers that it is multiplied with, output after output.
template <typename Weight, typename Number = typename Factors<Weight>::Number>
Part<Number> unpacked(const Part<Weight>& part) {
    constexpr int COUNT = sizeof(Floats) / sizeof(Number);
    const int step = (part.in + COUNT - 1) / COUNT * COUNT;
    thread_local Buffer room;
    Number* numbers = room.of<Number>(int64_t(part.out) * step);
    for (int o = 0; o < part.out; o++)
        for (int i = 0; i < part.in; i += COUNT) {
            const Weight* place = part.weights + o * part.step + i;
            const int left = part.in - i;
            const auto v = left < COUNT ? load_some(place, left) : load(place);
            memcpy(numbers + int64_t(o) * step + i, &v, sizeof v);
        }
    return {numbers, step, part.out, part.in, part.first, part.far};
}

// Rows of numbers to multiply with, and what 1 means in each of them.
template <typename Number>
struct Input {
    const Number* numbers;
    int64_t step;  // from one row to the next
    const float* units;
};

constexpr float MOST = 32767;  // in a row of integers

// Rows as integers, the largest number of each being the most. They are exact to a 65,000th part of
// it; products of theirs with an int8 are exact, and so are their sums.
Input<int16_t> wholes(Pool& pool, const float* x, int64_t x_step, int in, int rows) {
    static Buffer room, units_room;  // one product at a time
    const int step = row_step<2 * LANES>(in);
    int16_t* numbers = room.of<int16_t>(int64_t(rows) * step);
    float* units = units_room.of<float>(rows);
    auto one = [&](int r) {
        const float* row = x + r * x_step;
        Floats most{}, none{};
        for (int i = 0; i < in; i += LANES) {
            const Floats v = load(row + i), size = v < -v ? -v : v;
            most = size > most ? size : most;
            none += v * 0.f;  // is no number if one of them is none
        }
        float largest = 0;
        for (int i = 0; i < LANES; i++) largest = std::max(largest, most[i]);
        const float rate = largest > 1e-30f ? MOST / largest : 0;  // or it would be infinite
        units[r] = largest / MOST + sum(none);
        for (int i = 0; i < step; i += LANES) {
            const Floats v = i < in ? load(row + i) * rate : Floats{};
            const FewHalves few = __builtin_convertvector(nearest(v), FewHalves);
            memcpy(numbers + int64_t(r) * step + i, &few, sizeof few);
        }
    };
    if (rows > ROWS)
        pool.run(rows, one);
    else
        for (int r = 0; r < rows; r++) one(r);
    return {numbers, step, units};
}

// Outputs [from, to) of some rows. The weights for many rows, in goes of a part of the inputs, stay
// in a core's own cache, in the form in which they are multiplied.
template <typename Weight, typename Number>
void block(const Matrix& m, const Number* x, int64_t x_step, int rows, bool many, float* y,
           int64_t y_step, int from, int to) {
    const Weight* w = static_cast<const Weight*>(m.weights) + int64_t(from) * m.in;
    const int go = many ? DEPTH / int(sizeof(Number)) : m.in;
    for (int i = 0; i < m.in; i += go) {
        const Part<Weight> part{w + i, m.in, to - from, std::min(go, m.in - i), i == 0, !many};
        if (sizeof(Weight) == sizeof(Number) || !many)
            strips(part, x + i, x_step, rows, y + from, y_step);
        else
            strips(unpacked(part), x + i, x_step, rows, y + from, y_step);
    }
}

// y = x w^T + bias for all rows; then(r, from, to) is called for each row's piece as it is done.
template <typename Weight, typename Then>
void product_with(Pool& pool, const Matrix& m, const float* x, int64_t x_step, int rows, float* y,
                  int64_t y_step, const Then& then) {
    typedef typename Factors<Weight>::Number Number;
    Input<Number> input;
    if constexpr (std::is_same_v<Number, float>)
        input = {x, x_step, nullptr};
    else
        input = wholes(pool, x, x_step, m.in, rows);
    const bool many = rows > ROWS;
    const int bytes = std::min<int>(m.in * sizeof(Number), DEPTH);
    const int outs = many ? std::max(STEP, PART_BYTES / bytes / STEP * STEP)
                          : outs_in_a_row(m, pool.threads);
    const int down = (rows * bytes + INPUT_BYTES - 1) / INPUT_BYTES;
    const int most = ((rows + down - 1) / down + STRIP - 1) / STRIP * STRIP;
    const int across = (m.out + outs - 1) / outs;
    pool.run(across * ((rows + most - 1) / most), [&](int part) {
        const int first = part / across * most, from = part % across * outs;
        const int last = std::min(rows, first + most), to = std::min(m.out, from + outs);
        block<Weight>(m, input.numbers + first * input.step, input.step, last - first, many,
                      y + first * y_step, y_step, from, to);
        for (int r = first; r < last; r++) {
            float* row = y + r * y_step;
            if (m.scale)
                for (int o = from; o < to; o++) row[o] *= m.scale[o] * input.units[r];
            if (m.bias)
                for (int o = from; o < to; o++) row[o] += m.bias[o];
            then(r, from, to);
        }
    });
}

template <typename Then>
void product(Pool& pool, const Matrix& m, const float* x, int64_t x_step, int rows, float* y,
             int64_t y_step, const Then& then) {
    if (m.kind == FLOAT32) product_with<float>(pool, m, x, x_step, rows, y, y_step, then);
    if (m.kind == BFLOAT16) product_with<BFloat16>(pool, m, x, x_step, rows, y, y_step, then);
    if (m.kind == INT8) product_with<int8_t>(pool, m, x, x_step, rows, y, y_step, then);
}

// --- the model ----------------------------------------------------------------------------------

struct Norm {
    const float *weight, *bias;
};

struct Layer {  // as native_model.py fills it
    Norm ln_1;
    Matrix c_attn, attn_proj;
    Norm ln_2;
    Matrix c_fc, mlp_proj;
};

struct Shape {  // as native_model.py fills it
    int32_t vocab_size, n_ctx, n_embd, n_layer, n_head;
    float epsilon;
    int32_t threads, unused;
    Matrix wte;  // the embeddings and the head
    const float* wpe;
    Norm ln_f;
};

struct Row {  // as native.py fills it
    int32_t token, position;
    float *keys, *values;  // [L, H, capacity, D] of its text
    int64_t capacity;
    const float* factors;  // [L, H + 2]: of each head, of the MLP, of the whole block; null for 1
    int32_t wanted, unused;
};

constexpr int AT_ONCE = 1024;  // rows; more are read in parts
constexpr int TOGETHER = STRIP > 4 ? 6 : 4;  // queries of one text
constexpr int WIDEST_HEAD = 1024;

struct Model {
    Shape shape;
    Pool& pool;
    std::vector<Layer> layers;
    int C, D, step, wide;  // step and wide: from one row to the next of [R, C] and of [R, 4 C]
    Buffer stream, normed, mixed, hidden;
    int rows = 0;  // that they have room for

    Model(const Shape& s, const Layer* l) : shape(s), pool(pool_of(s.threads)), layers(l, l + s.n_layer) {
        C = s.n_embd, D = C / s.n_head, step = row_step(C), wide = row_step(4 * C);
    }

    void make_room(int wanted) {
        if (wanted <= rows) return;
        rows = wanted;
        for (Buffer* buffer : {&stream, &normed, &mixed}) buffer->make(size_t(rows) * step);
        hidden.make(size_t(rows) * wide);
    }
};

void normalize(const Norm& norm, const float* x, int C, float epsilon, float* y) {
    Floats total{};
    int i = 0;
    for (; i + LANES <= C; i += LANES) total += load(x + i);
    float mean = sum(total);
    for (; i < C; i++) mean += x[i];
    mean /= C;
    Floats squares{};
    for (i = 0; i + LANES <= C; i += LANES) {
        Floats d = load(x + i) - mean;
        squares += d * d;
    }
    float variance = sum(squares);
    for (; i < C; i++) variance += (x[i] - mean) * (x[i] - mean);
    const float rate = 1.f / std::sqrt(variance / C + epsilon);
    for (i = 0; i < C; i++) y[i] = (x[i] - mean) * rate * norm.weight[i] + norm.bias[i];
}

// Scores of Q queries, each [span], to probabilities. The first one sees `seen` tokens, each further
// one another; what the others see and it does not is 0 for it.
void to_probabilities(float* scores, int span, int seen, int rows, float* wholes) {
    for (int q = 0; q < rows; q++) {
        float* row = scores + int64_t(q) * span;
        for (int t = seen + q; t < span; t++) row[t] = -INFINITY;
        Floats most = load(row), total{};
        for (int t = LANES; t < span; t += LANES) {
            Floats next = load(row + t);
            most = next > most ? next : most;
        }
        float top = most[0];
        for (int i = 1; i < LANES; i++) top = std::max(top, most[i]);
        for (int t = 0; t < span; t += LANES) {
            Floats there = load(row + t), e = exponential(there - top);
            e = there > all(-INFINITY) ? e : Floats{};
            total += e;
            store(row + t, e);
        }
        wholes[q] = 1.f / sum(total);
    }
}

// W vectors of Q sums of the values, each token's times its probability. Of a last vector that is
// not full there are only some numbers.
template <int Q, int W>
INLINE void mix(const float* probs, int span, const float* values, int count, int D,
                const float* wholes, float* y, int64_t y_step, int some = LANES) {
    Floats sums[Q][W] = {};
    for (int t = 0; t < count; t++, values += D) {
        Floats value[W];
        for (int i = 0; i < W; i++)
            value[i] = some == LANES ? load(values + i * LANES) : load_some(values, some);
        for (int q = 0; q < Q; q++) {
            Floats share = all(probs[q * span + t]);
            KEEP(share);
            for (int i = 0; i < W; i++) sums[q][i] += share * value[i];
        }
    }
    for (int q = 0; q < Q; q++)
        for (int i = 0; i < W; i++) {
            Floats mixed = sums[q][i] * wholes[q];
            memcpy(y + q * y_step + i * LANES, &mixed, some * sizeof(float));
        }
}

// One head's answers to the queries of Q tokens that follow each other, [Q, D] in rows a step apart.
// The first one sees `seen` tokens' keys and values, [n, D], and each further one another.
template <int Q>
void attend(const float* queries, int64_t q_step, const float* keys, const float* values, int seen,
            int D, float* y, int64_t y_step) {
    const int count = seen + Q - 1, span = round_up(count);
    thread_local Buffer room;
    float *scores = room.of<float>(size_t(Q) * span), wholes[Q];
    int t = 0;
    for (; t + 4 <= count; t += 4)
        tile<Q, 4, Q == 1>(queries, q_step, keys + int64_t(t) * D, D, D, scores + t, span);
    for (; t < count; t++)
        tile<Q, 1, Q == 1>(queries, q_step, keys + int64_t(t) * D, D, D, scores + t, span);
    to_probabilities(scores, span, seen, Q, wholes);
    int d = 0;
    auto mixed = [&](auto width) {
        for (; d + width.value * LANES <= D; d += width.value * LANES)
            mix<Q, width.value>(scores, span, values + d, count, D, wholes, y + d, y_step);
    };
    if (LANES == 16 || Q == 1) mixed(Int<4>());
    mixed(Int<2>());
    mixed(Int<1>());
    if (d < D) mix<Q, 1>(scores, span, values + d, count, D, wholes, y + d, y_step, D - d);
}

// The rows' final hidden vectors, normalised: those that are wanted, one after the other.
float* read_rows(Model& m, const Row* rows, int count, float* wanted) {
    const Shape& s = m.shape;
    Pool& pool = m.pool;
    const int C = m.C, D = m.D, H = s.n_head, step = m.step, wide = m.wide;
    m.make_room(count);
    float *x = m.stream.data, *normed = m.normed.data, *mixed = m.mixed.data;
    float* hidden = m.hidden.data;
    for (int r = 0; r < count; r++) {
        float* place = x + int64_t(r) * step;
        const float* position = s.wpe + int64_t(rows[r].position) * C;
        const int64_t first = int64_t(rows[r].token) * C;
        for (int i = 0; i < C; i++) place[i] = number(s.wte, first + i, rows[r].token) + position[i];
    }
    const float scale = 1.f / std::sqrt(float(D));
    std::vector<std::pair<int, int>> groups;  // of rows whose attention is computed at once
    for (int r = 0; r < count;) {
        int n = 1;
        while (n < TOGETHER && r + n < count && rows[r + n].keys == rows[r].keys &&
               rows[r + n].position == rows[r].position + n)
            n++;
        groups.push_back({r, n});
        r += n;
    }
    auto norm_all = [&](const Norm& norm) {
        auto one = [&](int r) {
            normalize(norm, x + int64_t(r) * step, C, s.epsilon, normed + int64_t(r) * step);
        };
        if (count < 4) {
            for (int r = 0; r < count; r++) one(r);
        } else {
            pool.run(count, one);
        }
    };
    for (int layer = 0; layer < s.n_layer; layer++) {
        const Layer& l = m.layers[layer];
        auto factor = [&](int r, int which) {
            return rows[r].factors ? rows[r].factors[layer * (H + 2) + which] : 1.f;
        };
        norm_all(l.ln_1);
        product(pool, l.c_attn, normed, step, count, hidden, wide, [&](int r, int from, int to) {
            const Row& row = rows[r];
            for (int o = std::max(from, C); o < to;) {  // keys and values go to the text's own
                const int head = o % C / D, d = o % D, n = std::min(to - o, D - d);
                float* text = o < 2 * C ? row.keys : row.values;
                float* place = text + ((int64_t(layer) * H + head) * row.capacity + row.position) * D;
                memcpy(place + d, hidden + int64_t(r) * wide + o, n * sizeof(float));
                o += n;
            }
        });
        pool.run(int(groups.size()) * H, [&](int part) {
            const int head = part % H;
            const auto [r, queries] = groups[part / H];
            const Row& row = rows[r];
            const int64_t first = (int64_t(layer) * H + head) * row.capacity * D;
            alignas(64) float scaled[TOGETHER * WIDEST_HEAD];
            const int q_step = round_up(D);
            float* y = mixed + int64_t(r) * step + head * D;
            for (int q = 0; q < queries; q++) {
                const float* query = hidden + int64_t(r + q) * wide + head * D;
                for (int d = 0; d < q_step; d++) scaled[q * q_step + d] = d < D ? query[d] * scale : 0;
            }
            auto answer = [&](auto count) {
                attend<count.value>(scaled, q_step, row.keys + first, row.values + first,
                                    row.position + 1, D, y, step);
            };
            with_constant<TOGETHER>(queries, answer);
            for (int q = 0; q < queries; q++)
                if (const float share = factor(r + q, head); share != 1.f)
                    for (int d = 0; d < D; d++) y[int64_t(q) * step + d] *= share;
        });
        product(pool, l.attn_proj, mixed, step, count, normed, step, [&](int r, int from, int to) {
            const float whole = factor(r, H + 1);
            float *to_stream = x + int64_t(r) * step, *y = normed + int64_t(r) * step;
            for (int o = from; o < to; o++) to_stream[o] += y[o] * whole;
        });
        norm_all(l.ln_2);
        product(pool, l.c_fc, normed, step, count, hidden, wide, [&](int r, int from, int to) {
            float* y = hidden + int64_t(r) * wide;
            int o = from;
            for (; o + LANES <= to; o += LANES) store(y + o, gelu(load(y + o)));
            if (o < to) {
                Floats last = gelu(load_some(y + o, to - o));
                memcpy(y + o, &last, (to - o) * sizeof(float));
            }
        });
        product(pool, l.mlp_proj, hidden, wide, count, normed, step, [&](int r, int from, int to) {
            const float share = factor(r, H) * factor(r, H + 1);
            float *to_stream = x + int64_t(r) * step, *y = normed + int64_t(r) * step;
            for (int o = from; o < to; o++) to_stream[o] += y[o] * share;
        });
    }
    for (int r = 0; r < count; r++) {
        if (!rows[r].wanted) continue;
        normalize(s.ln_f, x + int64_t(r) * step, C, s.epsilon, wanted);
        wanted += C;
    }
    return wanted;
}

// --- the choice of a token ----------------------------------------------------------------------

constexpr int TOP = 10;

struct Draw {  // as native.py fills it
    uint64_t seed, position;
    double temperature, top_p, min_p, penalty;
    const int32_t* seen;
    int32_t seen_count, top_k, forced, unused;
};

struct Choice {  // as native.py reads it
    int32_t token, rank, bad, top_count;
    double logprob, entropy, sampled_prob;
    int32_t top_ids[TOP];
    float top_probs[TOP], top_sampled[TOP];
};

// NumPy's first random number of Philox(key=[seed, position]) (Salmon et al. 2011).
double uniform(uint64_t seed, uint64_t position) {
    uint64_t counter[4] = {1, 0, 0, 0}, key[2] = {seed, position};
    for (int round = 0; round < 10; round++) {
        const __uint128_t a = (__uint128_t)0xD2E7470EE14C6C93u * counter[0];
        const __uint128_t b = (__uint128_t)0xCA5A826395121157u * counter[2];
        const uint64_t next[4] = {uint64_t(b >> 64) ^ counter[1] ^ key[0], uint64_t(b),
                                  uint64_t(a >> 64) ^ counter[3] ^ key[1], uint64_t(a)};
        memcpy(counter, next, sizeof counter);
        key[0] += 0x9E3779B97F4A7C15u, key[1] += 0xBB67AE8584CAA73Bu;
    }
    return (counter[0] >> 11) * (1.0 / 9007199254740992.0);
}

typedef std::pair<float, int> Candidate;  // a logit and its token

bool better(const Candidate& a, const Candidate& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
}

// The k best of all, best first.
std::vector<Candidate> best_of(const float* logits, int count, int k) {
    std::vector<Candidate> heap;  // its front is the worst that is kept
    heap.reserve(k + 1);
    int i = 0;
    for (; i < count && int(heap.size()) < k; i++) {
        heap.push_back({logits[i], i});
        std::push_heap(heap.begin(), heap.end(), better);
    }
    auto offer = [&](int i) {
        if (!(logits[i] > heap.front().first)) return;
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.back() = {logits[i], i};
        std::push_heap(heap.begin(), heap.end(), better);
    };
    for (; i + LANES <= count; i += LANES) {
        Ints above = load(logits + i) > all(heap.front().first);
        Ints none{};
        if (memcmp(&above, &none, sizeof above) == 0) continue;
        for (int j = i; j < i + LANES; j++) offer(j);
    }
    for (; i < count; i++) offer(i);
    std::sort_heap(heap.begin(), heap.end(), better);
    return heap;
}

// Probabilities of some logits; the largest is known.
void softmax(const std::vector<Candidate>& kept, float largest, std::vector<float>& probs) {
    const int count = kept.size();
    probs.resize(round_up(count));
    for (int i = 0; i < count; i++) probs[i] = kept[i].first - largest;
    double total = 0;
    for (int i = 0; i < count; i += LANES) {
        Floats e = exponential(load(&probs[i]));
        store(&probs[i], e);
        for (int j = i; j < std::min(count, i + LANES); j++) total += probs[j];
    }
    for (int i = 0; i < count; i++) probs[i] = float(probs[i] / total);
}

// Of the kept the fewest that hold a probability of p: those no worse than the last of them, which
// is found by halving the ones that it may be. All that have less than an equal share of 1 - p hold
// less than 1 - p together: it is none of them.
void keep_top_p(std::vector<Candidate>& kept, float largest, double p) {
    std::vector<float> probs;
    softmax(kept, largest, probs);
    std::vector<int> order;
    for (size_t i = 0; i < kept.size(); i++)
        if (probs[i] >= 0.99 * (1 - p) / kept.size()) order.push_back(i);
    auto likelier = [&](int a, int b) { return better(kept[a], kept[b]); };
    double before = 0;  // what is held by the likelier ones than all from `first` on
    size_t first = 0, end = order.size();
    while (end - first > 1) {
        const size_t middle = (first + end) / 2;
        const auto begin = order.begin();
        std::nth_element(begin + first, begin + middle, begin + end, likelier);
        double half = 0;
        for (size_t i = first; i < middle; i++) half += probs[order[i]];
        if (before + half >= p)
            end = middle;
        else
            before += half, first = middle;
    }
    const Candidate last = kept[order[first]];
    auto worse = [&](const Candidate& each) { return better(last, each); };
    kept.erase(std::remove_if(kept.begin(), kept.end(), worse), kept.end());
}

// Calls each(i) for every number that is at least the least; few are.
template <typename Each>
void for_large(const float* numbers, int count, float least, const Each& each) {
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        const Ints there = load(numbers + i) >= all(least), none{};
        if (memcmp(&there, &none, sizeof there) == 0) continue;
        for (int j = i; j < i + LANES; j++)
            if (there[j - i]) each(j);
    }
    for (; i < count; i++)
        if (numbers[i] >= least) each(i);
}

// The tokens that may be drawn, in their order, with their logits as they are drawn from.
std::vector<Candidate> kept_of(const float* logits, int count, const Draw& draw, Candidate best) {
    std::vector<float> penalized;
    if (draw.penalty != 1) {
        penalized.assign(logits, logits + count);
        for (int j = 0; j < draw.seen_count; j++) {
            const float value = logits[draw.seen[j]], penalty = float(draw.penalty);
            penalized[draw.seen[j]] = value > 0 ? value / penalty : value * penalty;
        }
        logits = penalized.data();
        best = best_of(logits, count, 1)[0];
    }
    if (draw.temperature == 0) return {{0.f, best.second}};
    auto heated = [&](float logit) {
        if (draw.temperature >= 1e-3) return logit / float(draw.temperature);
        return (logit - best.first) / float(std::max(draw.temperature, 1e-30));
    };
    float least = -INFINITY;
    if (draw.top_k > 0 && draw.top_k < count) {
        if (draw.top_k <= 1024) {
            least = best_of(logits, count, draw.top_k).back().first;
        } else {
            std::vector<float> ranked(logits, logits + count);
            auto place = ranked.begin() + draw.top_k - 1;
            std::nth_element(ranked.begin(), place, ranked.end(), std::greater<float>());
            least = *place;
        }
    }
    const float last = heated(least);  // ties with it stay, those too that the heat has made
    std::vector<Candidate> kept;
    for_large(logits, count, least - std::abs(least) * 1e-6f, [&](int i) {
        if (const float logit = heated(logits[i]); logit >= last) kept.push_back({logit, i});
    });
    const float largest = heated(best.first);
    if (draw.top_p < 1) keep_top_p(kept, largest, draw.top_p);
    if (draw.min_p > 0) {
        const float floor = largest + float(std::log(draw.min_p));
        auto below = [&](const Candidate& each) { return each.first < floor; };
        kept.erase(std::remove_if(kept.begin(), kept.end(), below), kept.end());
    }
    return kept;
}

// The token at which the cumulative distribution, in the order of the tokens, passes u.
int drawn(const std::vector<Candidate>& kept, const std::vector<float>& probs, double u) {
    double total = 0, end = 0;
    for (size_t i = 0; i < kept.size(); i++) total += probs[i];
    int token = kept[0].second;
    for (size_t i = 0; i < kept.size(); i++) {
        if (!(probs[i] > 0)) continue;
        token = kept[i].second;
        end += probs[i];
        if (end / total > u) break;
    }
    return token;
}

// Choose the next token and describe the choice, as gpt2/sampling.py and prediction.py define it.
void choose(const float* logits, int count, const Draw& draw, Choice& c) {
    const std::vector<Candidate> top = best_of(logits, count, std::min(TOP, count));
    const float most = top[0].first;
    Floats sums{}, products{};
    double total = 0, weighted = 0;  // of e^d, and of d e^d
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        Floats d = load(logits + i) - most, e = exponential(d);
        d = d < all(-87.f) ? all(-87.f) : d;  // 0 times -inf would be no number
        sums += e;
        products += e * d;
    }
    for (; i < count; i++) {
        const float d = logits[i] - most, e = std::exp(d);
        total += e, weighted += e * std::max(-87.f, d);
    }
    for (int j = 0; j < LANES; j++) total += sums[j], weighted += products[j];
    c.bad = !std::isfinite(most) || !std::isfinite(total);
    if (c.bad) return;
    const double log_total = std::log(total);
    c.entropy = log_total - weighted / total;

    const std::vector<Candidate> kept = kept_of(logits, count, draw, top[0]);
    float largest = -INFINITY;
    for (const Candidate& each : kept) largest = std::max(largest, each.first);
    std::vector<float> probs;
    softmax(kept, largest, probs);
    const double u = draw.forced < 0 ? uniform(draw.seed, draw.position) : 0;
    c.token = draw.forced < 0 ? drawn(kept, probs, u) : draw.forced;

    auto sampled = [&](int token) {
        auto before = [](const Candidate& a, int b) { return a.second < b; };
        auto place = std::lower_bound(kept.begin(), kept.end(), token, before);
        const bool there = place != kept.end() && place->second == token;
        return there ? probs[place - kept.begin()] : 0.f;
    };
    const float own = logits[c.token];
    c.logprob = double(own - most) - log_total;
    c.sampled_prob = sampled(c.token);
    c.rank = 1;
    for (i = 0; i < count; i++) c.rank += logits[i] > own;
    c.top_count = top.size();
    for (size_t j = 0; j < top.size(); j++) {
        c.top_ids[j] = top[j].second;
        c.top_probs[j] = float(std::exp(double(top[j].first - most) - log_total));
        c.top_sampled[j] = sampled(top[j].second);
    }
}

std::mutex at_work;  // one caller at a time: all models share the pool

}  // namespace

// --- what Python calls --------------------------------------------------------------------------

extern "C" {

Model* model_new(const Shape* shape, const Layer* layers) { return new Model(*shape, layers); }

void model_free(Model* model) { delete model; }

// The wanted rows' final hidden vectors, [wanted, C].
void model_read(Model* model, const Row* rows, int count, float* hidden) {
    std::lock_guard<std::mutex> lock(at_work);
    for (int first = 0; first < count; first += AT_ONCE)
        hidden = read_rows(*model, rows + first, std::min(AT_ONCE, count - first), hidden);
}

// Their logits: [count, C] to [count, V].
void model_logits(Model* model, const float* hidden, int count, float* logits) {
    std::lock_guard<std::mutex> lock(at_work);
    const int C = model->C, step = model->step, V = model->shape.vocab_size;
    for (int first = 0; first < count; first += AT_ONCE) {
        const int rows = std::min(AT_ONCE, count - first);
        model->make_room(rows);
        float* x = model->normed.data;
        for (int r = 0; r < rows; r++)
            memcpy(x + int64_t(r) * step, hidden + int64_t(first + r) * C, C * sizeof(float));
        product(model->pool, model->shape.wte, x, step, rows, logits + int64_t(first) * V, V,
                [](int, int, int) {});
    }
}

// A token for each row of logits, [count, V].
void model_choose(Model* model, const float* logits, const Draw* draws, Choice* choices, int count) {
    std::lock_guard<std::mutex> lock(at_work);
    const int V = model->shape.vocab_size;
    model->pool.run(count,
                    [&](int r) { choose(logits + int64_t(r) * V, V, draws[r], choices[r]); });
}

}  // extern "C"
