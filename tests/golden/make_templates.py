"""Expected renderings of chat templates and Jinja snippets, by jinja2 in the environment of transformers.

Run with a Python that has transformers and gguf:
    python tests/golden/make_templates.py [folder of public templates]
writes tests/golden/data/template_*.jsonl. Public templates are not copied: a case names the file and the test reads it.
"""
import datetime
import hashlib
import json
import pathlib
import sys

import transformers.utils.chat_template_utils as ctu

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PUBLIC = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data/templates"
NOW = 1732188600  # 2024-11-21 11:30:00 UTC


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.utcfromtimestamp(NOW)


ctu.datetime = FixedClock


def outcome(source, variables):
    """{"out": text}, {"raised": message} when the template called raise_exception, or {"error": kind}."""
    try:
        template = ctu._compile_jinja_template(source)
    except Exception as e:
        return {"error": "parse", "what": str(e)[:120]}
    try:
        return {"out": template.render(**variables)}
    except ctu.jinja2.exceptions.TemplateError as e:
        if type(e) is ctu.jinja2.exceptions.TemplateError:
            return {"raised": str(e)}
        return {"error": "run", "what": str(e)[:120]}
    except Exception as e:
        return {"error": "run", "what": f"{type(e).__name__}: {e}"[:120]}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "City & country, e.g. \"Genève, CH\""},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
            },
            "required": ["location"],
        },
        "return": {"type": "object"},
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search <documents>.",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "words"},
                "filters": {
                    "type": "object",
                    "properties": {"year": {"type": ["integer", "null"]}, "tags": {"type": "array", "items": {"type": "string"}}},
                },
                "limits": {"type": "array", "items": {"type": "number"}, "description": "low, high"},
            },
            "required": ["query", "filters"],
        },
    },
}
CALL = {"id": "call12345", "type": "function", "function": {"name": "get_weather", "arguments": {"location": "Zürich", "days": 3}}}
CALL_TEXT = {"id": "call12345", "type": "function", "function": {"name": "get_weather", "arguments": '{"location": "Zürich"}'}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


CONVERSATIONS = {
    "one": {"messages": [user("Hello!")]},
    "system": {"messages": [system("You are terse."), user("Hi")]},
    "turns": {"messages": [system("  Spaces.\n"), user("1+1?"), assistant("2"), user("and 2+2? "), assistant("4.\n\nDone."), user("Thanks")]},
    "answered": {"messages": [user("Ping"), assistant("Pong")]},
    "unicode": {"messages": [user("Größe 😀 — 日本語 \"q\" <b> & 'x'\u00a0"), assistant("naïve\ttab\n"), user("ñ")]},
    "empty": {"messages": [user(""), assistant(""), user(" ")]},
    "think": {"messages": [user("Why?"), assistant("<think>\nBecause.\n</think>\n\nSo."), user("Go on"),
                           {"role": "assistant", "content": "Yes.", "reasoning_content": "hmm\n"}, user("End")]},
    "tools": {"messages": [system("Use tools."), user("Weather in Zürich?")], "tools": [WEATHER, SEARCH]},
    "tool_call": {"messages": [user("Weather?"), {"role": "assistant", "content": None, "tool_calls": [CALL]},
                               {"role": "tool", "name": "get_weather", "tool_call_id": "call12345", "content": "{\"t\": -3.5}"},
                               assistant("Cold."), user("Thanks")], "tools": [WEATHER]},
    "tool_call_text": {"messages": [user("Weather?"), {"role": "assistant", "content": "", "tool_calls": [CALL_TEXT]},
                                    {"role": "tool", "name": "get_weather", "tool_call_id": "call12345", "content": "sunny"},
                                    {"role": "tool", "name": "get_weather", "tool_call_id": "call12346", "content": "rain"}],
                       "tools": [WEATHER, SEARCH]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image"}, {"type": "text", "text": " here"}]}]},
    "twice_user": {"messages": [user("a"), user("b")]},
    "bad_role": {"messages": [{"role": "narrator", "content": "Once"}]},
    "nothing": {"messages": []},
    "documents": {"messages": [user("Who?")], "documents": [{"title": "A", "text": "alpha"}, {"title": "B", "text": "beta"}]},
    "no_thinking": {"messages": [system("/no_think Be."), user("Hi")], "enable_thinking": False},
}


def template_cases():
    own = json.loads((HERE / "data" / "template_sources.json").read_text())
    sources = [("own:" + k, v) for k, v in own.items()]
    sources += [("public:" + p.name, p.read_text()) for p in sorted(PUBLIC.glob("*.jinja"))]
    model = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
    if model.exists():
        import gguf

        field = gguf.GGUFReader(str(model)).fields["tokenizer.chat_template"]
        sources.append(("own:smollm2", bytes(field.parts[field.data[0]]).decode()))
        own["smollm2"] = sources[-1][1]
        (HERE / "data" / "template_sources.json").write_text(json.dumps(own, ensure_ascii=False, indent=1) + "\n")
    seen = set()
    for name, source in sources:
        if name in seen:
            continue
        seen.add(name)
        for conversation, given in CONVERSATIONS.items():
            for prompt in (True, False):
                variables = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **given,
                             "add_generation_prompt": prompt}
                yield {"template": name, "conversation": conversation, "prompt": prompt, **outcome(source, variables)}


def write(name, rows):
    with open(HERE / "data" / name, "w") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(name, len(rows))


def digest(row):
    if "out" in row:
        text = row.pop("out").encode()
        row |= {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    return row


def main():
    conversations = {k: {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **v}
                     for k, v in CONVERSATIONS.items()}
    (HERE / "data" / "template_conversations.json").write_text(json.dumps(conversations, ensure_ascii=False) + "\n")
    rows = list(template_cases())
    for kind in ("own", "public"):
        part = [r for r in rows if r["template"].startswith(kind)]
        if kind == "public":  # their words are their authors': only a digest is kept
            part = [digest(r) for r in part]
        size = 0
        files = [[]]
        for r in part:
            size += len(json.dumps(r, ensure_ascii=False).encode())
            if size > 280000:
                files.append([])
                size = 0
            files[-1].append(r)
        for i, chunk in enumerate(files):
            write(f"template_{kind}_{i}.jsonl", chunk)
    snippets = []
    for line in (HERE / "data" / "template_snippets.txt").read_text().splitlines():
        if not line or line.startswith("##"):
            continue
        source, _, variables = line.partition("\t")
        source = source.replace("⏎", "\n")
        variables = json.loads(variables) if variables else {}
        snippets.append({"source": source, "vars": variables, **outcome(source, variables)})
    write("template_cases.jsonl", snippets)


if __name__ == "__main__":
    main()
