"""A conversation template as a chat template in Jinja, which transformers, vLLM and their servers render.

It writes what `Conversation.get_prompt` writes, with BOS in front: those programs add none to a rendered chat. Pictures
stand as `<image>`, a line each, before the words of their message.
"""

import json

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation
from llava.conversation_styles import SeparatorStyle
from llava.errors import InputError

# What a message says: a text, or parts of which the pictures come first. `said` is set by it.
_SAID = (
    "{% if m['content'] is string %}{% set said = m['content'] %}{% else %}{% set said %}"
    "{% for p in m['content'] if p['type'] in ('image', 'image_url') %}@IMAGE@\n{% endfor %}"
    "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}{% endset %}{% endif %}"
)
_OPENING = "{{ system + @SEP@ }}"
# System text, user's turn, assistant's turn, what asks for an answer. Between @: marks and roles of the template.
_STYLES = {
    SeparatorStyle.SINGLE: (
        "{{ system + @SEP@ }}",
        "@USER@: {{ said + @SEP@ }}",
        "@BOT@: {{ said + @SEP@ }}",
        "@BOT@:",
    ),
    SeparatorStyle.TWO: ("{{ system + @SEP@ }}", "@USER@: {{ said + @SEP@ }}", "@BOT@: {{ said + @SEP2@ }}", "@BOT@:"),
    SeparatorStyle.MPT: ("{{ system + @SEP@ }}", "@USER@{{ said + @SEP@ }}", "@BOT@{{ said + @SEP@ }}", "@BOT@"),
    SeparatorStyle.CHATML: (
        "{% if system %}{{ system + @SEP@ }}\n{% endif %}",
        "@USER@\n{{ said + @SEP@ }}\n",
        "@BOT@\n{{ said + @SEP@ }}\n",
        "@BOT@\n",
    ),
    SeparatorStyle.LLAMA_2: (
        "",
        "{% if not loop.first %}{{ @SEP@ }}{% endif %}[INST] {% if loop.first and system %}<<SYS>>\n{{ system }}\n"
        "<</SYS>>\n\n{% endif %}{{ said }} [/INST]",
        " {{ said }} {{ @SEP2@ }}",
        "",
    ),
    SeparatorStyle.LLAMA_3: (
        "<|start_header_id|>system<|end_header_id|>\n\n{{ (system | trim) + @SEP@ }}",
        "<|start_header_id|>@USER@<|end_header_id|>\n\n{{ (said | trim) + @SEP@ }}",
        "<|start_header_id|>@BOT@<|end_header_id|>\n\n{{ (said | trim) + @SEP@ }}",
        "<|start_header_id|>@BOT@<|end_header_id|>\n\n",
    ),
}


def as_jinja(template: Conversation, bos: str, image: str = DEFAULT_IMAGE_TOKEN) -> str:
    """The chat template of a conversation template.

    Args:
        bos: goes first; empty for a tokenizer that puts none.
        image: what stands for a picture.

    Raises:
        InputError: for one with example turns, or of a style without roles.
    """
    if template.sep_style not in _STYLES or template.messages:
        raise InputError(
            f"a chat template is written of turns with roles and no example: got the style {template.sep_style.name}"
            f"{' with example turns' if template.messages else ''}; name another --conv-mode"
        )
    opening, user, assistant, asking = _STYLES[template.sep_style]
    head, own = _system(template)
    pieces = (
        f"{{{{ {json.dumps(bos)} }}}}" if bos else "",
        "{% if messages[0]['role'] == 'system' %}{% set m = messages[0] %}",
        _SAID,
        f"{{% set system = {json.dumps(head)} + said %}}{{% set turns = messages[1:] %}}{{% else %}}",
        f"{{% set system = {json.dumps(head + own)} %}}{{% set turns = messages %}}{{% endif %}}",
        opening,
        "{% for m in turns %}",
        _SAID,
        "{% if m['role'] == 'user' %}",
        user,
        "{% else %}",
        assistant,
        "{% endif %}{% endfor %}{% if add_generation_prompt %}",
        asking,
        "{% endif %}",
    )
    marks = {"SEP": json.dumps(template.sep), "SEP2": json.dumps(template.sep2 or ""), "IMAGE": image}
    marks |= {"USER": template.roles[0], "BOT": template.roles[1]}
    text = "".join(pieces)
    for name, value in marks.items():
        text = text.replace(f"@{name}@", value)
    return text


def _system(template: Conversation) -> tuple[str, str]:
    """The mark before a template's system text, and that text."""
    line, feed, rest = template.system.partition("\n")
    marked = template.sep_style in (SeparatorStyle.MPT, SeparatorStyle.CHATML) and line.startswith("<|")
    return (line + feed, rest) if marked else ("", template.system)
