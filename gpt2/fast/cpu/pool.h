// Threads that share work.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace {

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

}  // namespace
