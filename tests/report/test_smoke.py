from pathlib import Path
def test_write(html):
    Path('/tmp/r.html').write_text(html)
