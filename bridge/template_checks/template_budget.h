// How much a call of the bridge may take that renders a chat template, often dozens of times: the
// engine finds out so how the template writes tool calls, and takes no notice of its errors.
#pragma once

#include <cstddef>
#include <string>

namespace template_budget {

#ifdef TEMPLATE_CHECKS
// From here on, until end(), on this thread.
void begin(double seconds);
void end();

// Whether it was exceeded, why, and where in the template.
bool exceeded(std::string & reason, size_t & position);
#else
// The engine is built without the patch that has it count.
inline void begin(double) {}
inline void end() {}
inline bool exceeded(std::string &, size_t &) { return false; }
#endif

}  // namespace template_budget
