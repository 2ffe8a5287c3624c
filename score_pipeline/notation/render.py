"""Pictures of a score: SVG pages and PNG through verovio, PDF through verovio and cairo or through MuseScore.

The drawing libraries are the extra `preview`; without them every function here raises a `MissingExtraError` that says
so. MuseScore is used where asked for and installed.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from score_pipeline.errors import MissingExtraError, OutputError
from score_pipeline.notation.musicxml import to_mxl

_A4 = (2100, 2970)
"""Width and height of a page in tenths of a millimetre."""

_STAFF_UNIT, _SMALL_STAFF_UNIT = 8.0, 6.5
"""Half a staff space in tenths of a millimetre: a part's staff of 6.4 mm, a full score's of 5.2 mm."""

_CROWDED = 3
"""Staves in a system from which on the small staff is used."""

_TITLE_RISE = 120
"""How far the larger title moves away from the line below it, in verovio's units."""

_SVG = "http://www.w3.org/2000/svg"
_MUSIC_FONT = "Leipzig"
_SIGN_ADVANCE = 0.45
"""Width of a metronome mark's note with the space after it, in its font size."""

_MUSESCORE_NAMES = ("musescore4", "mscore4", "mscore4portable", "musescore3", "mscore3", "musescore", "mscore")
_MUSESCORE_TIMEOUT_S = 300


FORMATS: dict[str, str] = {
    "mxl": "score and parts as compressed MusicXML too",
    "pdf": "score and parts as PDF too, drawn by verovio or by MuseScore",
    "svg": "every page of score and parts as a drawing too",
}
"""What can be had beside MusicXML, and what it is."""


def check_formats(formats: Collection[str]) -> None:
    """MissingExtraError if one of the `FORMATS` cannot be had here; worth asking before minutes of work."""
    if "svg" in formats:
        _verovio()
    if "pdf" in formats and musescore() is None:
        _verovio()
        _cairosvg()


def in_formats(musicxml: bytes, pages: Sequence[str], formats: Collection[str]) -> dict[str, bytes]:
    """A file in other formats, by the ends of their names; `pages` are its drawings, none where nothing can draw.

    MuseScore makes the PDF where the extra `preview` is missing.
    """
    written: dict[str, bytes] = {}
    if "mxl" in formats:
        written[".mxl"] = to_mxl(musicxml)
    if "pdf" in formats:
        written[".pdf"] = to_pdf(pages) if pages and _can_draw() else to_pdf_by_musescore(musicxml)
    if "svg" in formats:
        written |= {f"-{number}.svg": page.encode() for number, page in enumerate(pages, start=1)}
    return written


def _can_draw() -> bool:
    try:
        _cairosvg()
    except MissingExtraError:
        return False
    return True


def to_svg_pages(musicxml: bytes) -> list[str]:
    """One SVG drawing per A4 page, in verovio's layout; the music font's shapes are inside."""
    toolkit = _toolkit(musicxml)
    pages = [toolkit.renderToSVG(page) for page in range(1, toolkit.getPageCount() + 1)]
    return [_with_large_title(pages[0]), *pages[1:]] if pages else []


def _with_large_title(page: str) -> str:
    """The first line of the page's head in a title's size; verovio reads no font sizes from MusicXML."""
    head, separator, rest = page.partition('class="pgHead"')
    rest = re.sub(r' y="(\d+)"', lambda found: f' y="{int(found[1]) - _TITLE_RISE}"', rest, count=1)
    rest = re.sub(
        r'font-size="([1-9]\d*)px"', lambda found: f'font-size="{round(1.7 * int(found[1]))}px"', rest, count=1
    )
    return head + separator + (rest if separator else "")


def to_png(svg: str, width_px: int = 1240) -> bytes:
    """A picture of one SVG page on white, `width_px` wide."""
    cairosvg = _cairosvg()
    return bytes(cairosvg.svg2png(_without_music_font(svg), output_width=width_px, background_color="white"))


def to_pdf(pages: Sequence[str]) -> bytes:
    """A PDF file of SVG pages, in A4."""
    if not pages:
        raise ValueError("a PDF needs at least one page")
    _cairosvg()
    from cairosvg.parser import Tree
    from cairosvg.surface import PDFSurface

    points = 72 / 254  # tenths of a millimetre to points
    width, height = _A4[0] * points, _A4[1] * points
    buffer = io.BytesIO()
    paper: list[Any] = []

    class _Page(PDFSurface):  # type: ignore[misc]
        """Draws on the paper of the page before, where cairosvg would open a new file."""

        def _create_surface(self, width_pt: float, height_pt: float) -> tuple[Any, float, float]:
            if not paper:
                paper.append(self.surface_class(buffer, width_pt, height_pt))
            return paper[0], width_pt, height_pt

    for page in pages:
        # output sizes are in the SVG's pixels, of which cairosvg makes points
        drawn = _Page(
            Tree(bytestring=_without_music_font(page)),
            buffer,
            96,
            output_width=width * 96 / 72,
            output_height=height * 96 / 72,
        )
        drawn.context.show_page()
    paper[0].finish()
    return buffer.getvalue()


