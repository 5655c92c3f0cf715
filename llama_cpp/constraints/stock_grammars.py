"""Grammars that come along, for ``LlamaGrammar.from_string``."""

from __future__ import annotations

__all__ = [
    "ARITHMETIC_GBNF",
    "CHESS_GBNF",
    "C_GBNF",
    "JAPANESE_GBNF",
    "JSON_ARR_GBNF",
    "JSON_GBNF",
    "LIST_GBNF",
]

ARITHMETIC_GBNF = r"""
# Equations, one per line: 2 * (x1 + 3) = 14
root    ::= (sum " = " sum "\n")+
sum     ::= product (" " [-+] " " product)*
product ::= value (" " [*/] " " value)*
value   ::= "-"? (number | name | "(" sum ")")
number  ::= ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})?
name    ::= [a-z] [0-9]{0,3}
"""

CHESS_GBNF = r"""
# A game in algebraic notation: 1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 1/2-1/2
root     ::= "1. " move " " move (" " turn)* (" " last)? (" " result)?
turn     ::= number move " " move
last     ::= number move
number   ::= [1-9] [0-9]{0,2} ". "
move     ::= (pawn | piece | castling) [+#]?
pawn     ::= ([a-h] "x")? [a-h] ([2-7] | [18] "=" [QRBN])
piece    ::= [KQRBN] [a-h]? [1-8]? "x"? [a-h] [1-8]
castling ::= "O-O" "-O"?
result   ::= "1-0" | "0-1" | "1/2-1/2"
"""

JAPANESE_GBNF = r"""
# Sentences in Japanese: hiragana, katakana, kanji, and digits of both widths
root     ::= sentence+
sentence ::= phrase ("、" phrase)* [。\uFF01\uFF1F]
phrase   ::= (word | "「" word "」")+
word     ::= (hiragana | katakana | kanji | digit)+
hiragana ::= [ぁ-ゖゝゞ]
katakana ::= [ァ-ヺー・]
kanji    ::= [一-鿿々]
digit    ::= [0-9\uFF10-\uFF19]
"""

_JSON_VALUES = r"""
value  ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (member ("," ws member)*)? "}"
member ::= string ":" ws value ws
array  ::= "[" ws (value ws ("," ws value ws)*)? "]"

# A control character has to be escaped, and half a surrogate pair is none.
string ::= "\"" char* "\""
char   ::= [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" code)
code   ::= [0-9a-ce-fA-CE-F] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}

number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?

# Bounded, or a model may never go on
ws     ::= "" | " " | "\n" [ \t]{0,20}
"""

JSON_GBNF = f"""
# A JSON object
root   ::= object
{_JSON_VALUES}"""

JSON_ARR_GBNF = rf"""
# A JSON array with a line for each value
root   ::= "[\n" ws (value (",\n" ws value)* "\n")? "]"
{_JSON_VALUES}"""

LIST_GBNF = r"""
# Lines that begin with a dash
root ::= item+
item ::= "- " [^\x00-\x1F\x7F-\x9F\u2028\u2029]+ "\n"
"""

C_GBNF = r"""
# Functions in a small part of C
root       ::= function+
function   ::= type name "(" (parameter (", " parameter)*)? ") " block "\n"
parameter  ::= type name
type       ::= ("int" | "float" | "double" | "char") " " "*"?
name       ::= [a-zA-Z_] [a-zA-Z0-9_]{0,30}

block      ::= "{\n" (statement "\n")* "}"
statement  ::= declare | assign ";" | call ";" | return | if | while | for | comment
declare    ::= type name (" = " sum)? ";"
assign     ::= name " = " sum
return     ::= "return" (" " sum)? ";"
if         ::= "if (" condition ") " block (" else " block)?
while      ::= "while (" condition ") " block
for        ::= "for (" (declare | assign ";") " " condition "; " assign ") " block
comment    ::= "// " [^\x00-\x1F\x7F\\]*

condition  ::= sum " " ("<" | "<=" | "==" | "!=" | ">=" | ">") " " sum
sum        ::= product (" " [-+] " " product)*
product    ::= value (" " [*/%] " " value)*
value      ::= number | name | call | "(" sum ")" | "-" (number | name)
call       ::= name "(" (sum (", " sum)*)? ")"
number     ::= ("0" | [1-9] [0-9]{0,8}) ("." [0-9]{1,15})?
"""
