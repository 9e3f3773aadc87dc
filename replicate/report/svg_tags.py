"""Names of the elements that the plots of this project are made of."""

SVG = "{http://www.w3.org/2000/svg}"
ROOT, GROUP, PATH, USE, DEFS, TEXT, SPAN = (
    f"{SVG}{tag}" for tag in ("svg", "g", "path", "use", "defs", "text", "tspan")
)
#: Elements whose white space is shown or read out.
WORDS = frozenset(f"{SVG}{tag}" for tag in ("text", "tspan", "title", "desc"))
