"""Records a program in a terminal of its own, and writes an animated SVG file for each colour scheme.

Usage: record-tui.py FOLDER DELAY COMMAND [ARGUMENT]...

DELAY is the time from the first output to the first frame, in seconds. Called by scripts/record-tui.

The files need neither scripts nor fonts of their own, so they work in an <img> element. Blocks are drawn as rectangles,
and text keeps its columns with any monospaced font.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections import defaultdict
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import pyte
from pyte import graphics

COLUMNS, ROWS = 100, 28

# The time between two frames, in seconds.
INTERVAL = 0.5
FRAMES = 24

# The size of a cell of the terminal, and the space around the cells, in units of the SVG file.
CELL_WIDTH, CELL_HEIGHT = 8, 16
MARGIN, BAR = 15, 34
WIDTH = COLUMNS * CELL_WIDTH + 2 * MARGIN
HEIGHT = ROWS * CELL_HEIGHT + BAR + 2 * MARGIN

TITLE = "tcp-bounce --tui while several clients scan the ports"
COMMAND = "sudo tcp-bounce --tui eth1"

FONTS = "ui-monospace, SFMono-Regular, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"

# Terminals choose the first 16 colours and the default colours. The others are fixed.
SCHEMES = {
    "light": {
        "text": "#1f2328",
        "background": "#ffffff",
        "bar": "#f6f8fa",
        "border": "#d0d7de",
        "muted": "#59636e",
        "ansi": "24292f cf222e 1a7f37 9a6700 0969da 8250df 1b7c83 6e7781"
        " 57606a a40e26 2da44e bf8700 218bff a475f9 3192aa 8c959f",
    },
    "dark": {
        "text": "#e6edf3",
        "background": "#0d1117",
        "bar": "#161b22",
        "border": "#3d444d",
        "muted": "#9198a1",
        "ansi": "484f58 ff7b72 3fb950 d29922 58a6ff bc8cff 39c5cf b1bac4"
        " 6e7681 ffa198 56d364 e3b341 79c0ff d2a8ff 56d4dd f0f6fc",
    },
}


def main():
    folder, delay, *command = sys.argv[1:]
    frames = record(command, float(delay))
    for scheme, colours in SCHEMES.items():
        path = Path(folder, f"tui-{scheme}.svg")
        path.write_text(svg(frames, colours), encoding="utf-8")
        print(f"{path}: {path.stat().st_size // 1000} kB")


def record(command, delay):
    """Runs a command in a new terminal, and returns the cells of the screen for each frame.

    Ends the command with the key q.
    """
    use_indexed_colours()
    child, terminal = pty.fork()
    if child == 0:
        # Waits until the terminal has its size.
        os.read(0, 1)
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    os.write(terminal, b"\n")
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    try:
        frames = []
        select.select([terminal], [], [])
        started = time.monotonic()
        for index in range(FRAMES):
            feed(stream, terminal, started + delay + index * INTERVAL)
            frames.append(cells(screen))
        if frames[0] == frames[-1]:
            raise SystemExit("error: the screen did not change:\n" + "\n".join(screen.display))
        os.write(terminal, b"q")
        feed(stream, terminal, time.monotonic() + 5, may_end=True)
        return frames
    except EOFError:
        raise SystemExit("error: the command ended:\n" + "\n".join(screen.display)) from None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def feed(stream, terminal, until, may_end=False):
    """Passes output from the terminal to the emulator until the given time."""
    while (left := until - time.monotonic()) > 0:
        if terminal in select.select([terminal], [], [], left)[0]:
            try:
                stream.feed(os.read(terminal, 1 << 16))
            except OSError:
                if may_end:
                    return
                raise EOFError from None


def use_indexed_colours():
    """Makes the emulator name colours by their index, as a decimal number, instead of converting them."""
    graphics.FG_BG_256 = [str(index) for index in range(256)]
    for index in range(8):
        graphics.FG_ANSI[30 + index] = graphics.BG_ANSI[40 + index] = str(index)
        graphics.FG_AIXTERM[90 + index] = graphics.BG_AIXTERM[100 + index] = str(8 + index)


def cells(screen):
    """Returns the rows of the screen. A cell is its character, foreground, background and whether it is bold."""
    return [[cell(screen.buffer[y][x]) for x in range(COLUMNS)] for y in range(ROWS)]


def cell(char):
    """Returns the cell for a character of the emulator. Names the default colours as the schemes do."""
    ink = "text" if char.fg == "default" else char.fg
    paper = "background" if char.bg == "default" else char.bg
    return (char.data, paper, ink, char.bold) if char.reverse else (char.data, ink, paper, char.bold)


def css_colour(name, colours):
    """Returns a colour of the scheme, of the 256-colour palette (a decimal index), or from six hexadecimal digits."""
    if name in colours:
        return colours[name]
    if len(name) == 6:
        return f"#{name}"
    index = int(name)
    if index < 16:
        return f"#{colours['ansi'].split()[index]}"
    if index < 232:
        levels = [0, 95, 135, 175, 215, 255]
        index -= 16
        return "#" + "".join(f"{levels[index // step % 6]:02x}" for step in (36, 6, 1))
    return "#" + f"{8 + 10 * (index - 232):02x}" * 3


def block(character):
    """Returns the part of a cell that a block character fills, as left, top, right, bottom in eighths, or None."""
    code = ord(character[:1] or " ")
    if code == 0x2580:
        return 0, 0, 8, 4
    if 0x2581 <= code <= 0x2588:
        return 0, 0x2588 - code, 8, 8
    if 0x2589 <= code <= 0x258F:
        return 0, 0, 0x2590 - code, 8
    if code == 0x2590:
        return 4, 0, 8, 8
    return None


class Layers:
    """The rectangles and the text of a frame, by colour."""

    def __init__(self, rows, colours):
        self.colours = colours
        # For each colour: left, top, right and bottom of each rectangle, in eighths of a cell.
        self.rectangles = defaultdict(list)
        self.texts = []
        for y, row in enumerate(rows):
            self.add_rectangles(y, row)
            self.add_text(y, row)

    def add_rectangles(self, y, row):
        """Adds backgrounds and blocks. Adjacent rectangles with equal heights and colours become one."""
        bands = defaultdict(list)
        for x, (character, foreground, background, _) in enumerate(row):
            area = block(character)
            ink = css_colour(foreground, self.colours)
            paper = css_colour(background, self.colours)
            left, top, right, bottom = area or (0, 0, 0, 0)
            if area and (left, right) == (0, 8):
                # Splits the cell into bands, so that the lower half of a cell joins the lower half of the next.
                parts = [(0, top, paper), (top, bottom, ink), (bottom, 8, paper)]
                for upper, lower, colour in parts:
                    if upper < lower:
                        bands[upper, lower].append((8 * x, 8 * x + 8, colour))
                continue
            bands[0, 8].append((8 * x, 8 * x + 8, paper))
            if area:
                bands[top, bottom].append((8 * x + left, 8 * x + right, ink))
        for (upper, lower), spans in bands.items():
            merged = []
            for left, right, colour in spans:
                if merged and merged[-1][1:] == [left, colour]:
                    merged[-1][1] = right
                else:
                    merged.append([left, right, colour])
            for left, right, colour in merged:
                if colour != self.colours["background"]:
                    self.rectangles[colour].append((left, 8 * y + upper, right, 8 * y + lower))

    def add_text(self, y, row):
        """Adds runs of characters of one style. Each run has a position of its own, and ends at two spaces."""
        spans = [(x, character, fg, bold) for x, (character, fg, _, bold) in enumerate(row)]
        for (fg, bold), group in groupby(spans, key=lambda span: span[2:]):
            group = list(group)
            text = "".join(" " if block(character) else character for _, character, *_ in group)
            position = 0
            for part in text.split("  "):
                stripped = part.strip()
                if stripped:
                    x = group[0][0] + position + part.index(stripped)
                    self.texts.append((x, y, stripped, css_colour(fg, self.colours), bold))
                position += len(part) + 2

    def paths(self):
        """Returns a colour and the data of a path for each colour. Its units are eighths of a cell."""
        for colour, rectangles in self.rectangles.items():
            parts = [
                f"M{left} {top}h{right - left}v{bottom - top}h{left - right}z"
                for left, top, right, bottom in rectangles
            ]
            yield colour, "".join(parts)


def number(value):
    """Formats a number without a trailing zero."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def text_element(x, y, text, colour, bold, default):
    fill = "" if colour == default else f' fill="{colour}"'
    weight = ' class="b"' if bold else ""
    # `textLength` keeps the columns with fonts whose characters have another width.
    length = f' textLength="{len(text) * CELL_WIDTH}"' if len(text) > 1 else ""
    return f'<text x="{x * CELL_WIDTH}" y="{y * CELL_HEIGHT + 12}"{length}{fill}{weight}>{escape(text)}</text>'


