// Templates that would overflow the stack, or take much memory at each step.
#pragma once

#include <vector>

#include "jinja/lexer.h"

namespace bridge {

// Throws std::invalid_argument if the template's parser, which calls itself, would go too deep, or if
// there are far too many names.
void refuse_deep_template(const std::vector<jinja::token> & tokens);

}  // namespace bridge
