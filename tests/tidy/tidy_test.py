#!/usr/bin/env python3
"""Each rule sees a violation planted in a tree of its own, and leaves its neighbour alone."""

import os
import tempfile
import unittest

from repository import Repository
from tidy import RULES


class TidyTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def given(self, path, text=""):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def then(self, rule, *places):
        found = [f"{f.path}:{f.line}" for f in RULES[rule](Repository(self.root))]
        self.assertEqual(sorted(places), sorted(found))


class Layering(TidyTest):
    def setUp(self):
        super().setUp()
        for module in ("base", "log", "relay", "lease", "db", "config"):
            self.given(f"include/instep/{module}/{module}.hpp")
        self.given("include/instep/db/sqlite/sqlite.hpp")

    def test_a_lower_module_may_not_include_a_higher_one(self):
        self.given(
            "src/base/x.cpp", '#include "instep/base/base.hpp"\n#include "instep/db/db.hpp"\n'
        )
        self.given("src/relay/x.cpp", '#include "instep/base/base.hpp"\n')
        self.then("layers", "src/base/x.cpp:2")

    def test_modules_of_one_layer_need_an_edge(self):
        self.given("src/relay/x.cpp", '#include "instep/log/log.hpp"\n')
        self.given("src/log/x.cpp", '#include "instep/relay/relay.hpp"\n')
        self.then("layers", "src/log/x.cpp:1")

    def test_backends_are_for_service_and_tests(self):
        backend = '#include "instep/db/sqlite/sqlite.hpp"\n'
        self.given("src/log/x.cpp", backend)
        self.given("src/log/x_test.cpp", backend)
        self.given("src/service/x.cpp", backend)
        self.given("apps/instep/main.cpp", backend)
        self.then("layers", "src/log/x.cpp:1")

    def test_private_headers_stay_in_their_module(self):
        self.given("src/log/inner.hpp")
        self.given("src/log/x.cpp", '#include "inner.hpp"\n')
        self.given("src/relay/x.cpp", '#include "src/log/inner.hpp"\n')
        self.then("layers", "src/relay/x.cpp:1")

    def test_a_new_module_has_to_be_in_the_table(self):
        self.given("src/novelty/x.cpp", '#include "instep/base/base.hpp"\n')
        self.then("layers", "src/novelty/x.cpp:1")

    def test_headers_do_not_go_in_circles(self):
        self.given("src/log/a.hpp", '#include "b.hpp"\n')
        self.given("src/log/b.hpp", '#include "c.hpp"\n')
        self.given("src/log/c.hpp", '#include "a.hpp"\n')
        self.then("cycles", "src/log/a.hpp:1")

    def test_public_headers_name_no_third_party(self):
        self.given("include/instep/log/x.hpp", "#include <span>\n#include <fmt/core.h>\n")
        self.given("src/log/x.cpp", "#include <fmt/core.h>\n")
        self.then("public_includes", "include/instep/log/x.hpp:2")

    def test_production_does_not_include_test_support(self):
        support = '#include "tests/support/temp_dir.hpp"\n'
        self.given("src/log/x.cpp", support)
        self.given("src/log/x_test.cpp", support)
        self.then("production_includes", "src/log/x.cpp:1")


