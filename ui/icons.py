"""The pages' icons: one drawing per name in static/icons.svg."""


def icon(name: str) -> str:
    """The icon as HTML, as large as the text around it. It says nothing to a screen reader: whatever holds it is labelled."""
    return f'<svg class="drawn" aria-hidden="true"><use href="/static/icons.svg#{name}"></use></svg>'
