"""The form of sliders, set to the call that is shown."""

from __future__ import annotations

from html import escape

from backstride.explore.parameters import BOUNDS, RULES
from backstride.geometry import Geometry


def controls(
    geometry: Geometry,
    padding: str,
    output_padding: tuple[int, ...],
    call: str,
    *,
    problem: str = "",
) -> str:
    """The form.

    `padding`: a rule, "number", or pairs that no slider can say; `call`: the text of a call, or "".
    """
    rank = len(geometry.input)
    values = {
        "input": geometry.input,
        "kernel": geometry.kernel,
        "strides": geometry.strides,
        "dilation": geometry.dilation,
        "padding": tuple(before for before, _ in geometry.crop)
        if padding == "number"
        else (1,) * rank,
        "output_padding": output_padding if padding == "number" else (0,) * rank,
    }
    apart = any(len(set(sizes)) > 1 for sizes in values.values())
    sliders = "".join(_slider(name, sizes) for name, sizes in values.items())
    axes = "".join(
        f'<option value="{n}"{" selected" if n == rank else ""}>{n}-D</option>' for n in (1, 2, 3)
    )
    known = [*RULES, "number"]
    options = known if padding in known else [*known, padding]
    rules = "".join(
        f"<option{' selected' if rule == padding else ''}>{escape(rule)}</option>"
        for rule in options
    )
    return f"""<form id="controls" class="controls" autocomplete="off">
<div class="field wide"><label for="call">a call</label>
<input id="call" name="call" type="text" maxlength="1000" spellcheck="false" value="{escape(call)}"
 placeholder='Conv2DTranspose(128, 3, strides=2, padding="same")'><button>Explain</button></div>
<label class="choice">axes <select name="axes">{axes}</select></label>
<label class="choice">padding rule <select name="rule">{rules}</select></label>
<label class="check"><input type="checkbox" name="apart"{" checked" if apart else ""}> each axis by itself</label>
{sliders}
<div class="field wide"><button id="share" type="button">Copy link</button>
<a id="link" class="soft" href="?">permalink</a></div>
</form>
<p id="problem" role="alert">{escape(problem)}</p>"""  # noqa: E501


def _slider(name: str, sizes: tuple[int, ...]) -> str:
    bound = BOUNDS[name]
    explicit = " explicit" if name in {"padding", "output_padding"} else ""
    parts: list[str] = []
    planes, rows, columns = (*sizes[:1] * (3 - len(sizes)), *sizes)
    ends = (("-plane", " planes", planes), ("", "", rows), ("-column", " columns", columns))
    for suffix, words, size in ends:
        column, least, most = (
            suffix.replace("-", " "),
            min(bound.least, size),
            max(bound.most, size),
        )
        parts.append(
            f'<label class="slider{explicit}{column}">{name}{words}'
            f'<input type="range" name="{name}{suffix}" min="{least}" max="{most}" value="{size}">'
            f"<output>{size}</output></label>"
        )
    return "".join(parts)
