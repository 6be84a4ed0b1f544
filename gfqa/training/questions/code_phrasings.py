"""Template lines of the questions about code; `phrasings` says how a line is read."""

from __future__ import annotations

LINES: dict[str, str] = {
    "where": """
        [where is|where's] {name} defined?
        [which|what] file [defines|contains the definition of|declares] {name}?
        [in which|in what] file [do I find|can I find|would I find|is] {name}?
        [locate|find] {name}
        [where do I find|where can I find|where is] the {what} {name}[|, please]?
        [path of|file of|source file of] {name}
        [show me|tell me] [where|which file] {name} [lives in|comes from|is implemented in]
        [which|what] [source file|module|path] holds the {what} {name}?
        [where does|where would] {name} live[| in this repo| in the source tree]?
        [I'm looking for|I need to find|I can't find] {name}[, where is it|, which file is it in]?
        [file that defines|file defining|definition location of] {name}
        [under which path|at which path] is {name} [implemented|written|declared]?
        {name} is [implemented|defined] in which file?
        [name|give] the file [in which|where] {name} is [defined|declared].""",
    "definition": """
        [what does the definition of|how does the definition of] {name} [look like|start]?
        [show|show me|print|give me] the definition [line |]of {name}
        [first line of|declaration of|definition of] {name}
        [how is|how's] {name} [declared|defined]?
        [quote|copy|cite] the line [that defines|which declares|defining] {name}.
        [what is|what's] the declaration of [the {what} |]{name}?
        {name} definition
        [I want to see|let me see] how {name} is [declared|defined]
        [write out|give] the [definition line|declaration] of the {what} {name}
        [on which line|with which line] [does|is] {name} [begin|start|declared]?
        [give me|please show] the [header|head line|opening line] of {name}
        the line where {name} is [introduced|created|defined]?""",
    "params": """
        what [parameters|arguments|args] does {f} [take|accept|expect|have]?
        [which|what] [parameters|arguments] [can I|do I|must I] pass to {f}?
        [signature|parameters|arguments|args] of {f}
        what is the [signature|parameter list|argument list] of {f}?
        [show me|give me|list] the [parameters|arguments|signature] of {f}[|, please]
        how do I call {f}?
        {f} [signature|params|arguments|args]
        [tell me|I need] the [parameter list|arguments|parameters] of {f}
        what [goes into|do I have to give|inputs does] {f}[| take]?
        which [inputs|values] does {f} [need|require|want]?
        [what's in the parentheses of|how is the parameter list written for] {f}?
        what [args|params] [are there|exist] for {f}?
        [calling convention|call signature|formal parameters] of {f}?
        {f} is declared with which [parameters|arguments]?
        [list|name] everything {f} [takes|accepts].""",
    "param_default": """
        what is the default [value |]of {p} in {f}?
        [what's|what is] the default for {p} in {f}?
        default [value of|of|for] {p} in {f}
        [which|what] default does {f} [use|have|give] for {p}?
        [what happens to be|what value has] {p} if I don't pass it to {f}?
        {f}: default of {p}
        what does {p} default to in {f}?
        [when|if] I [leave out|omit|don't set] {p} [when calling|in] {f}, what [value is used|is it]?
        [tell me|I need] the default [value |]of the {p} [parameter|argument] of {f}
        {p} [parameter|argument] of {f}, default?
        what is {p} set to by default in {f}?
        [which|what] value does {f} assume for {p} [unless told otherwise|if nothing is given]?
        if nobody gives {p}, what does {f} [take|use] instead?
        [initial|standard|preset] value of the {p} [parameter|argument] in {f}?
        without an explicit {p}, {f} uses which value?""",
    "param_type": """
        what [type|is the type] [is|of] {p} in {f}?
        [which|what] type does {f} expect for {p}?
        type of [the |]{p} [parameter|argument] [of|in] {f}
        [what's|what is] the type [annotation|hint|] of {p} in {f}?
        how is {p} [typed|annotated] in {f}?
        {f}: type of {p}
        what should I pass as {p} to {f}, which type?
        [tell me|give me] the type of {p} in {f}
        what kind of [value|object|thing] is {p} in {f}?
        [annotation|type hint|declared type] for {p} in {f}?
        {p} in {f} is declared as [what|which type]?
        [of which|of what] type [must|should|does] {p} [be|have to be] in {f}?""",
    "constant": """
        what is the value of {name}?
        [what's|what is] {name} [set to|equal to|defined as]?
        value of {name}
        [which|what] value does {name} have?
        {name} = ?
        [tell me|give me|show] the value of [the constant |]{name}[|, please]
        how [much|big|large] is {name}?
        {name} value
        what does {name} [hold|contain|stand for]?
        to what is [the constant |]{name} [set|assigned|initialised]?
        [look up|check] [the constant |]{name}
        what has been [assigned to|put into] {name}?
        [I need|remind me of] what {name} is [defined as|set to]
        {name} is [what|which value]?
        [which|what] [setting|number|string|literal] is behind {name}?""",
    "attribute": """
        what is the value of {name} in [class |]{c}?
        [what's|what is] {c}.{name} [set to|]?
        {c}.{name} value
        [which|what] value does {name} have in {c}?
        value of {name} in [the class |]{c}
        [what is|what's] the default [value |]of {name} in {c}?
        what does {c} [set|define|use] {name} [to|as]?
        [tell me|give me] {name} of [class |]{c}
        default {name} of {c}
        [how is|how's] {name} [set|initialised] in {c}?
        in {c}, what is {name}?
        to what does {c} initialise {name}?
        the {name} [attribute|field|member] of {c} [is|equals] what?
        [which|what] [initial|preset|starting] value does {c} give {name}?
        {name} starts out as what in {c}?""",
    "field_type": """
        what [type is|is the type of] [the field |]{name} [in|of] {c}?
        type of {c}.{name}
        [which|what] type does {name} have in {c}?
        how is {name} [typed|declared|annotated] in {c}?
        {c}: type of {name}
        [what's|what is] the type of the {name} [field|attribute|member] of {c}?
        [tell me|give me] the type of {name} in [class |struct |]{c}
        what kind of [thing|value|object] is {name} in {c}?
        {name} in {c} is of which type?
        [field|member] {name} of {c}: [which|what] type?
        {c} declares {name} as [what|which type]?
        [as which|of which] type is {name} stored in {c}?""",
    "return_type": """
        what [type does {f} return|is the return type of {f}]?
        return type of {f}
        a call of {f} [evaluates to|produces] [which|what] type?
        {f} return type
        what is {f} [annotated|declared] to return?
        after the arrow of {f} stands [which|what] type?
        [what kind of object|what type] [do I get|comes back] from {f}?
        [tell me|give me] the [return type|type of the result] of {f}
        type of what {f} returns?
        [result|output] type of {f}
        {f} -> ?
        calling {f} [gives|yields|hands] me [which|what] type?
        the [result|value] of {f} [has|is of] [which|what] type?""",
    "returns": """
        what does {f} return?
        [which|what] [value|expression] does {f} return?
        [show|give|tell] me what {f} returns
        return value of {f}
        what [do I get|comes back] [when I call|from calling|from] {f}?
        {f} returns what?
        what is returned by {f}?
        [look up|quote] the return [statement|expression] of {f}
        what's the [result|outcome|output] of {f}?
        [what|which expression] [stands|comes] after return in {f}?
        {f}: return expression
        with what does {f} [end|answer|reply]?""",
    "base_class": """
        what [class does {c} inherit from|is the base class of {c}]?
        [base class|parent class|superclass] of {c}
        {c} [builds on|is built on] which class?
        what [is|are] the [base|bases|parent|superclass] of {c}?
        {c} [inherits|derives] from what?
        [who is|what's] the parent of [class |]{c}?
        {c} base class
        [tell me|show me] what {c} [extends|inherits from|is based on]
        {c} is a subclass of [what|which class]?
        [from which|from what] class is {c} derived?
        what sits above {c} in the class hierarchy?
        [which|what] [bases|parents] are listed for {c}?""",
    "imported_by": """
        which file imports {m}?
        where is {m} imported?
        [who|what] [uses|imports] {m}?
        file [that imports|importing] {m}
        [in which|in what] file is {m} imported?
        [find|show] the file [that|which] imports {m}
        {m} is [used|imported] by which file?
        [which|what] [source file|module] depends on {m}?
        [name|give] the file with an import of {m}.
        import of {m}: [where|which file]?
        who pulls in {m}?
        [locate|look up] the file that needs {m}""",
    "imports_from": """
        what is imported from {m}?
        [which|what] names [are imported|does it import] from {m}?
        what does the code import from {m}?
        imports from {m}
        [list|show] [what is|the names] imported from {m}
        from {m} import ?
        what [do we|does it] [take|use|pull in] from {m}?
        [tell me|give me] the [imported names|imports] from {m}
        [which|what] [symbols|things] come from {m}?
        what is brought in from {m}?""",
    "calls": """
        [what|which function] does {f} call?
        {f} calls [what|which function]?
        [which|what] [function|method] is called [by|in|inside] {f}?
        what does {f} [delegate|hand over|pass the work] to?
        [callee|call] in {f}
        [show|tell] me what {f} calls
        [to what|to which function] does {f} delegate?
        {f} [invokes|runs] [what|which function]?
        [which|what] call is [made|inside] {f}?""",
    "keyword": """
        what does {f} pass as {p} to {g}?
        [which|what] {p} does {f} [give to|use for|pass to] {g}?
        in {f}, [what is|what's] {p} in the call [of|to] {g}?
        {p} passed to {g} in {f}
        with which {p} does {f} call {g}?
        {f} calls {g} with {p} = ?
        [tell me|give me] the {p} that {f} [passes to|hands] {g}
        value of the {p} argument when {f} calls {g}
        when {f} [calls|invokes] {g}, what {p} does it use?""",
    "local": """
        what is {name} set to in {f}?
        [which|what] value does {name} get in {f}?
        how is {name} [computed|set|assigned|initialised] in {f}?
        in {f}, what is {name}?
        {f}: {name} = ?
        [tell me|show me] what {f} assigns to {name}
        value of {name} [in|inside] {f}
        what does {f} [store in|put into|assign to] {name}?
        where does {name} come from in {f}, which expression?
        [expression|right-hand side] for {name} in {f}
        [from what|how] does {f} [make|get|build] {name}?""",
    "decorator": """
        [which|what] decorator [does {f} have|is on {f}]?
        decorator of {f}
        [how is|with what is] {f} decorated?
        what decorates {f}?
        {f} decorator
        [tell me|show me] the decorator [of|on|above] {f}
        what is [written|stands] [directly |]above the definition of {f}?
        {f} is wrapped by which decorator?
        which annotation [stands|sits] on {f}?""",
    "docstring": """
        what does {f} do?
        [what is|what's] {f} for?
        [describe|explain] {f}
        what is the [purpose|job|role] of {f}?
        {f} [documentation|docs|description|summary]
        [first sentence of|summary of] the [docstring|documentation] of {f}
        [what does|how does] the documentation [say about|describe] {f}?
        [tell me|explain to me] what {f} does
        why would I use {f}?
        what's the point of {f}?
        [I don't understand|I'm wondering about] {f}, what does it do?
        how is {f} documented?
        in one sentence, what does {f} do?
        [meaning|use|function] of {f}?
        [give me|quote] the docstring of {f}""",
    "doc_to_name": """
        [which|what] [function|method|class|code] does this: {d}
        which {what} is documented as "{d}"?
        [name of|find] the {what} [that|whose docstring says] "{d}"
        what is the name of the {what} described as: {d}
        {what} for: {d}
        [which|what] {what} [should I use|do I need] for this? {d}
        what do I call to get this: {d}
        "{d}" - which {what} is that?
        there is a {what} described by "{d}", what is it called?""",
    "method_of": """
        [which|what] class [has|defines|contains] the method {name}?
        {name} is a method of which class?
        class [of|that has|with] the method {name}
        [to which|to what] class does [the method |]{name} belong?
        [on which|in which] class is {name} [defined|implemented]?
        [who|which class] owns {name}?
        find the class [that implements|with] {name}
        [which|what] type [provides|offers] a {name} method?
        {name} lives on which class?""",
    "raises": """
        [which|what] [exception|error] does {f} raise?
        what does {f} raise?
        {f} raises [what|which exception]?
        exception [raised|thrown] by {f}
        [what kind of|which] error [can|do] I [get|expect] from {f}?
        [tell me|show me] what {f} [throws|raises]
        when {f} fails, which exception [comes|is raised]?
        [how does|with which error does] {f} [fail|give up|complain]?
        what [should|must] I catch [around|when calling] {f}?""",
    "message": """
        what [error message|message] does {f} [raise|give|produce]?
        error message [of|in|from] {f}
        what does {f} say when it [fails|raises]?
        [which|what] text does the error [raised by|from] {f} [have|carry]?
        {f} error text
        [quote|show me] the error message [of|in] {f}
        what message [comes|do I get] from {f} [on failure|when something is wrong]?
        [with what|with which] words does {f} [complain|refuse]?
        the exception in {f} [says|reads] what?""",
    "raised_by": """
        [which|what] function [raises|gives|reports] the error "{d}"?
        where does the [error|message] "{d}" come from?
        I get "{d}", which function raises that?
        function raising "{d}"
        who [raises|throws|says] "{d}"?
        "{d}": [which|what] function is that from?
        [find|locate] the function [behind|with] the error message "{d}"
        [which|what] code complains with "{d}"?
        what produces the message "{d}"?""",
    "option_default": """
        what is the default of [the option |the flag |]{name}?
        default [value of|of|for] {name}
        [which|what] value does {name} have [by default|if I leave it out]?
        what does {name} default to?
        [tell me|give me] the default of [the command line option |]{name}
        [if|when] I don't [pass|give|set] {name}, what is used?
        {name} default
        without {name}, which value [applies|counts]?
        [preset|standard setting] of {name}?""",
    "option_help": """
        what does [the option |the flag |]{name} do?
        [what is|what's] {name} for?
        help text of {name}
        [explain|describe] [the option |the flag |]{name}
        {name} [meaning|help|description]
        [when|why] [would|should] I use {name}?
        what [happens|changes] [if I pass|with] {name}?
        [tell me|show me] what the {name} option does
        how is {name} [described|documented] [|in the help]?""",
    "config": """
        what is {key} set to?
        value of {key}
        [which|what] value does {key} have?
        [what's|what is] the value of {key}?
        {key} = ?
        [show|tell me|give me] {key}
        {key} setting
        to what is {key} [set|configured]?
        [look up|check] {key} for me
        how is {key} configured?
        what did they [choose|set|put] for {key}?
        [which|what] [setting|entry] [stands|is written] under {key}?
        the configured {key} is [what|which]?""",
    "purpose": """
        which {what} {s}?
        how do I {d}?
        [I want to|I'd like to|I have to] {d}, what do I call?
        [what|which {what}] [should I use|do I call] to {d}?
        what {s}?
        [find|name] the {what} that {s}
        is there a {what} [to|that can] {d}?
        [name of the|which] {what} [that {s}|to {d}]?
        where in the code do we {d}, which {what}?
        [{what} to|code to|helper to] {d}
        which {what} [is there to|would] {d}?
        who {s}?""",
    "purpose_where": """
        which file {s}?
        [where|in which file] is the code [that {s}|to {d}]?
        [where do we|where does it] {d}?
        [what|which] [module|source file|part of the code] {s}?
        where would I [look|change something] to {d}?
        [file|module] that {s}
        in which file do we {d}?
        where's the part that {s}?
        [path|place] of the code to {d}?""",
    "comment_value": """
        {d}
        [what|which value] is [set|used] for this: {d}
        [how many or what|I need]: {d}
        [value|setting] for: {d}
        what is the {d}?
        [number|value] of: {d}
        [tell me|look up] the {d}
        [what did they set|what is there] for {d}?
        {d}, how [much|many]?""",
}