class Sizes(TidyTest):
    def test_files_end_somewhere(self):
        self.given("include/instep/log/x.hpp", "\n" * 201)
        self.given("include/instep/log/y.hpp", "\n" * 200)
        self.given("src/log/x.cpp", "\n" * 801)
        self.given("src/log/x_test.cpp", "\n" * 1000)
        self.then("file_length", "include/instep/log/x.hpp:201", "src/log/x.cpp:801")

    def test_lines_end_somewhere(self):
        self.given("src/log/x.cpp", "/" * 100 + "\n" + "/" * 101 + "\n")
        self.then("line_length", "src/log/x.cpp:2")

    def test_functions_end_somewhere(self):
        def function(lines):
            return "int f(int a = {}) {\n" + "a();\n" * (lines - 2) + "}\n"

        self.given("src/log/x.cpp", "namespace instep {\n" + function(70) + function(71) + "}\n")
        self.then("function_length", "src/log/x.cpp:72")

    def test_members_and_constructors_with_initializers_are_functions(self):
        body = "{\n" + "a();\n" * 70 + "}\n"
        constructor = f"struct X {{\n    int a{{1}};\n    X() : a{{2}}, b(3) {body}}};\n"
        operator = f"template <class T = int>\nbool operator==(T a, T b) {body}"
        self.given("src/log/x.cpp", constructor)
        self.given("src/log/y.cpp", operator)
        self.then("function_length", "src/log/x.cpp:3", "src/log/y.cpp:1")

    def test_braces_in_literals_and_comments_do_not_count(self):
        literals = "// }\n    a('}', \"}\", R\"sql(\n}\n)sql\", 1'000);\n"
        self.given("src/log/x.cpp", "int f() {\n" + literals + "b();\n" * 70 + "}\n")
        self.then("function_length", "src/log/x.cpp:1")

    def test_tables_are_not_functions(self):
        self.given("src/log/x.cpp", "const int kTable[] = {\n" + "f(1),\n" * 80 + "};\n")
        self.then("function_length")

    def test_interfaces_stay_small(self):
        pure = "    virtual void f(int x) = 0;\n"
        self.given("include/instep/db/x.hpp", "class Wide {\npublic:\n" + pure * 11 + "};\n")
        self.given("include/instep/db/y.hpp", "class Slim {\npublic:\n" + pure * 10 + "};\n")
        self.then("interface_size", "include/instep/db/x.hpp:1")


class Naming(TidyTest):
    def test_empty_words_name_nothing(self):
        self.given("src/log/string_utils.cpp")
        self.given("src/common/x.cpp")
        self.given("src/log/commons.cpp")
        self.then("file_names", "src/log/string_utils.cpp:1", "src/common/x.cpp:1")

    def test_files_are_snake_case_hpp_and_cpp(self):
        self.given("src/log/LogReader.cpp")
        self.given("src/log/log-reader.hpp")
        self.given("src/log/log_reader.cpp")
        self.then("file_names", "src/log/LogReader.cpp:1", "src/log/log-reader.hpp:1")

    def test_sources_and_public_headers_are_listed(self):
        self.given("src/log/CMakeLists.txt", "instep_module(log HEADERS a.hpp SOURCES a.cpp)\n")
        self.given("apps/CMakeLists.txt", "add_executable(x instep/a.cpp)\n")
        for path in ("include/instep/log/a.hpp", "src/log/a.cpp", "apps/instep/a.cpp"):
            self.given(path)
            self.given(path.replace("/a.", "/b."))
        self.then("listed", "include/instep/log/b.hpp:1", "src/log/b.cpp:1", "apps/instep/b.cpp:1")


class Calls(TidyTest):
    def test_tests_do_not_sleep(self):
        text = "// sleep_for(1)\nstd::this_thread::sleep_for(1ms);\n"
        for path in ("src/log/x_test.cpp", "tests/integration/x.cpp", "src/log/x.cpp"):
            self.given(path, text)
        self.then("sleeps", "src/log/x_test.cpp:2", "tests/integration/x.cpp:2")

    def test_the_library_prints_nothing(self):
        text = 'std::cout << 1;\nprintf("a");\nstd::snprintf(a, 1, "b");\nobject.puts(1);\n'
        self.given("src/log/x.cpp", text)
        self.given("apps/instep/x.cpp", text)
        self.then("console", "src/log/x.cpp:1", "src/log/x.cpp:2")

    def test_memory_has_an_owner(self):
        self.given(
            "src/log/x.cpp",
            "auto* a = new int;\n"
            "delete a;\n"
            "X(const X&) = delete;\n"
            "return std::unique_ptr<Log>(new Log(a));\n"
            'f("new delete");  // new delete\n',
        )
        self.then("ownership", "src/log/x.cpp:1", "src/log/x.cpp:2")

    def test_what_a_handler_or_a_listener_throws_is_caught_in_one_place(self):
        text = "try { f(); } catch (...) {}\n"
        self.given("src/bus/a.cpp", text)
        self.given("src/consumer/a.cpp", text)
        self.given("src/consumer/b.cpp", text)
        self.given("src/log/x.cpp", text)
        self.given("apps/instep/main.cpp", text)
        self.then("catch_all", "src/consumer/b.cpp:1", "src/log/x.cpp:1")


