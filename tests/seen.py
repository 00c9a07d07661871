"""What a page of the console shows, as Streamlit's own test driver has it."""


def said(page):
    """Everything it says in sentences."""
    parts = [*page.title, *page.subheader, *page.caption, *page.text, *page.info, *page.warning, *page.success, *page.error, *page.code]
    return "\n".join(str(part.value) for part in parts)


def tables(page, column):
    """The rows of each table that has this column."""
    return [table.value.to_dict("records") for table in [*page.dataframe, *page.table] if column in table.value.columns]


def rows(page, column):
    """Of the first one."""
    return tables(page, column)[0]
