// GPT-2 on a CPU: the forward pass over rows of tokens, and the choice of the next ones.
//
// A row is one token of one text, with that text's keys and values. Rows of many texts, or many of
// one, are read at once: the matrices come from memory once for all of them, which is what takes
// the time. No sum depends on which rows are read together: each element of a product is added up
// on its own, lane by lane over the inputs in their order. So a text is the same to the last bit
// alone or beside others, read at once or in parts.
//
// The weights are torch's own memory, [out, in]: float32, bfloat16, or int8 with a scale a row.
// Everything else is float32. native.py is the other side of the extern "C" functions at the end.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

// --- vectors ------------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;  // numbers in a vector; rows of a tile, at most
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 2;
#else
constexpr int LANES = 4, ROWS = 4;
#endif
constexpr int outs_beside(int rows) { return rows > 6 ? 3 : 4; }  // sums that fill the registers
constexpr int AHEAD = 8192;  // bytes of weights that are asked of memory before they are needed
constexpr int DEPTH = 768;   // inputs of several rows that the nearest cache holds
constexpr int STEP = 12;  // outputs that make whole tiles

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Shorts __attribute__((vector_size(2 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));
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
inline Floats load(const int8_t* p) {
#if defined(__AVX512F__)  // the compilers' own way takes many steps
    return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(read<__m128i>(p)));
#elif defined(__AVX2__)
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadu_si64(p)));
#else
    return __builtin_convertvector(__builtin_convertvector(read<Bytes>(p), Ints), Floats);
#endif
}
inline void store(float* p, Floats v) { memcpy(p, &v, sizeof v); }
inline Floats all(float value) { return value - Floats{}; }