class Documentation(TidyTest):
    def test_public_types_state_their_contract(self):
        self.given(
            "include/instep/log/x.hpp",
            "namespace instep {\n"
            "class Forward;\n"
            "/// Reads.\nclass Reader {\n"
            "public:\n    struct Mark {};\n"
            "private:\n    struct Own {};\n};\n"
            "enum class Mode { kOne };\n"
            "/// Any.\ntemplate <class T>\nstruct Any {};\n"
            "namespace detail {\nstruct Inner {};\n}\n"
            "}\n",
        )
        self.given("src/log/x.hpp", "class Private {};\n")
        self.then("documented", "include/instep/log/x.hpp:6", "include/instep/log/x.hpp:10")

    def test_fields_of_options_state_their_contract(self):
        self.given(
            "include/instep/log/x.hpp",
            "struct ReaderOptions {\n"
            "    /// Rows.\n    int rows_max = 1;\n"
            "    std::chrono::milliseconds idle{200};\n"
            "    int bytes_max = 2;  ///< Bytes.\n"
            "    Result<void> check() const;\n"
            "};\n",
        )
        self.then("documented", "include/instep/log/x.hpp:4")

    def test_links_lead_to_files(self):
        self.given("docs/guide.md", "[a](../README.md#top) [b](none.md)\n[c](https://x.y)\n")
        self.given("README.md", "```\n[a](none.md)\n```\n[b](docs)\n")
        self.then("links", "docs/guide.md:1")

    def test_tests_that_are_named_exist(self):
        self.given("src/log/a_test.cpp", "TEST_F(LogTest,\n       Appends) {}\nTEST_P(Log, B) {}\n")
        self.given("src/log/b_test.cpp", "TEST(Other, Works) {}\n")
        self.given("tests/ops/CMakeLists.txt", "add_test(NAME ops.fires COMMAND x)\n")
        self.given(
            "docs/guarantees.md",
            "| `LogTest.Appends`, `On/Log.*`, `LogTest.App*`, `ops.fires` |\n"
            "| `LogTest.Forgets` |\n| `Gone.*` |\n"
            "| [a](../src/log/a_test.cpp) `LogTest.Appends` [b](../src/log/b_test.cpp) "
            "`Other.Works` |\n"
            "| [b](../src/log/b_test.cpp) `LogTest.Appends` |\n",
        )
        self.given("docs/other.md", "`Gone.Gone`\n")
        wrong = [f"docs/guarantees.md:{line}" for line in (2, 3, 5)]
        self.then("tests_named", *wrong)


class Wording(TidyTest):
    def test_nothing_is_left_for_later(self):
        self.given("src/log/x.cpp", "// TODO: later\n// mkdtemp(XXXXXX)\n")
        self.given("docs/x.md", "FIXME\n")
        self.then("leftovers", "src/log/x.cpp:1", "docs/x.md:1")

    def test_praise_and_pictures_are_left_out(self):
        self.given("README.md", "A Robust library\n\u2705 done\nplain\n")
        self.given("src/log/x_test.cpp", 'f("\u2705");\n/* robust */ f(1);\n')
        self.then("ornament", "README.md:1", "README.md:2", "src/log/x_test.cpp:2")


class Coverage(unittest.TestCase):
    def test_every_rule_has_a_test(self):
        with open(__file__, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual([], [rule for rule in RULES if f'then("{rule}"' not in text])


if __name__ == "__main__":
    unittest.main()
