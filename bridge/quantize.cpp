#include <mutex>
#include <stdexcept>

#include "bridge.h"
#include "guard.h"

using bridge::guarded;

namespace {

struct Listener {
    bridge_log_listener callback;
    void *              user_data;
};

// The engine has one log for all threads, and quantizes on the thread that asked for it.
thread_local const Listener * listener_here = nullptr;

struct Log {
    ggml_log_callback callback  = nullptr;
    void *            user_data = nullptr;
};

Log forwarded_to;

void log_and_tell(ggml_log_level level, const char * text, void * /*user_data*/) {
    if (forwarded_to.callback != nullptr) {
        forwarded_to.callback(level, text, forwarded_to.user_data);
    }
    // Only the line that a tensor begins with, because there llama_model_quantize catches exceptions
    // and none of its threads runs.
    if (listener_here != nullptr && !listener_here->callback(text, listener_here->user_data) && text[0] == '[') {
        throw std::runtime_error("stopped");
    }
}

// Puts log_and_tell in front of the log for as long as it lives.
class LogInFront {
  public:
    explicit LogInFront(const Listener & listener) {
        llama_log_get(&forwarded_to.callback, &forwarded_to.user_data);
        llama_log_set(log_and_tell, nullptr);
        listener_here = &listener;
    }

    ~LogInFront() {
        listener_here = nullptr;
        Log now;
        llama_log_get(&now.callback, &now.user_data);
        if (now.callback == log_and_tell) {  // nobody else has set it meanwhile
            llama_log_set(forwarded_to.callback, forwarded_to.user_data);
        }
    }

    LogInFront(const LogInFront &) = delete;
};

}  // namespace

uint32_t bridge_quantize(
        const char * source, const char * target, const llama_model_quantize_params * params,
        bridge_log_listener callback, void * user_data, char ** error) {
    return guarded(error, static_cast<uint32_t>(1), [&] {
        static std::mutex one_at_a_time;
        const std::lock_guard<std::mutex> lock(one_at_a_time);
        const Listener listener{callback, user_data};
        const LogInFront log(listener);
        return llama_model_quantize(source, target, params);
    });
}
