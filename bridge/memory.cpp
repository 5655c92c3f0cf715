// Where the bytes of a model and a context are.
#include "../src/llama-ext.h"
#include "bridge.h"
#include "fit.h"
#include "guard.h"
#include "json.h"

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using bridge::copy;
using bridge::guarded;

namespace {

// Weights that are repacked for the processor are in a kind of buffer that is not called the host's.
ggml_backend_dev_t device_of(ggml_backend_buffer_type_t kind, ggml_backend_dev_t cpu) {
    ggml_backend_dev_t device = ggml_backend_buft_is_host(kind) ? nullptr : ggml_backend_buft_get_device(kind);
    return device == nullptr ? cpu : device;
}

std::string breakdown(const llama_context * ctx) {
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (cpu == nullptr) {
        throw std::runtime_error("there is no CPU backend");
    }
    const llama_model *             model   = llama_get_model(ctx);
    std::vector<ggml_backend_dev_t> devices = { cpu };
    for (int i = 0; i < llama_model_n_devices(model); ++i) {
        devices.push_back(llama_model_get_device(model, i));
    }
    std::map<ggml_backend_dev_t, llama_memory_breakdown_data> used;
    for (const auto & [kind, bytes] : llama_get_memory_breakdown(ctx)) {
        ggml_backend_dev_t device = device_of(kind, cpu);
        if (std::find(devices.begin(), devices.end(), device) == devices.end()) {
            devices.push_back(device);
        }
        used[device].model += bytes.model;
        used[device].context += bytes.context;
        used[device].compute += bytes.compute;
    }
    common_json result = common_json::array();
    for (ggml_backend_dev_t device : devices) {
        size_t free, total;
        ggml_backend_dev_memory(device, &free, &total);
        const auto & bytes = used[device];
        result.push_back({
            { "device", ggml_backend_dev_name(device) },
            { "description", ggml_backend_dev_description(device) },
            { "weights", bytes.model },
            { "cache", bytes.context },
            { "compute", bytes.compute },
            { "free", free },
            { "total", total },
        });
    }
    return result.dump();
}

}  // namespace

void bridge_memory_breakdown(const llama_context * ctx, char ** result, char ** error) {
    *result = guarded(error, static_cast<char *>(nullptr), [&] { return copy(breakdown(ctx)); });
}

void bridge_memory_estimate(
        llama_model * model, const llama_context_params * params, char ** result, char ** error) {
    *result = guarded(error, static_cast<char *>(nullptr), [&] {
        std::unique_ptr<llama_context, decltype(&llama_free)> ctx(
            llama_init_from_model(model, *params), llama_free);
        if (ctx == nullptr) {
            throw std::runtime_error("the context cannot be created");
        }
        return copy(breakdown(ctx.get()));
    });
}

bool bridge_fit_layers(
        const char * path, llama_model_params * params, const llama_context_params * context,
        size_t margin, float * split, llama_model_tensor_buft_override * overrides, char ** error) {
    return guarded(error, false, [&] {
        std::vector<size_t>  margins(llama_max_devices(), margin);
        llama_context_params unchanged = *context;  // only a context of unknown size would be changed
        const auto           status    = common_fit_params(
            path, params, &unchanged, split, overrides, margins.data(), unchanged.n_ctx, nullptr,
            GGML_LOG_LEVEL_ERROR);
        if (status == COMMON_PARAMS_FIT_STATUS_ERROR) {
            throw std::runtime_error("the memory cannot be measured");
        }
        return status == COMMON_PARAMS_FIT_STATUS_SUCCESS;
    });
}
