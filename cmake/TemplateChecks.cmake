# A chat template comes with a model from anywhere. It would end the process if a macro calls itself, a
# variable holds itself, or it divides by zero; and it may have no end, or take all of the memory. The
# engine gets copies of its interpreter with the checks of template_checks.h in these places.
replace_in(llama-common common jinja/runtime.cpp template_checks.h
    "return execute_impl(ctx)"
    "const template_checks::Level level(pos); return level.result(execute_impl(ctx))"
    # Copying these tables takes longer than all the checks.
    "auto builtins = global_builtins()" "const auto & builtins = global_builtins()"
    "auto builtins = input->get_builtins()" "const auto & builtins = input->get_builtins()"
    # What becomes a variable.
    "ctx.set_val(var_name, rhs)" "ctx.set_val(var_name, template_checks::variable(rhs))"
    "ctx.set_val(var_name, arr[i])" "ctx.set_val(var_name, template_checks::variable(arr[i]))"
    "obj_ptr->insert(prop_name, rhs)"
    "obj_ptr->insert(prop_name, template_checks::member(rhs, object))"
    ": exec_statements(body, ctx)" ": template_checks::counted(exec_statements(body, ctx))"
    "scope.set_val(\"loop\", loop_obj)"
    "scope.set_val(\"loop\", template_checks::counted(std::move(loop_obj)))"
    # What takes long, or much, without an expression being carried out.
    "gather_string_parts_recursive(result, str)"
    "(template_checks::printed(result), gather_string_parts_recursive(result, str))"
    "gather_string_parts_recursive(out, str)"
    "(template_checks::printed(out), gather_string_parts_recursive(out, str))"
    "gather_string_parts_recursive(body_val, parts)"
    "(template_checks::printed(body_val), gather_string_parts_recursive(body_val, parts))"
    "std::vector<value> filtered_items"
    "const template_checks::Items kept(items.size()); std::vector<value> filtered_items"
    "context loop_scope(scope)" "context loop_scope((template_checks::work(1000), scope))"
    "if (repeat <= 0) {" "if (template_checks::text(str, repeat), repeat <= 0) {"
    "*left_val == *right_val" "template_checks::equal(left_val, right_val)"
    "!val->is_hashable()" "!template_checks::bounded(val)->is_hashable()"
    "obj->insert(key, val)" "obj->insert(template_checks::bounded(key), val)")
replace_in(llama-common common jinja/value.cpp template_checks.h
    "arr_editable->push_back(args.get_pos(1))"
    "arr_editable->push_back(template_checks::member(args.get_pos(1), args.get_pos(0)))"
    "args.get_pos(0)->val_int % args.get_pos(1)->val_int == 0"
    "template_checks::divides(args.get_pos(1)->val_int, args.get_pos(0)->val_int)"
    # Stable as Python's, and inside of the list even if the values have no order.
    "std::sort(" "std::stable_sort("
    "if (direction == 0) {"
    "step = template_checks::step(step, len); if (direction == 0) {"
    # Values.
    "out->push_back(mk_val<value_int>(i))"
    "out->push_back(template_checks::counted(mk_val<value_int>(i)))"
    "result->push_back(mk_val<value_string>(token))"
    "result->push_back(template_checks::counted(mk_val<value_string>(token)))"
    "result->push_back(std::move(res))"
    "result->push_back(template_checks::counted(std::move(res)))"
    "auto item = mk_val<value_tuple>(pair)"
    "auto item = template_checks::counted(mk_val<value_tuple>(pair))"
    "out->insert(key, val)" "(template_checks::work(1000), out->insert(template_checks::bounded(key), val))"
    "out->insert(pair.first, pair.second)"
    "(template_checks::work(1000), out->insert(pair.first, pair.second))"
    # Texts.
    "(pos = str.find(delim))" "(pos = template_checks::find(str, delim))"
    "(pos = str.rfind(delim))" "(pos = template_checks::rfind(str, delim))"
    "(pos = str.find(old_str, pos))" "(pos = template_checks::find(str, old_str, pos))"
    "str.replace(pos, old_str.length(), new_str)"
    "str.replace(pos, old_str.length(), template_checks::text(new_str))"
    "if (old_str.empty()) {"
    "if (old_str.empty()) { template_checks::text(jinja::string(new_str), str.length() + 1);"
    "haystack->as_string().str().find(needle->as_string().str()) != std::string::npos"
    "template_checks::find(haystack->as_string().str(), needle->as_string().str()) != std::string::npos"
    "args.get_pos(arg_idx++)->as_string()"
    "template_checks::text(args.get_pos(arg_idx++)->as_string())"
    "indent.assign(val_width->as_int(), ' ')"
    "indent.assign(template_checks::width(val_width->as_int()), ' ')"
    "indented += indent" "indented += template_checks::text(indent)"
    "result += val_arr->as_string().str()"
    "result += template_checks::text(val_arr->as_string().str())"
    "result += delim" "result += template_checks::text(delim)"
    "static_cast<int>(val_indent->as_int())" "template_checks::indent(val_indent->as_int())"
    "std::string(curr_lvl * indent, ' ')" "std::string(template_checks::width(curr_lvl * indent), ' ')"
    "std::string(indent, ' ')" "std::string(template_checks::width(indent), ' ')"
    "oss << item_sep" "oss << template_checks::text(item_sep)"
    "oss << key_sep" "oss << template_checks::text(key_sep)"
    "for (char c : val->as_string().str()) {"
    "for (char c : template_checks::to_escape(val->as_string().str())) {"
    "const std::string val_str = val->as_string().str()"
    "const std::string val_str = template_checks::text(val->as_string().str())"
    "return val->as_repr()" "return template_checks::text(val->as_repr())"
    # What goes through all that a value holds.
    "auto indent_str = [indent, curr_lvl]"
    "const template_checks::Nested nested; auto indent_str = [indent, curr_lvl]"
    "std::string value_to_string_repr(const value & val) {"
    "std::string value_to_string_repr(const value & val) { const template_checks::Nested nested;"
    "void value_t::stats_t::mark_used(value & val, bool deep) {"
    "void value_t::stats_t::mark_used(value & val, bool deep) { const template_checks::Nested nested;"
    "auto cmp = [&]() {" "template_checks::compare(a, b); auto cmp = [&]() {"
    "if (*needle == *item) {" "if (template_checks::equal(needle, item)) {"
    "haystack->has_key(needle)" "haystack->has_key(template_checks::bounded(needle))"
    # What a conversation consists of.
    "if (json_obj.is_null() || !json_obj.is_object()) {"
    "template_checks::begin_rendering(); if (json_obj.is_null() || !json_obj.is_object()) {"
    "static value from_json(const common_json & j, bool mark_input) {"
    "static value from_json(const common_json & j, bool mark_input) { const template_checks::Input input;"
    "auto str = mk_val<value_string>(j.get<std::string>())"
    "auto str = mk_val<value_string>(template_checks::input(j.get<std::string>()))")
# It parses what a template makes of a tool call.
replace_in(llama-common common chat-diff-analyzer.cpp template_checks.h
    "json::parse(cut)" "json::parse(template_checks::shallow(cut))")
set_source_files_properties("${CMAKE_CURRENT_BINARY_DIR}/cured/common/chat-diff-analyzer.cpp"
                            TARGET_DIRECTORY llama-common
                            PROPERTIES COMPILE_OPTIONS "${_force_include}")
# The target exports all its functions, on Windows too.
target_sources(llama-common PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/cmake/template_checks.cpp")
