// Templates that would overflow the stack.
#pragma once

#include <vector>

#include "jinja/lexer.h"

namespace bridge {

// Throws std::invalid_argument if the template's parser, which calls itself, would go too deep.
void refuse_deep_template(const std::vector<jinja::token> & tokens);

}  // namespace bridge
