// Scopes in which an assertion of the engine, on the same thread, is an exception.
#pragma once

#include <string>

namespace bridge {

// Not a std::exception, which the engine would catch by itself and go on.
struct Assertion {};

class AssertionScope {
  public:
    AssertionScope();
    ~AssertionScope();
    AssertionScope(const AssertionScope &)             = delete;
    AssertionScope & operator=(const AssertionScope &) = delete;
};

// The calling thread begins or ends to compute a graph together with others.
void computing(bool begins);

// What the last scope of this thread ended with: "FILE:LINE: TEXT". Empty if it did not, or when it is taken.
std::string take_failed_assertion();

}  // namespace bridge
