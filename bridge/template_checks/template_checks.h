// What the chat templates' interpreter calls once vendor/patches/0003-template-limits.patch is in: whatever
// a template does, it must end soon, and with an exception rather than with the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace template_checks {

// Looks at the clock every now and then. What is to be done takes about so many nanoseconds.
void work(size_t nanoseconds);

// Counts a text that is being made, and returns it. What becomes a value counts as such afterwards.
size_t text(size_t bytes);
std::string_view text(std::string_view part);
const std::string & text(const std::string & part);
std::string text(std::string && part);
jinja::string text(jinja::string && part);
void text(const jinja::string & part, int64_t times);
std::string to_escape(std::string && part);

// Counts a value for as long as it lives.
jinja::value counted(jinja::value made);

// Counts what printing a value makes.
void printed(const jinja::value & value);

// A number of spaces.
size_t width(int64_t spaces);
int indent(int64_t spaces);

// A statement or an expression that is being carried out. The deepest templates in use describe tools
// by a macro that calls itself, seven levels per level of a schema.
class Level {
    size_t outer_position_;

public:
    explicit Level(size_t position);
    ~Level();
    Level(const Level &) = delete;
    Level & operator=(const Level &) = delete;

    // What it has made.
    static jinja::value result(jinja::value made);
};

// A function that calls itself for what a value holds.
class Nested {
public:
    Nested();
    ~Nested();
    Nested(const Nested &) = delete;
    Nested & operator=(const Nested &) = delete;
};

// What a loop remembers of its items.
class Items {
    size_t bytes_;

public:
    explicit Items(size_t count);
    ~Items();
    Items(const Items &) = delete;
    Items & operator=(const Items &) = delete;
};

// The value, if it may become a variable. A function may not: it holds all the variables of its place.
const jinja::value & variable(const jinja::value & value);

// The value, if it may be put into the owner: that would not hold itself then.
const jinja::value & member(const jinja::value & value, const jinja::value & owner);

// The value, if it is not too large: functions of the engine go through all that it holds, as often as
// it holds it.
const jinja::value & bounded(const jinja::value & value);

bool equal(const jinja::value & left, const jinja::value & right);
void compare(const jinja::value & left, const jinja::value & right);

// std::string::find and rfind, which can take long.
size_t find(const std::string & text, const std::string & part, size_t from = 0);
size_t rfind(const std::string & text, const std::string & part);

// A conversation begins to be rendered.
void begin_rendering();

// A value that it consists of, with all that is in it. The caller has given the stack for its levels.
class Input {
public:
    Input();
    ~Input();
    Input(const Input &) = delete;
    Input & operator=(const Input &) = delete;
};

std::string input(std::string && text);

// JSON that is not too deep for the functions that go through it.
const std::string & shallow(const std::string & json);

}  // namespace template_checks