def svg(frames, colours):
    """Returns the SVG file with all frames. One frame is visible at a time."""
    duration = FRAMES * INTERVAL
    layers = [Layers(rows, colours) for rows in frames]
    # Text that never changes is written once, above the frames.
    static = set(layers[0].texts).intersection(*(layer.texts for layer in layers))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(TITLE)}</title>",
        "<style>",
        f"svg {{ font: 13.3px {FONTS}; fill: {colours['text']}; white-space: pre }}",
        ".b { font-weight: bold }",
        # A frame is hidden a little after the next one covers it. Without animations, only the first frame is visible.
        f".f {{ animation: f {number(duration)}s step-end infinite; visibility: hidden }}",
        ".f0 { visibility: visible }",
        f"@keyframes f {{ 0% {{ visibility: visible }} {number(105 / FRAMES)}%, 100% {{ visibility: hidden }} }}",
        *(f".f{index} {{ animation-delay: {number(index * INTERVAL)}s }}" for index in range(1, FRAMES)),
        "@media (prefers-reduced-motion: reduce) { .f { animation: none } }",
        "</style>",
        f'<g stroke="{colours["border"]}">',
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" fill="{colours["background"]}"/>',
        f'<path d="M.5 {BAR}.5V8.5a8 8 0 0 1 8-8H{WIDTH - 8.5}a8 8 0 0 1 8 8V{BAR}.5z" fill="{colours["bar"]}"/>',
        "</g>",
        *(
            f'<circle cx="{20 + 20 * index}" cy="{BAR / 2 + 0.5}" r="6" fill="{colour}"/>'
            for index, colour in enumerate(["#ff5f57", "#febc2e", "#28c840"])
        ),
        f'<text x="{WIDTH / 2}" y="{BAR / 2 + 5}" text-anchor="middle" fill="{colours["muted"]}">{COMMAND}</text>',
        f'<g transform="translate({MARGIN} {BAR + MARGIN})">',
    ]
    for index, layer in enumerate(layers):
        lines.append(f'<g class="f f{index}">')
        lines.append(f'<g transform="scale({CELL_WIDTH / 8:g} {CELL_HEIGHT / 8:g})" shape-rendering="crispEdges">')
        lines.append(f'<path fill="{colours["background"]}" d="M0 0h{8 * COLUMNS}v{8 * ROWS}H0z"/>')
        lines.extend(f'<path fill="{colour}" d="{data}"/>' for colour, data in layer.paths())
        lines.append("</g>")
        lines.extend(text_element(*text, colours["text"]) for text in layer.texts if text not in static)
        lines.append("</g>")
    lines.extend(text_element(*text, colours["text"]) for text in layers[0].texts if text in static)
    return "\n".join([*lines, "</g>", "</svg>", ""])


if __name__ == "__main__":
    main()
