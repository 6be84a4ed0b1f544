"""Template lines of the questions that describe what they ask about; `phrasings` says how a line is read.

Slots: {d} {s} {g} a verb plain ("read the file"), in the third person and in -ing; {n} a thing, {c} a clause, {q} a
question that lacks its circumstances, {what} what kind of name is wanted. A kind that ends in _back has its answer before
its clue; it is put in the same words.
"""

from __future__ import annotations

_LINES: dict[str, str] = {
    "everyday_does": """
        which {what} {s}?
        [how do I|how can I|how do you|how to] {d}?
        what's the {what} [for {g}|to {d}|that {s}] called?
        I [want to|need to|have to] {d}, [what do I call|which {what} is that|how]?
        [what|which {what}] [do I call|should I call|do I use] to {d}?
        [who|what] {s}?
        {what} [that {s}|to {d}|for {g}]
        which {what} is [responsible for {g}|there for {g}|used to {d}]?
        is there [something|a {what}|anything] [to {d}|that {s}|for {g}]?
        what do I [call|use] if I want to {d}
        name of the {what} that {s}
        [which part of the code|what code|what] {s}?
        [looking for|need] the {what} [that {s}|for {g}]
        {g}: [which {what}|what do I call]?
        where do we {d}, what's it called?
        what [lets me|can I use to|helps to] {d}?
        {d}, how?
        [trying to|want to] {d} - which {what}?""",
    "everyday_gives": """
        how do I get {n}?
        which {what} [gives me|returns|gives back|gives] {n}?
        [what|which {what}] [do I call|can I call|should I use] to get {n}?
        [how can I|how to] [find out|get at|look up|get] {n}?
        where do I get {n} from?
        what returns {n}?
        [which|what] {what} [do I ask for|tells me|comes up with] {n}?
        {what} [that returns|for|to get] {n}
        I need {n}, what do I call?
        [what gives me|what do I use for] {n}
        which {what} [works out|finds|provides] {n}?
        [get|getting] {n}, [which {what}|how]?""",
    "everyday_tells": """
        which {what} [decides|checks|tells me|says] [if|whether] {c}?
        how [do I|can I|to] [check|tell|find out|know|see] [if|whether] {c}?
        what [decides|determines] [if|whether] {c}?
        [what|which {what}] [do I call|can I use] to [check|see|find out] [if|whether] {c}?
        where is it [checked|decided] [if|whether] {c}, [which {what}|what's it called]?
        {what} [to check|that checks|to test] [if|whether] {c}
        is there a {what} that tells [me|us] [if|whether] {c}?
        I want to know [if|whether] {c}, [which {what}|what do I call]?
        [check|checking] that {c}, [how|which {what}]?
        who [decides|knows] [if|whether] {c}?
        how does it [know|find out] [if|whether] {c}, which {what}?
        [test|find out] [if|whether] {c}: which {what}?""",
    "everyday_thing": """
        which {what} is the {n}?
        what's the {n} called?
        [is there|do they have] a {what} for this: {n}?
        [which|what] {what} [do I use|do I need|should I use] as {n}?
        {n}, [which {what}|what's its name]?
        [name of the {what}|{what}] for the {n}
        [where|in which {what}] do I find the {n}?
        [what|which {what}] [implements|represents|stands for] the {n}?
        [I need|looking for] a {n}, what is it called
        {n}
        which of the types is the {n}?
        [what do they call|name of] the {n}?""",
    "everyday_error": """
        what [error|exception] do I get [if|when] {c}?
        which [exception|error] [is raised|is thrown|do I get|comes] [if|when] {c}?
        which [exception|error] [means|says|tells me] that {c}?
        what [is raised|is thrown|gets raised] [if|when] {c}?
        what do I [catch|have to catch|handle] [for the case that|in case|when] {c}?
        [if|when] {c}, [what do I get|which error is it|what is raised]?
        what happens [if|when] {c}?
        {c}, [which exception|what error]?
        [how does it fail|what goes wrong] [if|when] {c}?
        [error|exception] [if|when] {c}
        what kind of [error|exception] [is it|do I see] when {c}?
        what [should I|do I] expect to be raised [if|when] {c}?""",
    "everyday_says": """
        what does it say [if|when] {c}?
        what's the [error message|message] [if|when] {c}?
        what [error text|message] do I [see|get] [if|when] {c}?
        [if|when] {c}, what [does it say|is the message|do I read]?
        how does it complain [if|when] {c}?
        [error message|message|error text] [if|when] {c}
        what does the [error|message] say [if|when] {c}?
        {c}: [what message|what does it say]?
        which words tell me that {c}?""",
    "everyday_default": """
        what's the default {n}?
        what {n} [is used|do I get|does it use|is taken] [if I don't set it|if I don't pick one|by default|unless I change it]?
        [default|standard|normal] {n}
        what is the {n} [by default|if I don't say anything|if I leave it alone|unless I set it]?
        which {n} does it [use|take|have] [if I don't choose|by default|out of the box|when I don't give one]?
        {n} [by default|default|if not set]?
        [if I don't|when I don't|unless I] [set|give|change] the {n}, what [is it|is used]?
        what does the {n} default to?
        [what's|what is] the {n} out of the box
        without me doing anything, what's the {n}?
        {n} when I don't [set|give] [one|it]
        what is [assumed|taken] [as|for] the {n}?""",
    "everyday_quantity_default": """
        {q} by default?
        {q} [if I don't set it|if I don't say anything|unless I change it|if I leave it alone]?
        [by default|out of the box], {q}?
        {q}?
        {q} by default
        [if I don't set anything|normally], {q}
        {q} unless told otherwise?
        {q} [when I don't pick anything|without any settings]?
        what is the default: {q}?""",
    "everyday_whether": """
        does it {d} by default?
        will it {d} [if I don't say anything|unless I tell it not to|if I leave it alone]?
        {d} by default?
        does it {d} [unless I change it|out of the box|when I don't set anything]?
        is it [meant|set] to {d} by default
        [by default|normally], [does|will] it {d}?
        is "{d}" on or off by default?""",
    "everyday_value": """
        what's the {n}?
        what is the {n} [set to|here]?
        [which|what] {n} [is used|does it use|do they use|is set]?
        {n}
        {n}?
        what [did they set|do they use] as [the |]{n}?
        [what about|and] the {n}
        the {n} is what?
        which value is [used for|given to] the {n}?
        [tell me|I need] the {n}
        what value [does it use|is there] for the {n}?
        [look up|find] the {n}""",
    "everyday_quantity": """
        {q}?
        {q}
        [do you know|tell me] {q}
        {q}, [roughly|exactly]?
        [I wonder|question]: {q}?
        and {q}?
        {q}, as it is [set|written] [here|in the code]?
        so {q}?
        [can you say|please tell me], {q}?""",
    "everyday_name": """
        which {what} [sets|holds|controls|has|is for] the {n}?
        [what's|what is] the {what} for the {n} [called|]?
        where [do I set|do I change|is] the {n}, [which {what}|what's the {what}]?
        how do I [set|change|configure|give] the {n}?
        [which|what] {what} [do I|should I] [set|change|use] for the {n}?
        {what} for the {n}
        [which|what] {what} [decides about|says|gives] the {n}?
        I want to [change|set] the {n}, which {what}?
        name of the {what} [with|that holds|for] the {n}
        in which {what} is the {n} [kept|stored|given]?
        {n}: which {what}?
        [what do I set to change|with which {what} do I set] the {n}?""",
    "everyday_sets": """
        which {what} {s}?
        which {what} [do I|should I] [set|use|pass|give] to {d}?
        how do I [make it |get it to ]{d}?
        [what|which {what}] makes it {d}?
        [I want it to|it should] {d}, [which {what}|what do I set]?
        {what} [to {d}|for {g}]
        is there a {what} [to {d}|for {g}|that {s}]?
        [can I|how can I] [make it {d}|have it {d}], which {what}?
        what's the {what} for {g}?
        [what do I set|what has to be set] to {d}
        {d}, [which {what}|what {what} is that]?
        what {what} {s}?""",
}  # fmt: skip

LINES: dict[str, str] = _LINES | {f"{kind}_back": lines for kind, lines in _LINES.items()}

# What is added where the same words are said of several places: {in} is a function or class in plain words.
SCOPES = ("{q} in {in}?", "{in}: {q}", "{q} for {in}?", "in {in}, {q}?", "{q} ({in})", "with {in}, {q}?")
SCOPES_HELD = ("{q} when it comes to {in}?", "as for {in}: {q}?")
