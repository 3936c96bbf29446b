"""The page's widgets and what each does. All state is in the widgets; every text is made in `words` and `asking`."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llava.serve.page.asking import Panel, asked
from llava.serve.page.remote import Server
from llava.serve.page.words import Turn, about_model, example_files, transcript

FIRST, SECOND = "visiondrop", "visionzip"
NINTH = 9  # of a picture's tokens is what the page begins with
NARROW = 320  # pixels of a window in which everything still stands, one below the other
LONGEST_QUESTION = 4000


def build_page(server: Server, model: dict[str, Any], examples: str) -> gr.Blocks:
    """The page over a server.

    Args:
        model: what the server says of itself, see `Server.model`.
        examples: the folder of pictures to try.
    """
    methods, most = model["reduction"]["methods"], model["reduction"]["most_tokens"]
    first, second = (name if name in methods else methods[0] for name in (FIRST, SECOND))
    with gr.Blocks(title="VisionDrop", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown(f"# Ask about a picture, with fewer image tokens\n{about_model(model['id'])}")
        with gr.Row():
            with gr.Column(scale=1, min_width=NARROW):
                picture = gr.Image(type="filepath", sources=["upload", "clipboard"], label="Picture", height=260)
                picture.preprocess = uploaded  # type: ignore[method-assign]
                question = gr.Textbox(label="Question", max_lines=4, max_length=LONGEST_QUESTION)
                method, budget = _choice("Method", first, methods, most)
                both = gr.Checkbox(label="Compare with a second method")
                with gr.Group(visible=False) as more:
                    other, its_budget = _choice("Second method", second, methods, most)
                with gr.Row():
                    ask = gr.Button("Ask", variant="primary", min_width=90)
                    stop = gr.Button("Stop", min_width=90)
                    anew = gr.Button("New conversation", min_width=200)
                _examples(examples, [picture, question])
            with gr.Column(scale=3, min_width=NARROW):
                talk, earlier = gr.State(Talk()), gr.HTML(elem_id="earlier")
                with gr.Row():
                    shown = _results("first")
                    with gr.Column(visible=False, min_width=NARROW) as beside:
                        shown_beside = _results("second")
        both.change(lambda on: [gr.update(visible=on)] * 2, both, [more, beside], show_progress="hidden")

        def answered(
            file: str | None,
            text: str,
            name: str,
            tokens: float,
            compare: bool,
            other: str,
            others: float,
            talk: Talk | None,
        ) -> Iterator[list[Any]]:
            """Both methods go on from what the first one answered, so that they are asked the same."""
            before = talk.about(file) if talk is not None else ()
            empty, seen, now = values(Panel()), transcript(before), Talk(file, before)
            for panel in asked(server, model["id"], file, text, name, tokens, before):
                if panel.answer:  # also one that is stopped
                    now = Talk(file, (*before, (text, panel.answer)))
                yield [*values(panel), *empty, now, seen]
            for panel_beside in asked(server, model["id"], file, text, other, others, before) if compare else ():
                yield [*values(panel), *values(panel_beside), now, seen]

        given = [picture, question, method, budget, both, other, its_budget, talk]
        running = [
            event(answered, given, [*shown, *shown_beside, talk, earlier], show_progress="hidden", concurrency_limit=4)
            for event in (ask.click, question.submit)
        ]
        stop.click(lambda: None, None, None, cancels=running)
        anew.click(forgotten, None, [*shown, *shown_beside, talk, earlier], show_progress="hidden", cancels=running)
    return page


@dataclass(frozen=True)
class Talk:
    """What was said so far, and the file of the picture that it was said about."""

    picture: str | None = None
    turns: tuple[Turn, ...] = ()

    def about(self, picture: str | None) -> tuple[Turn, ...]:
        """The turns to go on from: none where the picture is another one."""
        return self.turns if picture == self.picture else ()


def forgotten() -> list[Any]:
    """What everything shows once another conversation begins."""
    return [*values(Panel()), *values(Panel()), Talk(), ""]


def uploaded(file: Any) -> str | None:
    """The path of an uploaded picture, its bytes as they came: Gradio would turn, convert and compress it again.

    What is no picture is the server's to refuse, in a sentence. That the path is one of an upload was checked before.
    """
    return None if file is None else file.path


def values(panel: Panel) -> list[Any]:
    """What the widgets of one method hold."""
    role = "alert" if panel.state.startswith("Error") else "status"
    state = f'<p role="{role}">{html.escape(panel.state)}</p>' if panel.state else ""
    drawing = gr.Image(panel.drawing, alt_text=panel.description or None)
    return [state, panel.answer, panel.figures, drawing]


def _choice(label: str, name: str, methods: list[str], most: int) -> tuple[gr.Dropdown, gr.Slider]:
    return (
        gr.Dropdown(methods, value=name, label=label),
        gr.Slider(
            1, most, value=max(1, most // NINTH), step=1, label=f"{label}: image tokens",
            info=f"on average in each LLM layer; the picture has {most}, none keeps them all",
        ),
    )  # fmt: skip


def _results(which: str) -> list[Any]:
    with gr.Column(min_width=NARROW):
        return [
            gr.HTML(elem_id=f"state-{which}"),
            gr.Textbox(label=f"Answer of the {which} method", interactive=False, lines=2, elem_id=f"answer-{which}"),
            gr.Markdown(elem_id=f"figures-{which}"),
            gr.Image(
                label=f"What the {which} method kept", show_label=False, format="png", interactive=False,
                buttons=["download", "fullscreen"], elem_id=f"kept-{which}",
            ),
        ]  # fmt: skip


def _examples(folder: str, into: list[Any]) -> None:
    rows = example_files(folder)
    if rows:
        gr.Examples(rows, into, label="Examples", cache_examples=False)
