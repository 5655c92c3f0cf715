// How much a call of the bridge may take that renders a chat template, often dozens of times: the
// engine finds out so how the template writes tool calls, and takes no notice of its errors.
#pragma once

#include <cstddef>
#include <string>

namespace template_budget {

// From here on, until end(), on this thread.
void begin(double seconds);
void end();

// Whether it was exceeded, why, and where in the template.
bool exceeded(std::string & reason, size_t & position);

}  // namespace template_budget
