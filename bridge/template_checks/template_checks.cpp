#include "template_checks.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "template_budget.h"

using jinja::value;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int levels_max = 512;
constexpr int nested_max = 512;
// Of lists and objects in each other.
constexpr int depth_max = 256;
constexpr int items_max = 1 << 20;
constexpr size_t bytes_max = size_t{256} << 20;
// Without the texts in it; and what a loop keeps for one.
constexpr size_t value_bytes = 320;
constexpr size_t loop_item_bytes = 192;
// The longest templates in use have 17 KiB. What they print is compared, letter by letter, with what
// they print of other messages.
constexpr size_t output_bytes = 64 << 10;
constexpr size_t output_per_input = 16;
constexpr size_t parts_max = 64;
constexpr int json_depth_max = 64;
constexpr size_t clock_ns = 20'000;

struct State {
    int levels = 0;
    int nested = 0;
    size_t position = 0;
    size_t values = 0;  // bytes of those that live
    size_t texts = 0;   // bytes that the present statement has made
    size_t input = 0;
    int input_level = 0;
    int input_levels = 0;
    size_t output = 0;
    size_t work = 0;
    double seconds = 0;
    Clock::time_point deadline = Clock::time_point::max();
    char exceeded[96] = "";
    size_t exceeded_position = 0;
    std::vector<value> * garbage = nullptr;
};

thread_local State state;

template <typename Number>
[[noreturn]] void exceed(const char * reason, Number limit) {
    if (state.exceeded[0] == '\0') {
        std::snprintf(state.exceeded, sizeof(state.exceeded), reason, limit);
        state.exceeded_position = state.position;
    }
    throw std::runtime_error(state.exceeded);
}

void hold(size_t bytes) {
    const size_t used = state.values + state.texts;
    if (used > bytes_max || bytes > bytes_max - used) {
        exceed("the template makes more than %zu MiB of texts and lists", bytes_max >> 20);
    }
}

// Frees a value that counts. Values in values wait their turn, or deep ones would need a deep stack.
struct Release {
    value kept;
    size_t bytes;

    void operator()(jinja::value_t *) noexcept {
        state.values -= bytes;
        if (state.garbage != nullptr) {
            try {
                state.garbage->push_back(std::move(kept));
            } catch (const std::bad_alloc &) {
            }
            return;
        }
        std::vector<value> garbage;
        state.garbage = &garbage;
        kept.reset();
        while (!garbage.empty()) {
            const value next = std::move(garbage.back());
            garbage.pop_back();
        }
        state.garbage = nullptr;
    }
};

size_t bytes_of(const jinja::string & text) {
    size_t bytes = text.parts.capacity() * sizeof(jinja::string_part);
    for (const auto & part : text.parts) {
        bytes += part.val.capacity();
    }
    return bytes;
}

// Without the values that it holds, but for the keys of an object.
size_t bytes_of(const value & made) {
    return value_bytes + bytes_of(made->val_str) + made->val_arr.capacity() * sizeof(value) +
           made->val_obj.capacity() * 2 * value_bytes;
}

// Functions that change a text go through its parts, some of them again for each part.
void join_parts(jinja::string & text) {
    if (text.parts.size() <= parts_max) {
        return;
    }
    const bool is_input = text.all_parts_are_input();
    text = jinja::string(text.str(), is_input);
}

void refuse_function(const value & value) {
    if (value->val_func) {
        throw std::runtime_error("a variable of the template cannot be a function");
    }
}

// Goes through all that a value holds.
class Walk {
    const jinja::value_t * owner_;
    int items_left_ = items_max;
    size_t bytes_left_ = bytes_max;

    void step(const value & value, int depth) {
        const size_t bytes = value->val_str.length();
        if (depth > depth_max + state.input_levels || --items_left_ < 0 || bytes > bytes_left_ ||
            value.get() == owner_) {
            throw std::runtime_error("a variable of the template holds itself, or too much");
        }
        refuse_function(value);
        bytes_left_ -= bytes;
        for (const auto & item : value->val_arr) {
            step(item, depth + 1);
        }
        for (const auto & [key, item] : value->val_obj) {
            step(key, depth + 1);
            step(item, depth + 1);
        }
    }

public:
    explicit Walk(const jinja::value_t * owner = nullptr) : owner_(owner) {}

    const value & through(const value & value) {
        step(value, 0);
        template_checks::work(static_cast<size_t>(items_max - items_left_) * 10 + (bytes_max - bytes_left_) / 4);
        return value;
    }
};

}  // namespace

void template_budget::begin(double seconds) {
    state.seconds = seconds;
    state.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    state.exceeded[0] = '\0';
}

void template_budget::end() {
    state.deadline = Clock::time_point::max();
    state.exceeded[0] = '\0';
}

bool template_budget::exceeded(std::string & reason, size_t & position) {
    reason = state.exceeded;
    position = state.exceeded_position;
    return !reason.empty();
}

