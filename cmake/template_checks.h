// Included before the sources of the chat templates' interpreter, which call these: whatever a
// template does, it must end with an exception and not with the process.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "jinja/value.h"

namespace template_checks {

// One call inside another of the function that carries out a statement or an expression. The deepest
// templates in use describe tools by a macro that calls itself, seven calls per level of a schema.
class Level {
    static inline thread_local int depth_ = 0;
    static constexpr int depth_max_ = 512;

public:
    Level() {
        if (depth_ >= depth_max_) {
            throw std::runtime_error("the template calls itself too often");
        }
        depth_++;
    }
    ~Level() { depth_--; }
    Level(const Level &) = delete;
    Level & operator=(const Level &) = delete;
};

// What a variable may hold. Printing and freeing follow a value all the way down, also one that holds
// itself; a function holds all the variables of its place.
class Value {
    static constexpr int depth_max_ = 256;
    int values_left_ = 1 << 20;

    void check(const jinja::value & value, int depth) {
        if (depth > depth_max_ || --values_left_ < 0) {
            throw std::runtime_error("a variable of the template holds itself, or too much");
        }
        if (jinja::is_val<jinja::value_func>(value)) {
            throw std::runtime_error("a variable of the template cannot be a function");
        }
        for (const auto & item : value->val_arr) {
            check(item, depth + 1);
        }
        for (const auto & [key, item] : value->val_obj) {
            check(key, depth + 1);
            check(item, depth + 1);
        }
    }

public:
    explicit Value(const jinja::value & value) { check(value, 0); }
};

inline bool divides(int64_t divisor, int64_t number) {
    if (divisor == 0) {
        throw std::runtime_error("division by zero");
    }
    return divisor == -1 || number % divisor == 0;
}

}  // namespace template_checks
