// The cores that the process may use, and the threads that compute on them.
#include "assertions.h"
#include "bridge.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#ifndef _WIN32
#    include <pthread.h>
#endif

namespace {

// ggml-cpu may be a library that is chosen at run time, so that its functions are asked for by name.
template <typename Function>
Function * cpu_function(const char * name) {
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    return cpu == nullptr
        ? nullptr
        : reinterpret_cast<Function *>(ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), name));
}

using Take = ggml_threadpool_t(int n_threads);
using Give = void(ggml_threadpool_t pool);
using SetLender = void(ggml_threadpool_t pool, Take * take, Give * give);

// Graphs that fit beside each other compute at the same time. The others wait in the order of their coming.
class Cores {
  public:
    explicit Cores(int n_cores) : count(n_cores) {}

    int get_count() const { return count; }

    void set_count(int n_cores) {
        const std::lock_guard<std::mutex> lock(mutex);
        count = n_cores;
        admit();
    }

    ggml_threadpool_t take(int n_threads) {
        std::unique_lock<std::mutex> lock(mutex);
        Waiter me{std::min(n_threads, count)};
        waiting.push_back(&me);
        admit();
        me.changed.wait(lock, [&] { return me.admitted; });
        try {
            Pool & pool = pool_of(me.n_threads);
            pool.state = computing;
            rest();
            return pool.threads;
        } catch (...) {  // ggml asserts that there are threads to be had
            n_computing -= me.n_threads;
            admit();
            throw;
        }
    }

    void give(ggml_threadpool_t threads) {
        const std::lock_guard<std::mutex> lock(mutex);
        Pool & pool = *std::find_if(pools.begin(), pools.end(), [&](Pool & each) { return each.threads == threads; });
        pool.state = polling;
        n_computing -= pool.n_threads;
        admit();
    }

  private:
    struct Waiter {
        int                     n_threads;
        bool                    admitted = false;
        std::condition_variable changed{};
    };

    enum State { computing, polling, paused };

    struct Pool {
        ggml_threadpool_t threads;
        int               n_threads;
        State             state;
    };

    void admit() {
        while (!waiting.empty() && (n_computing == 0 || n_computing + waiting.front()->n_threads <= count)) {
            Waiter * next = waiting.front();
            waiting.pop_front();
            n_computing += next->n_threads;
            next->admitted = true;
            next->changed.notify_one();
        }
    }

    // Of exactly so many threads: those that a graph has no use for would poll at each of its graphs.
    Pool & pool_of(int n_threads) {
        for (State state : {polling, paused}) {
            for (Pool & pool : pools) {
                if (pool.n_threads == n_threads && pool.state == state) {
                    return pool;
                }
            }
        }
        ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
        pools.push_back({cpu_function<decltype(ggml_threadpool_new)>("ggml_threadpool_new")(&params), n_threads, paused});
        return pools.back();
    }

    // The workers of a pool that was given back poll for a while, on cores that may be somebody's by now.
    void rest() {
        int n_polling = 0;
        for (Pool & pool : pools) {
            n_polling += pool.state == polling ? pool.n_threads - 1 : 0;
        }
        for (Pool & pool : pools) {
            if (n_computing + n_polling <= count) {
                return;
            }
            if (pool.state == polling) {
                cpu_function<decltype(ggml_threadpool_pause)>("ggml_threadpool_pause")(pool.threads);
                pool.state = paused;
                n_polling -= pool.n_threads - 1;
            }
        }
    }

    std::mutex           mutex;
    std::deque<Waiter *> waiting;
    std::vector<Pool>    pools;
    int                  count;
    int                  n_computing = 0;
};

// Never destroyed: threads may wait for it when the process ends.
Cores * cores = new Cores(1);

#ifndef _WIN32
// A forked child has none of the threads, and whoever held cores or the mutex does not exist in it.
void start_anew() {
    cores = new Cores(cores->get_count());
}

const int fork_handler = pthread_atfork(nullptr, nullptr, start_anew);
#endif

}  // namespace

ggml_threadpool_t bridge_threadpool(int n_cores, uint32_t poll) {
    auto * set_lender = cpu_function<SetLender>("ggml_threadpool_set_lender");
    if (set_lender == nullptr) {
        return nullptr;
    }
    cores->set_count(n_cores);
    ggml_threadpool_params params = ggml_threadpool_params_default(1);
    params.poll = poll;
    ggml_threadpool_t pool = cpu_function<decltype(ggml_threadpool_new)>("ggml_threadpool_new")(&params);
    set_lender(pool,
        [](int n_threads) {
            ggml_threadpool_t threads = cores->take(n_threads);
            bridge::computing(true);
            return threads;
        },
        [](ggml_threadpool_t threads) {
            bridge::computing(false);
            cores->give(threads);
        });
    return pool;
}

void bridge_use_threadpool(ggml_threadpool_t pool) {
    auto * use = cpu_function<void(ggml_threadpool_t)>("ggml_threadpool_use");
    if (use != nullptr) {
        use(pool);
    }
}
