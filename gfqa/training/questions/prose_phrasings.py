"""Template lines of the questions about documentation; `phrasings` says how a line is read."""

from __future__ import annotations

LINES: dict[str, str] = {
    "heading": """
        what does the section "{name}" say[| first]?
        [how does|with what does] the section [on|about|called] "{name}" [begin|start]?
        first sentence [of|under] [the section |]"{name}"
        [what is|what's] said about {name}?
        [tell me|what can you tell me] about {name}
        {name}: what do the docs say?
        what [do|does] the [docs|documentation|manual|text] say about {name}?
        [explain|describe] {name}
        {name}?
        what should I know about {name}?
        [summarise|summary of] the section "{name}"
        [opening|introduction] of the chapter "{name}"?""",
    "list_item": """
        what is {name}?
        [describe|explain] {name}
        what does {name} [mean|do|stand for]?
        [how is|how does the documentation describe] {name}[| described]?
        meaning of {name}
        [what's|what is] {name} [for|about]?
        {name} description
        [tell me|explain] what {name} is
        {name}, what does it do?
        what do the docs say about {name}?""",
    "table_cell": """
        what is the {column} of {name}?
        {column} of {name}
        {name}: {column}?
        [which|what] {column} does {name} have?
        [what's|tell me] the {column} for {name}
        in the table, what is [given|listed] as {column} for {name}?
        [look up|give me] {column} for {name}
        for {name}, what does the table list under {column}?
        the {column} [entry|value] for {name}?""",
    "command": """
        [how do I|how can I|how to] {d}?
        [which|what] command [do I use|should I run] to {d}?
        command [to|for]: {d}
        [what's|what is] the command to {d}?
        show me how to {d}
        I want to {d}, what do I [type|run]?""",
    "how": """
        how [do I|can I|do you|to] {d}?
        what [do I|must I|should I] do to {d}?
        I want to {d}, [how|what do I do]?
        {d}, how?
        [what's|what is] the way to {d}?
        how would [I|one] {d}?
        {d}
        [steps|instructions] to {d}
        is there a way to {d}?
        need to {d}
        [explain|tell me|show me] how to {d}
        [trying|I'm trying] to {d}""",
    "with_what": """
        what [do I|can I|should I] use to {d}?
        how [do I|can I] {d}?
        [which one|what] [is used|is there] to {d}?
        what is [the right thing|meant] to {d}?
        [which thing|what] lets me {d}?
        with what [do I|can I] {d}?
        {d}, with what?
        [best way|tool] to {d}
        {d}: what [should I use|is used]?""",
    "what_if": """
        what happens [if|when] {d}?
        [if|when] {d}, what [happens|then]?
        and if {d}?
        [what do I do|what should I know] [if|when] {d}?
        {d} - [what now|what happens]?
        what [goes on|follows] when {d}?
        what if {d}?
        [consequence|result] when {d}?
        {d}?""",
    "default_of": """
        what is the default [of|for] {name}?
        [which|what] [value is used|default is there] for {name}?
        {name} default
        default {name}
        what does {name} default to?
        what is {name} [unless I change it|by default]?
        [standard|normal] value of {name}
        [if I don't set|without] {name}, what [counts|is used]?
        {name}, the default?""",
    "what_is": """
        [what is|what's|what are] {name}?
        [explain|define] {name}
        [meaning|definition] of {name}?
        what is meant by {name}?
        {name}?
        [what does|how does] the text [call|describe] {name}[| as]?
        [tell me|I don't know] what {name} [is|means]
        what do you call {name}?
        {name} [is what|means what]?""",
    "asked": """
        {q}?
        {q}
        [tell me|can you say|do you know]: {q}?
        {q}, please?
        {q} ?
        [quick one|question]: {q}
        {q}?
        do the documents say {q}?
        [I'd like to know|wondering], {q}?""",
    "asked_back": """
        {q}?
        {q}
        [tell me|can you say|do you know]: {q}?
        {q}, please?
        {q} ?
        [quick one|question]: {q}
        {q}?
        do the documents say {q}?
        [I'd like to know|wondering], {q}?""",
}
