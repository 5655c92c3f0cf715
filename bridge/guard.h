// What every function of the bridge that calls C++ needs: strings that go out, exceptions that do not.
#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "assertions.h"

namespace bridge {

// What there is to say when there is no memory to say anything.
inline char out_of_memory[] = "out of memory";

inline char * copy(const std::string & text) {
    char * result = static_cast<char *>(std::malloc(text.size() + 1));
    if (result == nullptr) {
        return out_of_memory;
    }
    std::memcpy(result, text.c_str(), text.size() + 1);
    return result;
}

// An exception may quote a text of any length.
inline char * copy_message(const char * message) {
    constexpr size_t size_max = 16 << 10;
    const void * end = std::memchr(message, '\0', size_max);
    return copy(std::string(message, end == nullptr ? size_max : static_cast<const char *>(end) - message));
}

// What body returns, or `failed` and *error if it throws, or asserts: see bridge_take_assertion.
template <typename Result, typename Body>
Result guarded(char ** error, Result failed, Body body) {
    *error = nullptr;
    const AssertionScope scope;
    try {
        return body();
    } catch (const Assertion &) {
        *error = copy_message(("assertion\n" + take_failed_assertion()).c_str());
    } catch (const std::exception & e) {
        *error = copy_message(e.what());
    } catch (...) {
        *error = copy("unknown C++ exception");
    }
    return failed;
}

}  // namespace bridge