namespace template_checks {

void work(size_t nanoseconds) {
    state.work += nanoseconds;
    if (state.work < clock_ns) {
        return;
    }
    state.work = 0;
    if (Clock::now() > state.deadline) {
        exceed("the template takes too long: more than %g s", state.seconds);
    }
}

size_t text(size_t bytes) {
    hold(bytes);
    state.texts += bytes;
    work(bytes / 4 + 10);
    return bytes;
}

std::string_view text(std::string_view part) {
    text(part.size());
    return part;
}

const std::string & text(const std::string & part) {
    text(part.size());
    return part;
}

std::string text(std::string && part) {
    text(part.size());
    return std::move(part);
}

jinja::string text(jinja::string && part) {
    text(bytes_of(part));
    return std::move(part);
}

void text(const jinja::string & part, int64_t times) {
    if (times > 0) {
        const size_t bytes = bytes_of(part) + 1;
        text(static_cast<uint64_t>(times) > bytes_max ? SIZE_MAX : bytes * static_cast<size_t>(times));
    }
}

std::string to_escape(std::string && part) {
    text(6 * part.size());  // \u001f
    return std::move(part);
}

value counted(value made) {
    if (made.use_count() != 1 || std::get_deleter<Release>(made) != nullptr) {
        return made;
    }
    join_parts(made->val_str);
    const size_t bytes = bytes_of(made);
    hold(bytes);
    work(bytes / 4);
    state.values += bytes;
    jinja::value_t * const pointer = made.get();
    return value(pointer, Release{std::move(made), bytes});
}

void printed(const value & value) {
    const Nested nested;
    if (jinja::is_val<jinja::value_string>(value)) {
        text(bytes_of(value->val_str));
    } else if (jinja::is_val<jinja::value_array>(value)) {
        for (const auto & item : value->val_arr) {
            printed(item);
        }
    } else {
        text(sizeof(jinja::string_part));
    }
}

size_t width(int64_t spaces) {
    return text(static_cast<size_t>(std::max<int64_t>(spaces, 0)));
}

int indent(int64_t spaces) {
    return static_cast<int>(std::clamp<int64_t>(spaces, -1, 1 << 16));
}

Level::Level(size_t position) : outer_position_(state.position) {
    if (state.exceeded[0] != '\0') {
        throw std::runtime_error(state.exceeded);
    }
    if (state.levels >= levels_max) {
        throw std::runtime_error("the template calls itself too often");
    }
    state.position = position;
    state.texts = 0;
    work(1000);
    state.levels++;
}

Level::~Level() {
    state.levels--;
    state.position = outer_position_;
    state.texts = 0;
}

value Level::result(value made) {
    if (state.levels == 1) {
        state.texts = 0;
        printed(made);
        state.output += state.texts;
        const size_t limit = output_bytes + output_per_input * state.input;
        if (state.output > limit) {
            exceed("the template makes too long a text of a short conversation: more than %zu KiB", limit >> 10);
        }
    }
    state.texts = 0;
    if (made.use_count() == 1 && !(made->val_arr.empty() && made->val_obj.empty())) {
        bounded(made);
    }
    return counted(std::move(made));
}

Nested::Nested() {
    if (state.nested >= nested_max + state.input_levels) {
        throw std::runtime_error("a variable of the template holds itself, or too much");
    }
    text(1);
    state.nested++;
}

Nested::~Nested() {
    state.nested--;
}

Items::Items(size_t count) : bytes_(count * loop_item_bytes) {
    hold(bytes_);
    state.values += bytes_;
}

Items::~Items() {
    state.values -= bytes_;
}

const value & variable(const value & value) {
    refuse_function(value);
    return value;
}

const value & member(const value & value, const jinja::value & owner) {
    return Walk(owner.get()).through(value);
}

const value & bounded(const value & value) {
    return Walk().through(value);
}

bool equal(const value & left, const value & right) {
    return *bounded(left) == *bounded(right);
}

void compare(const value & left, const value & right) {
    work(left->val_str.length() + right->val_str.length() + 100);
}

size_t find(const std::string & text, const std::string & part, size_t from) {
    work(text.size() / 8 + 100);  // callers move the rest of the text
    if (part.empty() || from > text.size()) {
        return text.find(part, from);
    }
    const char * const end = text.data() + text.size();
    const char * at = text.data() + from;
    while (static_cast<size_t>(end - at) >= part.size()) {
        at = static_cast<const char *>(std::memchr(at, part[0], end - at - part.size() + 1));
        if (at == nullptr) {
            break;
        }
        if (std::memcmp(at, part.data(), part.size()) == 0) {
            return at - text.data();
        }
        work(part.size() / 8 + 1);
        at++;
    }
    return std::string::npos;
}

size_t rfind(const std::string & text, const std::string & part) {
    work(text.size() / 8 + 100);
    if (part.empty() || part.size() > text.size()) {
        return text.rfind(part);
    }
    for (size_t at = text.size() - part.size() + 1; at-- > 0;) {
        if (text[at] == part[0]) {
            if (std::memcmp(text.data() + at, part.data(), part.size()) == 0) {
                return at;
            }
            work(part.size() / 8 + 1);
        }
    }
    return std::string::npos;
}

void begin_rendering() {
    state.input = 0;
    state.input_levels = 0;
    state.output = 0;
}

Input::Input() {
    state.input += 16;
    state.input_levels = std::max(state.input_levels, ++state.input_level);
}

Input::~Input() {
    state.input_level--;
}

std::string input(std::string && text) {
    state.input += text.size();
    return std::move(text);
}

const std::string & shallow(const std::string & json) {
    int depth = 0;
    for (const char c : json) {
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
        if (depth > json_depth_max) {
            throw std::runtime_error("the template nests JSON too deeply");
        }
    }
    return json;
}

}  // namespace template_checks