def musescore() -> Path | None:
    """MuseScore's program, where one is installed."""
    for name in _MUSESCORE_NAMES:
        if found := shutil.which(name):
            return Path(found)
    return None


def to_pdf_by_musescore(musicxml: bytes) -> bytes:
    """A PDF file in MuseScore's layout; no MuseScore is a MissingExtraError, a silent failure of it an OutputError."""
    program = musescore()
    if program is None:
        raise MissingExtraError("MuseScore is not installed; install it or leave the drawing to the extra 'preview'.")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "score.musicxml"), Path(folder, "score.pdf")
        source.write_bytes(musicxml)
        try:
            done = subprocess.run(
                [str(program), "-o", str(target), str(source)],
                env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
                capture_output=True,
                timeout=_MUSESCORE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(f"{program} could not draw the score ({error}); try the extra 'preview'.") from error
        # it ends with 0 even when it has written nothing
        if not target.is_file() or target.stat().st_size == 0:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise OutputError(f"{program} drew no score ({' '.join(last) or 'no reason given'}); try 'preview'.")
        return target.read_bytes()


def _toolkit(musicxml: bytes) -> Any:
    """verovio with the score loaded and laid out."""
    verovio = _verovio()
    resources = Path(verovio.__file__).parent / "data"
    # a packaged program may have moved; verovio then looks where it was built
    toolkit = verovio.toolkit(False)
    if resources.is_dir():
        toolkit.setResourcePath(str(resources))
    staves = musicxml.count(b"<score-part ") + musicxml.count(b"<staves>2")
    toolkit.setOptions(
        {
            "pageWidth": _A4[0],
            "pageHeight": _A4[1],
            "unit": _STAFF_UNIT if staves < _CROWDED else _SMALL_STAFF_UNIT,
            "scale": 50,
            "font": _MUSIC_FONT,
            "footer": "none",
            "multiRestStyle": "auto",
            "justifyVertically": True,
            "condense": "none",
            "systemDivider": "none",
            "spacingStaff": 10,
            "svgViewBox": True,
        }
    )
    if not toolkit.loadData(musicxml.decode()):
        raise ValueError("verovio does not understand this MusicXML")
    return toolkit


def _without_music_font(svg: str) -> bytes:
    """The drawing with music signs inside text, as in a metronome mark, drawn as shapes.

    cairosvg knows only installed fonts; verovio's music font travels inside the SVG. Accidentals in names get a
    font that has them.
    """
    import verovio

    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(svg)
    folder = Path(verovio.__file__).parent / "data" / _MUSIC_FONT
    for parent in root.iter():
        for text in parent.findall(f"{{{_SVG}}}text"):
            sign = next((span for span in text.iter() if span.get("font-family") == _MUSIC_FONT and span.text), None)
            if sign is not None and text.get("x") is not None:
                _draw_leading_sign(parent, text, sign, folder)
    for span in root.iter(f"{{{_SVG}}}tspan"):
        if set(span.text or "") & set("♭♮♯"):
            span.set("font-family", "DejaVu Serif")
    return ET.tostring(root)


def _draw_leading_sign(parent: ET.Element, text: ET.Element, sign: ET.Element, folder: Path) -> None:
    """Replace the music sign at the start of a text by its outline, and move the text behind it."""
    glyph = folder / f"{ord((sign.text or ' ')[0]):04X}.xml"
    if not glyph.is_file():
        return
    size = float((sign.get("font-size") or "0").removesuffix("px"))
    x, y = float(text.get("x", 0)), float(text.get("y", 0))
    shape = ET.fromstring(glyph.read_text(encoding="utf-8"))
    outlines = [path.get("d", "") for path in shape.iter() if path.tag.endswith("path")]
    group = ET.Element(f"{{{_SVG}}}g", transform=f"translate({x}, {y}) scale({size / 1000}, {-size / 1000})")
    for outline in outlines:
        ET.SubElement(group, f"{{{_SVG}}}path", d=outline)
    parent.insert(list(parent).index(text), group)
    sign.text = ""
    text.set("x", str(x + _SIGN_ADVANCE * size))


def _verovio() -> Any:
    try:
        import verovio
    except ImportError as error:
        raise _missing("verovio") from error
    return verovio


def _cairosvg() -> Any:
    try:
        import cairosvg
    except (ImportError, OSError) as error:  # OSError: the package is there, the cairo library is not
        raise _missing("cairosvg") from error
    return cairosvg


def _missing(library: str) -> MissingExtraError:
    return MissingExtraError(f"Drawing needs {library}; run: pip install 'score-pipeline[preview]'.")
