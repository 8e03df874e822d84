"""Parts of a page between HTML comments, which programs write."""


def replaced(page: str, name: str, content: str) -> str:
    """Return the page with `content` between the HTML comments that mark the section `name`.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, mark, rest = page.partition(begin)
    _, closing, after = rest.partition(end)
    if not mark or not closing:
        raise ValueError(f"no {begin} and {end} in the page")
    return f"{before}{begin}\n{content}\n{end}{after}"