// The first few of a vector, the rest 0.
template <typename Weight>
inline Floats load_some(const Weight* p, int count) {
    Weight some[LANES] = {};
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

// Has a vector loaded once, where the compiler would load it again for each use.
#if defined(__AVX512F__)
#define KEEP(v) asm("" : "+v"(v))
#else
#define KEEP(v)
#endif

// The sums of four vectors' lanes.
inline Four sums_of(Floats a, Floats b, Floats c, Floats d) {
    Floats ab = LOW(a, b) + HIGH(a, b), cd = LOW(c, d) + HIGH(c, d);
    Floats abcd = FIRST(ab, cd) + SECOND(ab, cd);
    Four parts[LANES / 4];
    memcpy(parts, &abcd, sizeof abcd);
    if constexpr (LANES == 16) return (parts[0] + parts[1]) + (parts[2] + parts[3]);
    if constexpr (LANES == 8) return parts[0] + parts[1];
    return parts[0];
}

inline float sum(Floats v) { return sums_of(v, v, v, v)[0]; }

// e to the x by Cephes' polynomial: 2 to the n times e to the r, |r| at most ln 2 / 2.
inline Floats exponential(Floats x) {
    x = x < all(-87.f) ? all(-87.f) : x;
    x = x > all(88.f) ? all(88.f) : x;
    const float shift = 12582912.f;  // 1.5 * 2^23: adding it rounds to a whole number
    Floats n = (x * 1.44269504f + shift) - shift;
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

// Adds to the sums of x[r] . w[o], for R rows and O outputs, what `length` inputs add to them.
template <int R, int O, typename Weight>
inline void add_up(const float* x, int64_t x_step, const Weight* w, int64_t w_step, int length,
                   Floats (&all_sums)[R][O]) {
    Floats sums[R][O];  // of its own: in registers
    memcpy(sums, all_sums, sizeof sums);
    int i = 0;
    for (; i + LANES <= length; i += LANES) {
        Floats weights[O];
        for (int o = 0; o < O; o++) {
            const Weight* place = w + o * w_step + i;
            weights[o] = load(place);
            if constexpr (R > 1 || sizeof(Weight) < 4)  // the processor finds one row's by itself
                __builtin_prefetch(reinterpret_cast<const char*>(place) + AHEAD);
        }
        for (int r = 0; r < R; r++) {
            Floats a = load(x + r * x_step + i);
            KEEP(a);
            for (int o = 0; o < O; o++) sums[r][o] += a * weights[o];
        }
    }
    if (i < length) {  // what x has beyond its end is 0
        for (int o = 0; o < O; o++) {
            Floats weights = load_some(w + o * w_step + i, length - i);
            for (int r = 0; r < R; r++) sums[r][o] += load(x + r * x_step + i) * weights;
        }
    }
    memcpy(all_sums, sums, sizeof sums);
}

// y[r][o], from the sums' lanes.
template <int R, int O>
inline void finish(const Floats (&sums)[R][O], float* y, int64_t y_step) {
    const Floats* flat = &sums[0][0];
    for (int i = 0; i < R * O; i += 4) {
        auto at = [&](int j) { return flat[std::min(j, R * O - 1)]; };
        Four four = sums_of(at(i), at(i + 1), at(i + 2), at(i + 3));
        if constexpr (O == 4)
            memcpy(y + i / O * y_step, &four, sizeof four);
        else
            for (int j = i; j < std::min(i + 4, R * O); j++) y[j / O * y_step + j % O] = four[j - i];
    }
}

template <int R, int O, typename Weight>
inline void tile(const float* x, int64_t x_step, const Weight* w, int in, float* y, int64_t y_step) {
    Floats sums[R][O] = {};
    add_up<R, O>(x, x_step, w, in, in, sums);
    finish<R, O>(sums, y, y_step);
}

// Outputs [from, to) of R rows.
template <int R, typename Weight>
void tiles(const Matrix& m, const float* x, int64_t x_step, float* y, int64_t y_step, int from,
           int to) {
    constexpr int O = outs_beside(R), MOST = 16;
    const Weight* w = static_cast<const Weight*>(m.weights);
    int o = from;
    if (R > 4 && m.in > DEPTH)  // the rows are too long for the nearest cache: a part of them at a time
        for (; o + O <= to;) {
            const int count = std::min(MOST, (to - o) / O);
            Floats sums[MOST][R][O] = {};
            for (int i = 0; i < m.in; i += DEPTH)
                for (int j = 0; j < count; j++)
                    add_up<R, O>(x + i, x_step, w + int64_t(o + j * O) * m.in + i, m.in,
                                 std::min(DEPTH, m.in - i), sums[j]);
            for (int j = 0; j < count; j++, o += O) finish<R, O>(sums[j], y + o, y_step);
        }
    for (; o + O <= to; o += O) tile<R, O>(x, x_step, w + int64_t(o) * m.in, m.in, y + o, y_step);
    for (; o < to; o++) tile<R, 1>(x, x_step, w + int64_t(o) * m.in, m.in, y + o, y_step);
}

// Outputs [from, to) of any rows, in tiles of about as many rows each.
template <typename Weight>
void block(const Matrix& m, const float* x, int64_t x_step, int rows, float* y, int64_t y_step,
           int from, int to) {
    for (int left = (rows + ROWS - 1) / ROWS, r = 0; left; left--) {
        const int count = (rows - r + left - 1) / left;
        const float* in = x + r * x_step;
        float* out = y + r * y_step;
        switch (count) {
            case 1: tiles<1, Weight>(m, in, x_step, out, y_step, from, to); break;
            case 2: tiles<2, Weight>(m, in, x_step, out, y_step, from, to); break;
            case 3: tiles<std::min(3, ROWS), Weight>(m, in, x_step, out, y_step, from, to); break;
            case 4: tiles<std::min(4, ROWS), Weight>(m, in, x_step, out, y_step, from, to); break;
            case 5: tiles<std::min(5, ROWS), Weight>(m, in, x_step, out, y_step, from, to); break;
            case 6: tiles<std::min(6, ROWS), Weight>(m, in, x_step, out, y_step, from, to); break;
            case 7: tiles<std::min(7, ROWS), Weight>(m, in, x_step, out, y_step, from, to); break;
            case 8: tiles<std::min(8, ROWS), Weight>(m, in, x_step, out, y_step, from, to); break;
        }
        r += count;
    }
    for (int r = 0; r < rows; r++) {
        float* row = y + r * y_step;
        if (m.scale)
            for (int o = from; o < to; o++) row[o] *= m.scale[o];
        if (m.bias)
            for (int o = from; o < to; o++) row[o] += m.bias[o];
    }
}

constexpr int LONG_BYTES = 1 << 21;   // of a matrix that takes a thread a tenth of a millisecond
constexpr int PART_BYTES = 1 << 18;   // of weights that many rows are multiplied with
constexpr int INPUT_BYTES = 3 << 17;   // of rows in a part: they stay in a core's own cache

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

// Outputs in a part of a product with many rows: their weights stay in a core's own cache.
int outs_in_cache(const Matrix& m) {
    const int least = m.in > DEPTH ? 4 * STEP : STEP;
    return std::max<int>(least, PART_BYTES / row_bytes(m) / STEP * STEP);
}

// y = x w^T + bias for all rows; then(r, from, to) is called for each row's piece as it is done.
template <typename Then>
void product(Pool& pool, const Matrix& m, const float* x, int64_t x_step, int rows, float* y,
             int64_t y_step, const Then& then) {
    const int outs = rows > ROWS ? outs_in_cache(m) : outs_in_a_row(m, pool.threads);
    const int most = std::max(ROWS, INPUT_BYTES / (m.in * 4) / ROWS * ROWS);
    const int across = (m.out + outs - 1) / outs, down = (rows + most - 1) / most;
    pool.run(across * down, [&](int part) {
        const int first = part / across * most, from = part % across * outs;
        const int count = std::min(most, rows - first), to = std::min(m.out, from + outs);
        const float* in = x + first * x_step;
        float* out = y + first * y_step;
        if (m.kind == FLOAT32) block<float>(m, in, x_step, count, out, y_step, from, to);
        if (m.kind == BFLOAT16) block<BFloat16>(m, in, x_step, count, out, y_step, from, to);
        if (m.kind == INT8) block<int8_t>(m, in, x_step, count, out, y_step, from, to);
        for (int r = first; r < first + count; r++) then(r, from, to);
    });
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

int round_up(int n) { return (n + LANES - 1) / LANES * LANES; }

// From one row of n numbers to the next: an odd number of vectors, or rows would meet in the cache.
int row_step(int n) { return round_up(n) | LANES; }

// Memory that begins where a vector may: others take twice as long to load.
struct Buffer {
    std::vector<float> room;
    float* data = nullptr;

    void make(size_t count) {
        room.assign(count + LANES, 0.f);
        data = room.data();
        while (uintptr_t(data) % sizeof(Floats)) data++;
    }
};

constexpr int AT_ONCE = 512;  // rows; more are read in parts
constexpr int TOGETHER = 4;   // queries of one text
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

// W vectors of Q sums of the values, each token's times its probability; even and odd tokens apart.
// Of a last vector that is not full there are only some numbers.
template <int Q, int W>
void mix(const float* probs, int span, const float* values, int count, int D, const float* wholes,
         float* y, int64_t y_step, int some = LANES) {
    Floats even[Q][W] = {}, odd[Q][W] = {};
    auto value = [&](const float* token, int i) {
        Floats v = some == LANES ? load(token + i * LANES) : load_some(token, some);
        KEEP(v);
        return v;
    };
    int t = 0;
    for (; t + 2 <= count; t += 2, values += 2 * D)
        for (int i = 0; i < W; i++) {
            Floats first = value(values, i), second = value(values + D, i);
            for (int q = 0; q < Q; q++) {
                even[q][i] += probs[q * span + t] * first;
                odd[q][i] += probs[q * span + t + 1] * second;
            }
        }
    if (t < count)
        for (int i = 0; i < W; i++) {
            Floats last = value(values, i);
            for (int q = 0; q < Q; q++) even[q][i] += probs[q * span + t] * last;
        }
    for (int q = 0; q < Q; q++)
        for (int i = 0; i < W; i++) {
            Floats mixed = (even[q][i] + odd[q][i]) * wholes[q];
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
    if (room.room.size() < size_t(Q) * span + LANES) room.make(2 * size_t(Q) * span);
    float *scores = room.data, wholes[Q];
    int t = 0;
    for (; t + 4 <= count; t += 4)
        tile<Q, 4>(queries, q_step, keys + int64_t(t) * D, D, scores + t, span);
    for (; t < count; t++) tile<Q, 1>(queries, q_step, keys + int64_t(t) * D, D, scores + t, span);
    to_probabilities(scores, span, seen, Q, wholes);
    constexpr int WIDE = Q == 1 ? 4 : 2;
    int d = 0;
    for (; d + WIDE * LANES <= D; d += WIDE * LANES)
        mix<Q, WIDE>(scores, span, values + d, count, D, wholes, y + d, y_step);
    for (; d + LANES <= D; d += LANES)
        mix<Q, 1>(scores, span, values + d, count, D, wholes, y + d, y_step);
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
        if (n < TOGETHER) n = 1;
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
            if (queries == 1)
                attend<1>(scaled, q_step, row.keys + first, row.values + first, row.position + 1, D, y,
                          step);
            else
                attend<TOGETHER>(scaled, q_step, row.keys + first, row.values + first,
                                 row.position + 1, D, y, step);
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
