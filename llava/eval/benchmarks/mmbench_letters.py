"""Which option an answer to a multiple-choice question means: VLMEvalKit's exact-matching mode, without a judge."""

import re

NO_OPTION = "Z"
FAILURE = "Failed to obtain answer via API"
REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
# No word boundary behind the letter: "the answer is dark" is D.
STATED = re.compile(r"answer\s+is\s+\**([A-D])", re.IGNORECASE)
LAST_WORDS = 4


def letter_of(answer: str, options: dict[str, str]) -> str | None:
    """The option's letter, `Z` for a refusal, None where nothing decides.

    Args:
        options: texts by letter, as shown.
    """
    return _stated_letter(answer, options) or _repeated_text(answer, options)


def _stated_letter(answer: str, options: dict[str, str]) -> str | None:
    """A letter that stands alone as one of the last words, or follows `answer is`."""
    if FAILURE in answer:
        return None
    if any(refusal in answer for refusal in REFUSALS):
        return NO_OPTION
    words = answer.translate(MARKS).split()
    said = [letter for letter in options if letter in words]
    if len(said) == 1 and words.index(said[0]) >= len(words) - LAST_WORDS:
        return said[0]
    if not said and NO_OPTION in words:
        return NO_OPTION
    stated = STATED.search(answer)
    return stated[1].upper() if stated and stated[1].upper() in options else None


def _repeated_text(answer: str, options: dict[str, str]) -> str | None:
    """The one option whose text is in an answer that is not much longer than all options."""
    if len(answer) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, text in options.items() if text.lower() in answer.lower()]
    return found[0] if len(found) == 1 else None
