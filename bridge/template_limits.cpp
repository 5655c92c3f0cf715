#include "template_limits.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>

namespace {

// Far beyond any template in use. Together they need less than 1 MiB of stack.
constexpr size_t brackets_max = 64;
constexpr size_t blocks_max = 128;
// A chain such as a + b + c + ... is parsed in a loop, but freed from the inside out.
constexpr size_t tag_tokens_max = 2048;
// Each call of a macro and each loop has a copy of all variables.
constexpr size_t names_max = 1024;

void require(bool holds, const char * what, size_t max) {
    if (!holds) {
        throw std::invalid_argument("the template " + std::string(what) + ", at most " +
                                    std::to_string(max) + " are allowed");
    }
}

bool opens_block(const std::string & statement, bool assigns) {
    static const char * const names[] = {"if", "for", "macro", "call", "filter"};
    return std::find(std::begin(names), std::end(names), statement) != std::end(names) ||
           (statement == "set" && !assigns);
}

// How deep blocks are in each other; an elif is in the if before it.
class Blocks {
    std::vector<size_t> levels_;
    size_t depth_ = 0;

public:
    void add(const std::string & statement, bool assigns) {
        if (opens_block(statement, assigns)) {
            levels_.push_back(1);
            depth_++;
        } else if (statement == "elif" && !levels_.empty()) {
            levels_.back()++;
            depth_++;
        } else if (statement.compare(0, 3, "end") == 0 && statement != "endgeneration" && !levels_.empty()) {
            depth_ -= levels_.back();
            levels_.pop_back();
        }
        require(depth_ <= blocks_max, "has too many blocks in each other", blocks_max);
    }
};

}  // namespace

void bridge::refuse_deep_template(const std::vector<jinja::token> & tokens) {
    using token = jinja::token;
    Blocks blocks;
    std::set<std::string> names;
    std::string statement;
    size_t tag_tokens = 0;
    size_t brackets = 0;
    bool assigns = false;
    for (const token & t : tokens) {
        tag_tokens++;
        switch (t.t) {
            case token::open_statement:
            case token::open_expression:
                tag_tokens = brackets = 0;
                assigns = false;
                statement.clear();
                break;
            case token::close_statement:
                blocks.add(statement, assigns);
                break;
            case token::identifier:
                names.insert(t.value);
                require(names.size() <= names_max, "has too many names", names_max);
                if (tag_tokens == 1) {
                    statement = t.value;
                }
                break;
            case token::equals:
                assigns = assigns || brackets == 0;
                break;
            case token::open_paren:
            case token::open_square_bracket:
            case token::open_curly_bracket:
                brackets++;
                require(brackets <= brackets_max, "has too many brackets in each other", brackets_max);
                break;
            case token::close_paren:
            case token::close_square_bracket:
            case token::close_curly_bracket:
                brackets -= brackets > 0;
                break;
            default:
                break;
        }
        require(tag_tokens <= tag_tokens_max, "has too many words in one tag", tag_tokens_max);
    }
}
