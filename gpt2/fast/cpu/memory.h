// Places for numbers, as vectors want them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace {

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

}  // namespace
