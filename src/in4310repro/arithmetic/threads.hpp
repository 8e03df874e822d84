// Items of work shared among threads: one pool in a process, on every platform, without OpenMP.
//
//     parallel(threads, items, [&](ptrdiff_t item, int thread) { ... });
//
// calls the function once for each item, on the calling thread and up to threads - 1 others; `thread` is below
// `threads` and no two calls at the same time have the same. Each thread begins with its share of the items, which lie
// side by side, and then helps the others. So it often finds in its cache what it wrote in the call before, such as an
// image's maps. Which thread takes which item is open all the same, and an item must write what no other item reads or
// writes. All threads round to nearest and keep denormals meanwhile, whatever the caller has set. Inside another
// parallel(), beside one of another thread, or where no thread can be started, the caller does all items itself. The
// function throws nothing: other threads work on what the caller would unwind.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace arithmetic {

// Rounds to nearest and keeps denormals as long as it lives.
class FloatingPoint {
   public:
#if defined(__x86_64__) || defined(_M_X64)
    FloatingPoint() : before(_mm_getcsr()) { _mm_setcsr(0x1f80); }  // all exceptions masked
    ~FloatingPoint() { _mm_setcsr(before); }

   private:
    unsigned before;
#elif defined(__aarch64__)
    FloatingPoint() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(before));
        set(0);
    }
    ~FloatingPoint() { set(before); }

   private:
    static void set(uint64_t state) { __asm__ volatile("msr fpcr, %0" ::"r"(state) : "memory"); }
    uint64_t before;
#else
    FloatingPoint() {}
    ~FloatingPoint() {}
#endif
};

[[gnu::always_inline]] inline void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

class Pool {
   public:
    typedef void (*Work)(void *context, ptrdiff_t item, int thread);

    // The pool of this process. A child after fork() has none of the threads and starts its own.
    // Null where there is no memory for it.
    static Pool *of_process() {
        static std::atomic<Pool *> pool{nullptr};
        Pool *current = pool.load(std::memory_order_acquire);
        while (!current || current->process != process_id()) {
            // Never deleted: its threads live as long as the process.
            Pool *made = new (std::nothrow) Pool;
            if (!made || pool.compare_exchange_strong(current, made)) return made;
            delete made;
        }
        return current;
    }

    // All items on the calling thread.
    static void alone(ptrdiff_t items, Work work, void *context) {
        FloatingPoint state;
        for (ptrdiff_t item = 0; item < items; item++) work(context, item, 0);
    }

    void run(int threads, ptrdiff_t items, Work work, void *context) {
        FloatingPoint state;
        if (threads > MOST) threads = MOST;
        if (threads > items) threads = int(items);
        if (threads < 2 || busy.exchange(true, std::memory_order_acquire)) {
            alone(items, work, context);
            return;
        }
        start(threads - 1);
        this->work = work, this->context = context, this->threads = threads;
        for (int thread = 0; thread < threads; thread++) {
            shares[thread].next.store(items * thread / threads, std::memory_order_relaxed);
            shares[thread].end = items * (thread + 1) / threads;
        }
        gate.store(((gate.load(std::memory_order_relaxed) >> GENERATION) + 1) << GENERATION | OPEN);
        wake();
        take(0);
        // Whoever has not come yet need not come any more.
        gate.fetch_and(~OPEN);
        for (int turn = 0; gate.load(std::memory_order_acquire) & WORKING; turn++)
            turn < SPINS ? pause() : std::this_thread::yield();
        busy.store(false, std::memory_order_release);
    }

   private:
    static constexpr int MOST = 256;  // threads
    // Turns of waiting before a thread sleeps: some 0.1 ms, longer than Python takes from one kernel to the next. A thread that
    // sleeps there wakes late.
    static constexpr int SPINS = 8000;
    // The gate: number of the job, whether it may be joined, and how many of the pool's threads work on it.
    static constexpr int GENERATION = 16;
    static constexpr uint64_t OPEN = 1 << 15, WORKING = OPEN - 1;

    struct alignas(64) Items {
        std::atomic<ptrdiff_t> next{0};
        ptrdiff_t end = 0;
    };

    std::atomic<uint64_t> gate{0};
    Items shares[MOST];
    alignas(64) std::atomic<bool> busy{false};
    std::atomic<int> sleepers{0};
    std::mutex mutex;
    std::condition_variable news;
    Work work = nullptr;
    void *context = nullptr;
    int threads = 0;
    int started = 0;
    int64_t process = process_id();

    static int64_t process_id() {
#if defined(_WIN32)
        return 0;
#else
        return getpid();
#endif
    }

    void start(int wanted) {
        try {
            for (; started < wanted; started++) std::thread(&Pool::serve, this, started + 1, gate.load()).detach();
        } catch (...) {
            // No more threads to be had: those that are there do the work.
        }
    }

    void take(int thread) {
        for (int other = 0; other < threads; other++) {
            Items &share = shares[(thread + other) % threads];
            for (ptrdiff_t item; (item = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
                work(context, item, thread);
        }
    }

    void wake() {
        if (!sleepers.load()) return;
        std::lock_guard<std::mutex> lock(mutex);
        news.notify_all();
    }

    // Returns the gate once it is another job's than `seen`.
    uint64_t wait(uint64_t seen) {
        auto changed = [&] { return gate.load() >> GENERATION != seen >> GENERATION; };
        for (int turn = 0; turn < SPINS; turn++) {
            if (changed()) return gate.load();
            pause();
        }
        std::unique_lock<std::mutex> lock(mutex);
        sleepers++;
        news.wait(lock, changed);
        sleepers--;
        return gate.load();
    }

    void serve(int thread, uint64_t seen) {
        FloatingPoint state;
        for (;;) {
            uint64_t now = seen = wait(seen);
            // In, as long as it is open and still the same job.
            while (now & OPEN && now >> GENERATION == seen >> GENERATION)
                if (gate.compare_exchange_weak(now, now + 1)) {
                    if (thread < threads) take(thread);
                    gate.fetch_sub(1, std::memory_order_release);
                    break;
                }
        }
    }
};

template <typename F>
inline void parallel(int threads, ptrdiff_t items, F &&function) {
    typedef std::remove_reference_t<F> Function;
    Pool::Work work = [](void *context, ptrdiff_t item, int thread) { (*static_cast<Function *>(context))(item, thread); };
    void *context = const_cast<void *>(static_cast<const void *>(&function));
    Pool *pool = Pool::of_process();
    pool ? pool->run(threads, items, work, context) : Pool::alone(items, work, context);
}

}  // namespace arithmetic
