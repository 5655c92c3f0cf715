// Where the engine asserts it ends the process. Here it ends a call, where that is possible.
#include "assertions.h"

#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include "bridge.h"
#include "ggml.h"
#include "guard.h"
#include "mtmd-helper.h"
#include "mtmd.h"

namespace {

thread_local int         n_scopes    = 0;
thread_local int         n_computing = 0;
thread_local std::string failed;

bridge_last_words last_words = nullptr;

// A ggml_abort_callback_t; the process ends when it returns.
void on_assertion(const char * message) {
    // Other threads compute the graph that this one is in, and wait for it.
    if (n_scopes > 0 && n_computing == 0 && std::uncaught_exceptions() == 0) {
        failed = message;
        throw bridge::Assertion{};
    }
    std::fprintf(stderr, "%s\n", message);
    if (last_words != nullptr) {
        last_words(message);
    }
}

// A function of the engine that is called by its address, so that its library need not be linked.
template <typename Name, typename Function>
struct Guarded;

template <typename Name, typename Result, typename... Parameters>
struct Guarded<Name, Result(Parameters...)> {
    inline static Result (*function)(Parameters...) = nullptr;

    static Result call(Parameters... arguments) {
        const bridge::AssertionScope scope;
        try {
            return function(arguments...);
        } catch (const bridge::Assertion &) {
            return Result();
        } catch (const std::exception & e) { // the end of a C caller as well
            failed = std::string("an exception came out of the engine: ") + e.what();
            return Result();
        }
    }

    static void * set(void * address) {
        function = reinterpret_cast<decltype(function)>(address);
        return reinterpret_cast<void *>(&call);
    }
};

struct Entry {
    const char * name;
    void * (*set)(void * address);
};

#define GUARDED(name) Entry{#name, [](void * address) { struct Name; return Guarded<Name, decltype(name)>::set(address); }}

const Entry entries[] = {
    GUARDED(llama_model_load_from_file),
    GUARDED(llama_init_from_model),
    GUARDED(llama_adapter_lora_init),
    GUARDED(llama_decode),
    GUARDED(llama_encode),
    GUARDED(llama_tokenize),
    GUARDED(llama_detokenize),
    GUARDED(llama_token_to_piece),
    GUARDED(llama_state_get_size),
    GUARDED(llama_state_get_data),
    GUARDED(llama_state_set_data),
    GUARDED(llama_state_save_file),
    GUARDED(llama_state_load_file),
    GUARDED(llama_state_seq_get_size_ext),
    GUARDED(llama_state_seq_get_data_ext),
    GUARDED(llama_state_seq_set_data_ext),
    GUARDED(mtmd_init_from_file),
    GUARDED(mtmd_helper_bitmap_init_from_buf),
    GUARDED(mtmd_tokenize_from_parts),
    GUARDED(mtmd_encode_chunk),
    GUARDED(mtmd_helper_decode_image_chunk),
};

}  // namespace

namespace bridge {

AssertionScope::AssertionScope() { ++n_scopes; }
AssertionScope::~AssertionScope() { --n_scopes; }

void computing(bool begins) { n_computing += begins ? 1 : -1; }

std::string take_failed_assertion() { return std::exchange(failed, std::string()); }

}  // namespace bridge

void bridge_catch_assertions(bridge_last_words callback) {
    last_words = callback;
    ggml_set_abort_callback(on_assertion);
}

void * bridge_guarded(const char * name, void * function) {
    for (const Entry & entry : entries) {
        if (std::string(name) == entry.name) {
            return entry.set(function);
        }
    }
    return nullptr;
}

char * bridge_take_assertion(void) {
    return failed.empty() ? nullptr : bridge::copy_message(bridge::take_failed_assertion().c_str());
}
